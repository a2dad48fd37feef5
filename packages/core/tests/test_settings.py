"""Defaults < file < environment < command line; a wrong value is refused and named."""

from decimal import Decimal
from pathlib import Path

import pytest
from devflow_core.errors import ConfigurationError
from devflow_core.settings import Settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_need_nothing() -> None:
    settings = Settings.load({"HOME": "/home/x"})
    assert settings.base_url == "https://openrouter.ai/api/v1"
    assert settings.data_dir == Path("/home/x/.local/share/devflow")
    assert settings.claude_dir == Path("/home/x/.claude")
    assert settings.server_keys() == ()


def test_each_source_overrides_the_one_before(tmp_path: Path) -> None:
    own = tmp_path / ".config" / "devflow" / "devflow.toml"
    own.parent.mkdir(parents=True)
    own.write_text('port = 1\nhost = "::1"\nmax_retries = 2\n')
    environ = {
        "HOME": str(tmp_path),
        "DEVFLOW_PORT": "2",
        "OPENROUTER_MAX_RETRIES": "5",
        "DEVFLOW_MAX_RETRIES": "4",
    }
    settings = Settings.load(environ, port=3, host=None)
    assert (settings.port, settings.host, settings.max_retries) == (3, "::1", 4)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_COST_BUDGET_USD", "12.50")
    assert Settings.load().cost_budget_usd == Decimal("12.50")


def test_keys_are_taken_in_the_stated_order() -> None:
    settings = Settings.load(
        {
            "OPENROUTER_API_KEYS": '["sk-or-a", "sk-or-b"]',
            "OPENROUTER_SYSTEM_KEY": "sk-or-d",
            "OPEN_ROUTER_API_KEY": "sk-or-c",
        }
    )
    assert settings.require_keys() == ("sk-or-a", "sk-or-b", "sk-or-c")
    assert "sk-or" not in repr(settings)


def test_no_key_says_which_variables_are_read() -> None:
    with pytest.raises(ConfigurationError, match=r"_API_KEYS, OPENROUTER_API_KEY, .*demo"):
        Settings.load({}).require_keys()


def test_lists_and_tables_from_the_environment() -> None:
    settings = Settings.load(
        {
            "OPENROUTER_PREFERRED_MODELS": "a/b, c/d,",
            "DEVFLOW_ALIASES": '{"fast": "a/b"}',
            "DEVFLOW_DATA_DIR": "~/books",
            "XDG_DATA_HOME": "/xdg",
            "HOME": "/home/x",
        }
    )
    assert settings.preferred_models == ("a/b", "c/d")
    assert settings.aliases == {"fast": "a/b"}
    assert settings.data_dir == Path("/home/x/books")
    assert Settings.load({"XDG_DATA_HOME": "/xdg"}).data_dir == Path("/xdg/devflow")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DEVFLOW_PORT": "99999"}, r"port = '99999' \(DEVFLOW_PORT\) is wrong: .*65535"),
        ({"OPENROUTER_API_KEYS": "[oops"}, "OPENROUTER_API_KEYS is not valid JSON"),
        ({"DEVFLOW_ALIASES": "fast=a/b"}, "DEVFLOW_ALIASES is not valid JSON"),
        ({"OPENROUTER_API_KEYS": "[17]"}, r"api_keys \(DEVFLOW_API_KEYS\) is wrong"),
    ],
)
def test_a_wrong_value_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Settings.load(environ)


def test_an_unknown_name_in_the_file_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(ConfigurationError, match="no setting named 'prot'"):
        Settings.load({}, file)


@pytest.mark.parametrize("text", ["port = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, text: str | bytes) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError, match=r"mine\.toml is not valid TOML"):
        Settings.load({}, file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml cannot be read"):
        Settings.load({}, tmp_path / "none.toml")
