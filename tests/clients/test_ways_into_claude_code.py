"""Hook, MCP server and launcher as real Claude Code takes them.

DevFlow is the installed one, put in by `devflow integrate`, and `devflow` is not on the PATH.
"""

import json
import os
import select
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients.pinned import VERSIONS
from devflow_claude_code import plan_launch
from devflow_claude_code.reading.paths import project_slug

if TYPE_CHECKING:
    from conftest import ClaudeCode, ScriptedApi

SESSION = (
    Path(__file__).parents[2]
    / "packages/adapters/claude_code/tests/samples/transcripts/2.1.329/coding"
    / "b0b4c439-0397-43ca-ab6e-d4217f8a9811.jsonl"
)
PATIENCE_S = 120


class User:
    """Somebody whose Claude Code has DevFlow inside, under a path that takes quoting."""

    def __init__(self, claude_code: "ClaudeCode") -> None:
        self.claude_code = claude_code
        self.settings = claude_code.config_dir / "settings.json"
        self.program = claude_code.home / 'it\'s a "place" for $HOME' / "devflow"
        self.program.parent.mkdir(parents=True)
        self.program.symlink_to(Path(sys.executable).with_name("devflow"))
        self.settings.parent.mkdir()
        self.settings.write_text(SETTINGS)
        # by default the first request does not wait for a server that is slow to start
        patience = {"MCP_CONNECTION_NONBLOCKING": "0", "MCP_CONNECT_TIMEOUT_MS": "60000"}
        claude_code.environment |= {**patience, "MCP_TIMEOUT": "60000"}
        claude_code.environment |= {"PATH": "/usr/bin:/bin", "OPENROUTER_API_KEY": "invented"}

    def integrate(self, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.program), "integrate", "--yes", *arguments],
            cwd=self.claude_code.project,
            env={"HOME": str(self.claude_code.home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def say_hello(self) -> str:
        """Have Claude Code say hello; what it writes to standard error."""
        ended = self.claude_code.run("-p", "Hello")
        assert (ended.returncode, ended.stdout.strip()) == (0, "Scripted answer."), ended.stderr
        return ended.stderr


def show_terminal(claude_code: "ClaudeCode", until: str) -> str:
    """What the client has written to a terminal once this is there; the test's time bounds it."""
    ours, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    # the client asks other hosts for what it does not need here
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    child = subprocess.Popen(
        claude_code.program,
        cwd=claude_code.project,
        env={**claude_code.environment, **nowhere, "TERM": "xterm-256color"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    try:
        while until.encode() not in shown:
            assert select.select([ours], [], [], PATIENCE_S)[0], shown
            shown += os.read(ours, 65536)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    return shown.decode(errors="replace")


SETTINGS = '{"enableAllProjectMcpServers": true}'


@pytest.fixture
def user(claude_code: "ClaudeCode") -> User:
    return User(claude_code)


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_the_installed_hook_tells_a_new_session_of_the_last_one_and_is_quiet_when_gone(
    user: User, api: "ScriptedApi"
) -> None:
    folder = user.claude_code.config_dir / "projects" / project_slug(user.claude_code.project)
    folder.mkdir(parents=True)
    (folder / SESSION.name).write_bytes(SESSION.read_bytes())
    user.integrate()
    assert "hook" not in user.say_hello()
    assert api.was_asked("session-context-", "Add a --json flag to report.py")

    user.program.rename(user.program.with_name("gone"))
    assert "hook" not in user.say_hello()

    user.program.with_name("gone").rename(user.program)
    user.integrate("--undo")
    assert user.settings.read_text() == SETTINGS


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_the_status_line_is_shown(user: User) -> None:
    user.integrate()
    folder = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    state = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "projects": {str(user.claude_code.project): folder},
    }
    (user.claude_code.home / ".claude.json").write_text(json.dumps(state))
    assert "$0.00" in show_terminal(user.claude_code, until="$0.00").split("DevFlow · ")[-1]


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_the_mcp_server_offers_its_tools(user: User, api: "ScriptedApi") -> None:
    user.integrate("--mcp")
    user.say_hello()
    tools = ("ask", "handoff", "report", "explain")
    assert api.was_asked("Hello", *(f"mcp__devflow__{name}" for name in tools))


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_a_variable_in_the_command_of_a_server_is_replaced(user: User, api: "ScriptedApi") -> None:
    # the doctor reads such commands as the client does
    server = {"command": f"${{NO_SUCH_VARIABLE:-{user.program}}}", "args": ["mcp"]}
    file = user.claude_code.project / ".mcp.json"
    file.write_text(json.dumps({"mcpServers": {"devflow": server}}))
    user.say_hello()
    assert api.was_asked("Hello", "mcp__devflow__explain")


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_a_repository_cannot_lead_the_launched_client_elsewhere(
    claude_code: "ClaudeCode", api: "ScriptedApi"
) -> None:
    settings = claude_code.project / ".claude" / "settings.json"
    settings.parent.mkdir()
    elsewhere = {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_API_KEY": "of-the-repository",
        "CLAUDE_CODE_USE_BEDROCK": "1",
    }
    settings.write_text(json.dumps({"env": elsewhere}))
    run = plan_launch(api.url, "dummy-key", ["-p", "Hello"], claude_code.environment)
    ended = subprocess.run(
        [*claude_code.program, *run.argv[1:]],
        cwd=claude_code.project,
        env=dict(run.environment),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Scripted answer." in ended.stdout
    assert api.keys == {"Bearer dummy-key"}
