"""Hook, MCP server and launcher as real Claude Code takes them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients.pinned import VERSIONS
from devflow_claude_code import plan_install, plan_launch, plan_undo
from devflow_claude_code.reading.paths import project_slug

if TYPE_CHECKING:
    from conftest import ClaudeCode, ScriptedApi

SESSION = (
    Path(__file__).parents[2]
    / "packages/adapters/claude_code/tests/samples/transcripts/2.1.329/coding"
    / "b0b4c439-0397-43ca-ab6e-d4217f8a9811.jsonl"
)
PROGRAM = """#!{python}
import asyncio, sys
from devflow_claude_code import McpTools, run_hook, serve_mcp

async def tool(**arguments):
    return f"asked with {{arguments}}"

if sys.argv[1] == "hook":
    sys.stdout.write(run_hook(sys.stdin.buffer.read()).stdout)
if sys.argv[1] == "mcp":
    tools = McpTools(ask=tool, handoff=tool, report=tool, explain=tool)
    asyncio.run(serve_mcp(tools, sys.stdin.buffer, sys.stdout.buffer))
"""


@pytest.fixture
def devflow(tmp_path: Path) -> str:
    """The commands that Claude Code runs."""
    program = tmp_path / "bin" / "devflow"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_the_installed_hook_tells_a_new_session_of_the_last_one(
    claude_code: "ClaudeCode", api: "ScriptedApi", devflow: str
) -> None:
    folder = claude_code.config_dir / "projects" / project_slug(claude_code.project)
    folder.mkdir(parents=True)
    (folder / SESSION.name).write_bytes(SESSION.read_bytes())
    settings = claude_code.config_dir / "settings.json"
    settings.write_text('{"permissions": {}}')
    plan_install(settings, command=devflow, data_dir=claude_code.home / "data").apply()
    ended = claude_code.run("-p", "Hello")
    assert ended.returncode == 0, ended.stderr
    assert api.was_asked("session-context-", "Add a --json flag to report.py")
    plan_undo(settings, data_dir=claude_code.home / "data").apply()
    assert settings.read_text() == '{"permissions": {}}'


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_the_mcp_server_offers_its_tools(
    claude_code: "ClaudeCode", api: "ScriptedApi", devflow: str
) -> None:
    config = claude_code.home / "mcp.json"
    plan_install(
        config, command=devflow, features=("mcp",), data_dir=claude_code.home / "data"
    ).apply()
    # by default the first request does not wait for a server that is slow to start
    patience = {"MCP_CONNECTION_NONBLOCKING": "0", "MCP_CONNECT_TIMEOUT_MS": "60000"}
    claude_code.environment |= {**patience, "MCP_TIMEOUT": "60000"}
    ended = claude_code.run("-p", "Hello", "--mcp-config", str(config))
    assert ended.returncode == 0, ended.stderr
    tools = ("ask", "handoff", "report", "explain")
    assert api.was_asked("Hello", *(f"mcp__devflow__{name}" for name in tools))


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
