"""Runs the command in this process, against a stand-in of its own."""

import sys
from pathlib import Path

import pytest
from devflow_cli import main
from devflow_cli.testing import CommandResult, Devflow
from devflow_sandbox import Sandbox

SESSIONS = Path(__file__).parents[3] / "examples" / "sessions"
NOT_SET = (
    "OPENROUTER_API_KEY",
    "OPENROUTER_API_KEYS",
    "OPEN_ROUTER_API_KEY",
    "OPENROUTER_SYSTEM_KEY",
    "OPENROUTER_BASE_URL",
    "CLAUDE_CONFIG_DIR",
    "XDG_DATA_HOME",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working directory, and no key."""
    for name in NOT_SET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def devflow(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Devflow:
    """Runs a command in an empty home."""

    def run(*arguments: str) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["devflow", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.run()
        code = ended.value.code
        out, err = capfd.readouterr()
        return CommandResult(status=code if isinstance(code, int) else 0, out=out, err=err)

    return run


@pytest.fixture
def online(
    devflow: Devflow, openrouter_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Devflow:
    """The same with a key, and the stand-in as OpenRouter."""
    monkeypatch.setenv("OPENROUTER_BASE_URL", openrouter_sandbox.base_url)
    monkeypatch.setenv("OPENROUTER_API_KEY", openrouter_sandbox.api_key)
    return devflow


@pytest.fixture
def transcript() -> Path:
    """A session that real Claude Code wrote."""
    return sorted(SESSIONS.glob("**/*.jsonl"))[0]
