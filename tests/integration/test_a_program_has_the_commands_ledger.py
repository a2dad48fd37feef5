"""A Python program books where the command books, and keeps to the budgets that it has set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from devflow_gateway import (
    AsyncGateway,
    BudgetExceeded,
    ChatRequest,
    ConfigurationError,
    Gateway,
    OpenRouterGateway,
    Settings,
)
from devflow_openrouter import OpenRouterGateway as AtHome
from devflow_sandbox.threaded import ThreadedSandbox
from integration.doors import Installation

MODEL = "anthropic/claude-haiku-4.5"
ASKED = ChatRequest.from_text("Why does test_login fail?", model=MODEL)


@pytest.fixture
def user(
    openrouter_sandbox: ThreadedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """A new user with a key, an empty home, and nothing else."""
    environment = {
        "OPENROUTER_API_KEY": openrouter_sandbox.api_key,
        "OPENROUTER_BASE_URL": openrouter_sandbox.base_url,
    }
    user = Installation(home=tmp_path / "home", folder=tmp_path / "shop", environment=environment)
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "DEVFLOW_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in user.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(user.folder)
    return user


def told(user: Installation, *arguments: str) -> Any:
    done = user.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def ask_async(make: Callable[..., AsyncGateway | OpenRouterGateway], **more: Any) -> None:
    async with make(**more) as gateway:
        await gateway.complete(ASKED)


async def ask_sync(make: Callable[..., Gateway], **more: Any) -> None:
    with make(**more) as gateway:
        gateway.complete(ASKED)


def by_settings(**more: Any) -> AtHome:
    return AtHome(Settings.load(), **more)


FACES: Any = pytest.mark.parametrize(
    ("ask", "make"),
    [
        (ask_async, OpenRouterGateway.from_env),
        (ask_async, AsyncGateway.from_env),
        (ask_sync, Gateway.from_env),
        (ask_async, by_settings),
    ],
    ids=["OpenRouterGateway", "AsyncGateway", "Gateway", "by settings"],
)


@FACES
async def test_what_a_program_spends_is_in_the_commands_report(
    user: Installation, ask: Any, make: Any
) -> None:
    await ask(make)
    row = told(user, "report", "--by", "project")["rows"][0]
    assert (row["requests"], row["key"]) == (1, str(user.folder))


@FACES
async def test_a_budget_of_the_command_refuses_a_program(
    user: Installation, openrouter_sandbox: ThreadedSandbox, ask: Any, make: Any
) -> None:
    told(user, "budget", "set", "--limit", "0.0000001")
    assert user.run("ask", "hi", "--model", MODEL).returncode == 4
    with pytest.raises(BudgetExceeded):
        await ask(make)
    assert openrouter_sandbox.bill()["calls"] == []


@FACES
async def test_in_memory_nothing_is_read_or_written(
    user: Installation, ask: Any, make: Any
) -> None:
    told(user, "budget", "set", "--limit", "0.0000001")
    folder = user.home / ".local" / "share" / "devflow" / "sandbox"
    models = folder / "models.loopback.json"
    models.write_text("damaged, for whoever reads it")
    before = {path: path.stat().st_mtime_ns for path in user.home.rglob("*") if path.is_file()}
    await ask(make, ledger="memory")
    after = {path: path.stat().st_mtime_ns for path in user.home.rglob("*") if path.is_file()}
    assert after == before
    models.unlink()
    assert told(user, "report")["total"]["requests"] == 0


async def test_without_entering_only_the_route_is_explained(user: Installation) -> None:
    unentered = (OpenRouterGateway.from_env(), AsyncGateway.from_env())
    for gateway in unentered:
        assert gateway.explain(ASKED).chosen.model == MODEL
        with pytest.raises(ConfigurationError, match="async with"):
            await gateway.complete(ASKED)
        with pytest.raises(ConfigurationError, match="async with"):
            gateway.stream(ASKED)
    assert Gateway.from_env().explain(ASKED).chosen.model == MODEL
    with pytest.raises(ConfigurationError, match="with Gateway"):
        Gateway.from_env().complete(ASKED)
    assert not (user.home / ".local").exists()


async def test_settings_without_a_data_folder_open_no_ledger(user: Installation) -> None:
    settings = Settings(api_key="sk-or-v1-test")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigurationError, match=r"Settings\.load"):
        async with AsyncGateway(settings):
            pass
    assert list(user.folder.iterdir()) == []


async def test_a_second_entering_is_refused(user: Installation) -> None:
    async with AsyncGateway.from_env() as gateway:
        with pytest.raises(ConfigurationError, match="open already"):
            await gateway.__aenter__()
        assert (await gateway.complete(ASKED)).cost_usd > 0
