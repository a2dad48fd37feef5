"""A folder may have come from anybody: its settings are taste, unless the user says otherwise."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import structlog
from devflow_core.settings import Settings
from devflow_openrouter import OpenRouterGateway
from devflow_sandbox import Sandbox
from integration.doors import PATIENCE_S, PROGRAM, Catcher, Installation, SilentHost, run_program

SESSIONS = Path(__file__).parents[2] / "examples" / "sessions"
QUESTION = b"Trust this file"


@pytest.fixture
def user(tmp_path: Path, openrouter_sandbox: Sandbox) -> Installation:
    """Somebody whose own settings name the stand-in, in a folder that they have cloned."""
    made = Installation(home=tmp_path / "home", folder=tmp_path / "home" / "src" / "cloned")
    made.environment["OPENROUTER_API_KEY"] = openrouter_sandbox.api_key
    made.configure(f'base_url = "{openrouter_sandbox.base_url}"\n')
    return made


@pytest.fixture
def online(user: Installation, openrouter_sandbox: Sandbox) -> Installation:
    """The same, with the stand-in named by the environment, above every file."""
    user.environment["OPENROUTER_BASE_URL"] = openrouter_sandbox.base_url
    return user


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    """A host of somebody else's."""
    with Catcher() as listening:
        yield listening


def keep_session(user: Installation, project: str, below: Path) -> Path:
    """A recorded session of that project, in a Claude Code folder."""
    recorded = next(SESSIONS.glob("b0b4*.jsonl"))
    folder = below / "projects" / re.sub(r"[^A-Za-z0-9]", "-", project)
    folder.mkdir(parents=True)
    return Path(shutil.copy(recorded, folder))


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "hello"),
        ("keys", "status"),
        ("models", "refresh"),
        ("ledger", "reconcile", "--patience-s", "0"),
        ("handoff", "latest", "--to", "openai/gpt-4o-mini"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_key_and_no_prompt_goes_where_a_folder_says(
    user: Installation, catcher: Catcher, arguments: tuple[str, ...]
) -> None:
    keep_session(user, str(user.folder), user.home / ".claude")
    assert user.run("ask", "hello").returncode == 0  # so that there is something to reconcile
    user.clone(f'base_url = "{catcher.base_url}"\nmax_retries = 1\n')
    done = user.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert catcher.requests == []
    (remark,) = [line for line in done.stderr.splitlines() if "devflow.toml" in line]
    assert "base_url, max_retries" in remark
    assert "devflow trust" in remark


def test_claude_code_is_not_led_elsewhere_by_a_folder(
    user: Installation, catcher: Catcher, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)
    user.clone(f'base_url = "{catcher.base_url}"\n')
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    assert user.run("claude", environ={"PATH": path}).returncode == 7
    assert catcher.requests == []


def test_the_mcp_server_does_not_read_the_folders_file(
    user: Installation, catcher: Catcher
) -> None:
    user.clone(f'base_url = "{catcher.base_url}"\nno_such_setting = 1\n')
    call = {"name": "ask", "arguments": {"prompt": "hi", "model": "openai/gpt-4o-mini"}}
    with subprocess.Popen(
        [PROGRAM, "mcp"],
        cwd=user.folder,
        env=user.environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        server.stdin.write(json.dumps(message).encode() + b"\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        server.stdin.close()
        assert server.wait(PATIENCE_S) == 0
    assert json.loads(answer)["result"]["isError"] is False
    assert catcher.requests == []


def test_no_command_of_a_folder_is_run(online: Installation) -> None:
    marker = online.home / "marker"
    command = json.dumps(["/bin/sh", "-c", f"env > {marker}"])
    online.clone(
        "cost_budget_usd = 10\nbudget_alert_at = [0.0000000001]\n"
        f"budget_alert_command = {command}\n"
    )
    assert online.run("ask", "hello").returncode == 0
    assert not marker.exists()


def test_the_status_line_calls_no_database_of_a_folder(user: Installation) -> None:
    with SilentHost() as database:
        user.clone(f'ledger_url = "postgresql://x:y@127.0.0.1:{database.port}/x"\n')
        done = user.run("statusline", stdin=b'{"session_id": "s", "model": {"id": "m"}}')
        assert (done.returncode, done.stdout) == (0, "DevFlow · m\n")
        assert not database.is_called


def test_no_transcript_of_a_folder_becomes_context(user: Installation) -> None:
    keep_session(user, "/home/dev/demo", user.folder / ".c")
    user.clone('claude_dir = "./.c"\n')
    event = {
        "hook_event_name": "SessionStart",
        "source": "startup",
        "session_id": "new",
        "cwd": "/home/dev/demo",
    }
    done = user.run("hook", stdin=json.dumps(event).encode())
    assert (done.returncode, done.stdout) == (0, "")


def test_no_folder_says_where_the_ledger_is(online: Installation) -> None:
    precious = online.home / "precious"
    precious.write_text("mine")
    (online.folder / ".d").mkdir(mode=0o700)
    (online.folder / ".d" / "ledger.emergency-0").symlink_to(precious)
    online.clone('data_dir = ".d"\n')
    assert online.run("ask", "hello").returncode == 0
    assert precious.read_text() == "mine"
    assert (online.data_dir / "ledger.db").exists()


def test_taste_is_taken_without_a_question(online: Installation) -> None:
    online.clone(
        '[aliases]\nmine = "openai/gpt-4o-mini"\n[models."openai/gpt-4o-mini"]\nquality = 0.9\n'
    )
    done = online.run("ask", "hello", "--model", "mine", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["model"].startswith("openai/gpt-4o-mini")
    assert done.stderr == ""


def test_prices_are_no_taste(user: Installation) -> None:
    user.clone(
        '[models."openai/gpt-4o-mini"]\nquality = 0.9\nprompt_usd_per_mtok = "0"\n'
        'completion_usd_per_mtok = "0"\n'
    )
    done = user.run("models", "show", "openai/gpt-4o-mini", "--json")
    assert Decimal(json.loads(done.stdout)["prompt_usd_per_million"]) > 0
    assert "models.openai/gpt-4o-mini.prompt_usd_per_mtok" in done.stderr


@pytest.mark.parametrize(
    ("own", "folder", "limit"), [("5", "2", "2"), ("5", "50", "5"), (None, "2", "2")]
)
def test_a_folder_only_lowers_a_budget(
    online: Installation, own: str | None, folder: str, limit: str
) -> None:
    online.clone(f"cost_budget_usd = {folder}\n")
    if own:
        online.environment["OPENROUTER_COST_BUDGET_USD"] = own
    assert online.run("ask", "hello").returncode == 0
    (budget,) = json.loads(online.run("budget", "list", "--json").stdout)["budgets"]
    assert Decimal(budget["limit_usd"]) == Decimal(limit)


def test_a_folder_does_not_raise_the_budget_that_the_ledger_has(online: Installation) -> None:
    assert online.run("ask", "hi", environ={"OPENROUTER_COST_BUDGET_USD": "1"}).returncode == 0
    online.clone("cost_budget_usd = 50\n")
    assert online.run("ask", "hello").returncode == 0
    (budget,) = json.loads(online.run("budget", "list", "--json").stdout)["budgets"]
    assert Decimal(budget["limit_usd"]) == 1


def run_on_terminal(user: Installation, *arguments: str, answer: bytes) -> tuple[int, str]:
    """Run the command on a terminal of its own, and answer its question about the folder."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=user.folder,
        env=user.environ(COLUMNS="200", TERM="dumb"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as child:
        os.close(slave)
        seen, is_answered = b"", False
        while piece := _read_terminal(master):
            seen += piece
            if QUESTION in seen and not is_answered:
                is_answered = True
                os.write(master, answer)
        status = child.wait(PATIENCE_S)
    os.close(master)
    return status, seen.decode().replace("\r\n", "\n")


def _read_terminal(master: int) -> bytes:
    """What comes next; nothing at the end, or when nothing comes any more."""
    if not select.select([master], [], [], PATIENCE_S)[0]:
        return b""
    try:
        return os.read(master, 65536)
    except OSError:  # the other side has been closed
        return b""


def test_on_a_terminal_it_is_asked_once_and_everything_is_shown(
    user: Installation, catcher: Catcher
) -> None:
    file = user.clone(
        'api_key = "sk-or-v1-THEIRS000011112222"\nlog_format = "json"\n'
        f'base_url = "{catcher.base_url}"\n'
        'budget_alert_command = ["/bin/echo", "\\u001b[2J\\u202e"]\n'
    )
    status, seen = run_on_terminal(user, "models", "list", "gpt-4o-mini", answer=b"n\n")
    assert status == 0
    assert f'base_url = "{catcher.base_url}"' in seen
    assert 'budget_alert_command = ["/bin/echo", "\\u001b[2J\\u202e"]' in seen
    assert "api_key = ********" in seen
    assert "THEIRS" not in seen
    assert "\x1b[2J" not in seen
    status, seen = run_on_terminal(user, "models", "list", "gpt-4o-mini", answer=b"y\n")
    assert (status, QUESTION.decode() in seen) == (0, False)  # no is an answer, too
    file.write_text(file.read_text() + "\n")
    status, seen = run_on_terminal(user, "models", "list", "gpt-4o-mini", answer=b"y\n")
    assert (status, QUESTION.decode() in seen) == (0, True)
    assert catcher.requests == []
    trusted = user.run("keys", "status")
    assert (trusted.stderr, len(catcher.requests)) == ("", 1)
    record = user.home / ".config" / "devflow" / "trusted-folders.json"
    assert record.stat().st_mode & 0o777 == 0o600
    file.write_text(file.read_text() + "\n")
    assert user.run("keys", "status").returncode == 0
    assert len(catcher.requests) == 1


def test_a_folder_is_trusted_by_a_command_and_no_more_by_another(
    user: Installation, catcher: Catcher
) -> None:
    file = user.clone(f'base_url = "{catcher.base_url}"\n')
    assert user.run("trust", stdin=b"").returncode == 1
    assert user.run("trust", stdin=b"n\n").returncode == 1
    assert user.run("keys", "status").returncode == 0
    assert catcher.requests == []
    done = user.run("trust", "--yes")
    assert (done.returncode, f'base_url = "{catcher.base_url}"' in done.stderr) == (0, True)
    assert user.run("trust", "--list").stdout == f"{file}\n"
    assert json.loads(user.run("trust", "--list", "--json").stdout) == {"trusted": [str(file)]}
    user.run("keys", "status")
    assert len(catcher.requests) == 1
    assert user.run("trust", "--revoke", str(user.folder)).returncode == 0
    assert user.run("trust", "--revoke").returncode == 1
    user.run("keys", "status")
    assert len(catcher.requests) == 1


def test_there_is_nothing_to_trust_in_taste(user: Installation) -> None:
    assert "nothing to trust" in user.run("trust").stdout
    user.clone("cost_priority = 0.9\n")
    done = json.loads(user.run("trust", "--json").stdout)
    assert done["trusted"] is False


def test_another_file_is_named_on_the_command_line(user: Installation, catcher: Catcher) -> None:
    user.clone(f'base_url = "{catcher.base_url}"\n')
    user.run("keys", "status", "--config", "devflow.toml")
    assert len(catcher.requests) == 1


async def test_a_program_takes_the_users_settings_and_warns(
    user: Installation, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.clone(f'base_url = "{catcher.base_url}"\ncost_priority = 0.9\n')
    monkeypatch.chdir(user.folder)
    monkeypatch.setenv("HOME", str(user.home))
    monkeypatch.setenv("OPENROUTER_API_KEY", user.environment["OPENROUTER_API_KEY"])
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("OPENROUTER_BASE_URL", raising=False)
    with structlog.testing.capture_logs() as logs:
        async with OpenRouterGateway.from_env() as gateway:
            await gateway.learn_limits()
            settings = gateway.settings
    assert catcher.requests == []
    assert settings.cost_priority == 0.9
    assert settings.base_url != catcher.base_url
    assert [one["log_level"] for one in logs if "base_url" in one["event"]] == ["warning"]
    assert Settings.load(judge_folder=lambda _question: True).base_url == catcher.base_url


def plant_modules(user: Installation) -> Path:
    """Modules of the names that ours import; whoever imports one leaves a mark."""
    marker = user.home / "imported"
    for name in ("orjson", "devflow_sandbox", "argparse", "multiprocessing", "asyncio"):
        (user.folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    return marker


def test_the_stand_in_imports_no_module_of_a_folder(user: Installation) -> None:
    marker = plant_modules(user)
    assert user.run("demo").returncode == 0
    assert not marker.exists()


def test_workers_import_no_module_of_a_folder(user: Installation) -> None:
    marker = plant_modules(user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [PROGRAM, "serve", "--no-key", "--workers", "2", "--port", str(port)],
        cwd=user.folder,
        env=user.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            while not marker.exists() and not is_healthy(port) and child.poll() is None:
                time.sleep(0.1)
        finally:
            child.terminate()
    assert not marker.exists()


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as reply:
            return reply.status == 200
    except OSError:
        return False


def test_where_there_is_no_home_nothing_is_trusted(user: Installation, catcher: Catcher) -> None:
    user.clone(f'base_url = "{catcher.base_url}"\n')
    program = "from devflow_core.settings import Settings; print(Settings.load({}).base_url)"
    done = run_program([sys.executable, "-P", "-c", program], user)
    assert catcher.base_url not in done.stdout.splitlines()
