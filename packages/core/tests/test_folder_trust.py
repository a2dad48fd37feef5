"""Checks which settings of a folder's file are taken, and how the user's answer is remembered."""

import json
from pathlib import Path
from typing import Any

import pytest
from devflow_core import settings
from devflow_core.environment import (
    CHILD_VARIABLES,
    copy_child_environment,
    copy_environment,
    shield_children,
)
from devflow_core.errors import ConfigurationError
from devflow_core.folder_trust import FolderQuestion
from devflow_core.settings import (
    Settings,
    find_folder_question,
    open_trusted_folders,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the working directory, and return it."""
    made = tmp_path / "folder"
    made.mkdir()
    monkeypatch.chdir(made)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return made


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user without settings."""
    return {"HOME": str(tmp_path)}


def clone(folder: Path, text: str) -> None:
    (folder / "devflow.toml").write_text(text)


def config(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / ".config" / "devflow" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def yes(_question: FolderQuestion) -> bool:
    return True


def no(_question: FolderQuestion) -> bool:
    return False


def fail(_question: FolderQuestion) -> bool:
    raise AssertionError


def test_the_settings_that_are_taste_are_these() -> None:
    assert set(settings.TASTE) == {
        "aliases",
        "baseline_model",
        "cost_budget_usd",
        "cost_priority",
        "fallback_models",
        "fallbacks",
        "models",
        "nodes",
        "performance_priority",
        "preferred_models",
        "quality_floor",
    }


def test_taste_is_laid_over_the_users_own(
    folder: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    config(
        tmp_path,
        "devflow.toml",
        'port = 7\n[models."a/b"]\nprompt_usd_per_mtok = 1\n[aliases]\nx = "a/b"\n',
    )
    clone(
        folder,
        '[models."a/b"]\nquality = 0.5\nprompt_usd_per_mtok = 0\n[aliases]\ny = "c/d"\n'
        '[nodes.main]\nmodel = "a/b"\nstrange = 1\n',
    )
    seen: list[tuple[str, ...]] = []

    def judge(question: FolderQuestion) -> bool:
        seen.append(question.left_out)
        return False

    loaded = Settings.load(environ, judge_folder=judge)
    assert loaded.port == 7
    assert loaded.models == {"a/b": {"prompt_usd_per_mtok": 1, "quality": 0.5}}
    assert loaded.aliases == {"x": "a/b", "y": "c/d"}
    assert loaded.nodes == {"main": {"model": "a/b"}}
    assert seen == [("models.a/b.prompt_usd_per_mtok", "nodes.main.strange")]
    assert Settings.load(environ, judge_folder=yes).models["a/b"]["prompt_usd_per_mtok"] == 0


def test_tables_of_another_shape_are_named(folder: Path, environ: dict[str, str]) -> None:
    for text in ("models = 5\n", "cost_priority = 7\n", "cost_budget_usd = -1\n"):
        clone(folder, text)
        with pytest.raises(ConfigurationError, match="is wrong"):
            Settings.load(environ, judge_folder=fail)
    clone(folder, "[models]\nx = 5\n")
    assert Settings.load(environ, judge_folder=fail).models == {}


def test_a_name_that_is_none_is_named(folder: Path, environ: dict[str, str]) -> None:
    clone(folder, "prot = 1\n")
    with pytest.raises(ConfigurationError, match="no setting named 'prot'"):
        Settings.load(environ)
    assert Settings.load(environ, judge_folder=None).port == 8420


def test_a_budget_of_a_folder_only_lowers(folder: Path, environ: dict[str, str]) -> None:
    clone(folder, "cost_budget_usd = 5\n")
    assert Settings.load(environ).is_limited_by_folder
    for own, limit in (("9", 5), ("2", 2)):
        loaded = Settings.load({**environ, "DEVFLOW_COST_BUDGET_USD": own})
        assert (loaded.cost_budget_usd, loaded.is_limited_by_folder) == (limit, limit == 5)


def test_yes_and_no_are_remembered_until_the_file_changes(
    folder: Path, environ: dict[str, str]
) -> None:
    clone(folder, "port = 1\n")
    question = find_folder_question(folder, environ)
    assert question is not None
    assert question.answer is None
    question.remember(is_trusted=False)
    assert question.answer is False
    assert Settings.load(environ, judge_folder=no).port == 8420
    question.remember(is_trusted=True)
    assert Settings.load(environ, judge_folder=fail).port == 1
    assert open_trusted_folders().list_trusted() == [folder / "devflow.toml"]
    clone(folder, "port = 2\n")
    assert question.answer is True
    assert Settings.load(environ, judge_folder=no).port == 8420
    assert open_trusted_folders().forget(folder)
    assert not open_trusted_folders().forget(folder)


def test_a_file_is_shown_so_that_nothing_hides(folder: Path, environ: dict[str, str]) -> None:
    clone(
        folder,
        'base_url = "https://\u043epenrouter.ai/\u202e\u200b\\u001b\\u007f"\napi_key = "k"\n',
    )
    question = find_folder_question(folder, environ)
    assert question is not None
    assert question.describe() == [
        r'base_url = "https://\u043epenrouter.ai/\u202e\u200b\u001b\u007f"',
        "api_key = ********",
    ]
    assert "base_url, api_key" in question.remark


def test_nothing_has_to_be_asked_of_taste(folder: Path, environ: dict[str, str]) -> None:
    assert find_folder_question(folder, environ) is None
    clone(folder, "cost_priority = 1\n")
    assert find_folder_question(folder) is None


@pytest.mark.parametrize(
    "record", ["", "{", "[]", '{"folders": []}', '{"folders": {"x": 5}}', '{"folders": {"x": {}}}']
)
def test_a_damaged_record_is_named(
    folder: Path, tmp_path: Path, environ: dict[str, str], record: str
) -> None:
    clone(folder, "port = 1\n")
    config(tmp_path, "trusted-folders.json", record)
    with pytest.raises(ConfigurationError, match=r"trusted-folders\.json is damaged"):
        Settings.load(environ)


def test_a_record_that_cannot_be_read_or_written(tmp_path: Path, folder: Path) -> None:
    clone(folder, "port = 1\n")
    (tmp_path / ".config").write_text("")
    question = find_folder_question(folder)
    assert question is not None
    with pytest.raises(ConfigurationError, match="cannot be read"):
        question.remember(is_trusted=True)
    config_dir = tmp_path / "config" / "devflow"
    config_dir.mkdir(parents=True)
    question = find_folder_question(folder, {"XDG_CONFIG_HOME": str(config_dir.parent)})
    assert question is not None
    (config_dir / "trusted-folders.json").mkdir()
    with pytest.raises(ConfigurationError, match="not a regular file"):
        question.remember(is_trusted=True)


def test_a_record_in_a_folder_that_cannot_be_made(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone(folder, "port = 1\n")
    question = find_folder_question(folder)
    assert question is not None

    def refuse(*_arguments: object, **_options: object) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigurationError, match="cannot be written: Permission denied"):
        question.remember(is_trusted=True)


def test_without_a_home_nothing_is_remembered(folder: Path) -> None:
    clone(folder, "port = 1\n")
    for environ in ({}, {"HOME": "here"}, {"XDG_CONFIG_HOME": "here"}):
        question = find_folder_question(folder, environ)
        assert question is not None
        assert question.answer is None
        with pytest.raises(ConfigurationError, match="set HOME"):
            question.remember(is_trusted=True)


def test_the_users_own_folder_asks_nothing(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = config(tmp_path, "devflow.toml", "port = 7\n")
    monkeypatch.chdir(own.parent)
    assert Settings.load(environ, judge_folder=fail).port == 7


def test_files_that_are_no_settings(
    folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clone(folder, "#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="too large"):
        Settings.load(environ)
    clone(folder, "port = " + "[" * 100_000)
    with pytest.raises(ConfigurationError, match=r"nested|TOML"):
        Settings.load(environ)
    with pytest.raises(ConfigurationError, match="not valid"):
        Settings.load(environ, Path("\0"))
    clone(folder, "port = 1\n")

    def gone(*_arguments: object, **_options: object) -> Any:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "resolve", gone)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        Settings.load({})


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_path: Path) -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.raises(ConfigurationError, match="set HOME"):
        Settings.load({})


def test_programs_get_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "OPENROUTER_API_KEY": "CANARY",
        "OPENROUTER_API_KEYS": "CANARY",
        "DEVFLOW_MANAGEMENT_KEY": "CANARY",
        "DEVFLOW_CLIENT_KEY": "CANARY",
        "DEVFLOW_PROXY_URL": "http://u:CANARY@h",
        "DEVFLOW_LEDGER_URL": "postgresql://u:CANARY@h/x",
    }
    for name, value in {**secrets, "EDITOR": "vi", "DEVFLOW_DATA_DIR": "/d"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    shield_children()
    kept = copy_environment()
    assert "CANARY" not in json.dumps(dict(kept))
    assert (kept["EDITOR"], kept["DEVFLOW_DATA_DIR"]) == ("vi", "/d")
    assert "PYTHONSAFEPATH" not in kept
    assert set(copy_child_environment()) <= set(CHILD_VARIABLES)


def test_a_ledger_is_kept_at_an_address_that_is_known() -> None:
    assert Settings.load({"DEVFLOW_LEDGER_URL": "sqlite:////x"}).ledger_url == "sqlite:////x"
    with pytest.raises(ConfigurationError, match="begin with sqlite:///") as caught:
        Settings.load({"DEVFLOW_LEDGER_URL": "pg//u:CANARY@h"})
    assert "CANARY" not in str(caught.value)
