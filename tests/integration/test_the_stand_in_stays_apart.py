"""The stand-in's money, speed and list of models never reach the data of real calls."""

from __future__ import annotations

import hashlib
import re
import shlex
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from devflow_cli.testing import CommandResult, RunningCommand, run_command
from devflow_core.settings import Settings
from devflow_sandbox import Sandbox
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import Store
from devflow_store.chain.origin import SANDBOX_KEY_ID
from devflow_upstream.keys import key_id
from integration.living import until, wait_until_ready
from integration.served import PATIENCE_S

MODEL = "anthropic/claude-haiku-4.5"
REAL = "https://router.example/api/v1"
"""An upstream elsewhere, which nothing here reaches."""


class User:
    """A user with an empty home, who runs the command."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.usual = home / ".local" / "share" / "devflow"
        self.environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}

    def start(self, *arguments: str, **more: str) -> RunningCommand:
        given = {**self.environment, **more}
        return RunningCommand(arguments, folder=self.home, environment=given)

    def devflow(self, *arguments: str, **more: str) -> CommandResult:
        given = {**self.environment, **more}
        return run_command(*arguments, folder=self.home, environment=given)


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.fixture(scope="module")
def sandbox() -> Generator[Sandbox]:
    with ThreadedSandbox() as one:
        yield one


@pytest.fixture
def tried(sandbox: Sandbox) -> dict[str, str]:
    """The first two lines that `devflow sandbox` prints."""
    return {"OPENROUTER_BASE_URL": sandbox.base_url, "OPENROUTER_API_KEY": sandbox.api_key}


def _snapshot(folder: Path) -> dict[str, str]:
    """Return every file below a folder, with its content."""
    files = (one for one in folder.rglob("*") if one.is_file())
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


def _requests(user: User, *options: str, **more: str) -> int:
    done = user.devflow("report", "--json", *options, **more)
    return done.document["total"]["requests"]


def test_what_the_tutorial_does_leaves_the_real_folder_alone(
    user: User, tried: dict[str, str]
) -> None:
    real = {"OPENROUTER_API_KEY": "sk-or-v1-real"}
    assert user.devflow("budget", "set", "--limit", "5", **real).status == 0
    before = _snapshot(user.usual)
    assert before
    for command in (
        ("ask", "--model", MODEL, "hello"),
        ("models", "refresh"),
        ("budget", "set", "--limit", "0.5"),
        ("report",),
        ("ledger", "verify"),
        ("ledger", "reconcile", "--days", "0", "--patience-s", "0"),
    ):
        done = user.devflow(*command, **tried)
        assert done.status == 0, (command, done.err)
    apart = user.usual / "sandbox"
    assert {name: one for name, one in _snapshot(user.usual).items()
            if not name.startswith(str(apart))} == before  # fmt: skip
    assert (_requests(user, **tried), _requests(user, **real)) == (1, 0)
    prices = user.devflow("models", "list", "--json", **real).document["models"]
    assert all(one["output_tokens_per_s"] is None for one in prices)


def test_what_the_stand_in_prints_names_its_folder(user: User) -> None:
    (user.home / "data of mine").mkdir(mode=0o700)
    given = {"DEVFLOW_DATA_DIR": str(user.home / "data of mine")}
    with user.start("sandbox", **given) as child:
        until(lambda: "Its bill" in child.out, "it is ready")
        lines = re.findall(r"^  export (\w+)=(.*)$", child.out, re.MULTILINE)
        child.send(signal.SIGTERM)
        child.wait(PATIENCE_S)
    exports = {name: shlex.split(value)[0] for name, value in lines}
    assert exports["DEVFLOW_DATA_DIR"] == str(user.home / "data of mine" / "sandbox")
    assert set(exports) == {"OPENROUTER_BASE_URL", "OPENROUTER_API_KEY", "DEVFLOW_DATA_DIR"}


def test_serving_the_stand_in_books_apart(user: User) -> None:
    own = user.home / "own"
    own.mkdir(mode=0o700)
    given = {
        "DEVFLOW_DATA_DIR": str(own),
        "DEVFLOW_LEDGER_URL": "postgresql://nobody@127.0.0.1:9/x",
    }
    arguments = ("serve", "--sandbox", "--no-key", "--port", "0", "--workers", "2", "--json")
    with user.start(*arguments, **given) as child:
        port = int(child.wait_for_document()["url"].rpartition(":")[2])
        wait_until_ready(port)
        child.terminate()
        done = child.wait(PATIENCE_S)
    assert (done.status, str(own / "sandbox") in done.err) == (0, True)
    assert [one.name for one in own.iterdir()] == ["sandbox"]
    assert Store(own / "sandbox" / "ledger.db").verify().ok


def test_one_folder_does_not_take_both(user: User, tried: dict[str, str]) -> None:
    folder = user.home / "one"
    ask = ("ask", "--model", MODEL, "hello", "--data-dir", str(folder))
    assert user.devflow(*ask, **tried).status == 0
    real = {"OPENROUTER_API_KEY": "sk-or-v1-real", "OPENROUTER_BASE_URL": REAL}
    for command in (ask, ("serve", "--port", "0", "--data-dir", str(folder))):
        done = user.devflow(*command, **real)
        assert (done.status, "--data-dir" in done.err) == (3, True), done.err
        assert "devflow sandbox" in done.err
        assert "router.example/api/v1" in done.err
    assert user.devflow(*ask, **tried).status == 0
    shown = user.devflow("ledger", "upstream", "--data-dir", str(folder), "--json", **real)
    assert shown.document == {"upstream": "loopback", "settings": "router.example/api/v1"}
    accept = ("ledger", "upstream", "--accept", "--data-dir", str(folder))
    assert user.devflow(*accept, **real).status == 0
    assert user.devflow(*ask, **tried).status == 3
    assert user.devflow("ledger", "verify", "--data-dir", str(folder)).status == 0


def test_the_stand_ins_list_of_models_does_not_take_the_real_ones_place(
    user: User, tried: dict[str, str]
) -> None:
    folder = user.home / "one"
    where = ("--data-dir", str(folder), "--json")
    given = {"OPENROUTER_API_KEY": "sk-or-v1-real"}
    before = user.devflow("models", "list", *where, **given).document
    assert user.devflow("models", "refresh", *where, **tried).status == 0
    assert user.devflow("models", "list", *where, **given).document == before


def test_the_speed_of_the_stand_in_is_not_a_models(user: User, tried: dict[str, str]) -> None:
    """In a ledger of before, which holds both; its note is taken out as if it had none."""
    folder = user.home / "one"
    where = ("--data-dir", str(folder))
    assert user.devflow("ask", "--model", MODEL, "hello", *where, **tried).status == 0

    def speeds(**given: str) -> set[Any]:
        listed = user.devflow("models", "list", *where, "--json", **given).document["models"]
        return {one["output_tokens_per_s"] for one in listed}

    assert speeds(**tried) != {None}
    assert speeds(OPENROUTER_API_KEY="sk-or-v1-real") == {None}


def test_the_stand_ins_key_is_the_one_that_ledgers_of_before_know(sandbox: Sandbox) -> None:
    assert key_id(sandbox.api_key) == SANDBOX_KEY_ID


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://openrouter.ai/api/v1", "openrouter.ai"),
        ("https://eu.openrouter.ai/api/v1/", "openrouter.ai"),
        ("https://openrouter.ai.example/api/v1", "openrouter.ai.example/api/v1"),
        ("https://proxy.example:8443/v1/", "proxy.example:8443/v1"),
        ("http://127.0.0.1:8421/api/v1", "loopback"),
        ("http://[::1]:1/api/v1", "loopback"),
        ("http://localhost:1/x", "loopback"),
    ],
)
def test_an_upstream_has_a_name(base_url: str, name: str) -> None:
    assert Settings(base_url=base_url).upstream == name
