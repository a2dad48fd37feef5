"""Claude Code through the gateway, and DevFlow inside Claude Code."""

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from devflow_claude_code.reading.paths import project_slug
from devflow_cli.launch import SessionWatch, find_way_back, find_window_tokens
from devflow_cli.testing import Devflow
from devflow_core.attribution import Attribution
from devflow_core.settings import Settings
from devflow_sandbox import Sandbox

Stdin = Callable[[bytes], None]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Stdin:
    """Puts bytes on standard input."""

    def put(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    return put


@pytest.fixture
def fake_claude(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `claude` on the PATH that asks the gateway it was given, and writes down its arguments."""
    program = home / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, urllib.request\n"
        "body = json.dumps({'model': 'anthropic/claude-haiku-4.5', 'max_tokens': 99,"
        " 'messages': [{'role': 'user', 'content': 'Say hello.'}]}).encode()\n"
        "ask = urllib.request.Request(os.environ['ANTHROPIC_BASE_URL'] + '/v1/messages', body, {\n"
        "    'Authorization': 'Bearer ' + os.environ['ANTHROPIC_AUTH_TOKEN'],\n"
        "    'user-agent': 'claude-cli/2.1.332',\n"
        "    'content-type': 'application/json', 'anthropic-version': '2023-06-01'})\n"
        "with urllib.request.urlopen(ask, timeout=60) as answer:\n"
        "    reply = json.load(answer)\n"
        "window = os.environ.get('CLAUDE_CODE_MAX_CONTEXT_TOKENS')\n"
        "seen = {'argv': sys.argv[1:], 'reply': reply, 'window': window}\n"
        "json.dump(seen, open('seen.json', 'w'))\n"
        "sys.exit(7)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return home / "seen.json"


def test_claude_code_runs_through_the_gateway(online: Devflow, fake_claude: Path) -> None:
    done = online("claude", "--model", "auto", "--resume", "abc")
    assert done.status == 7
    seen = json.loads(fake_claude.read_text())
    assert seen["reply"]["type"] == "message"
    assert seen["argv"][-4:] == ["--model", "auto", "--resume", "abc"]
    assert "devflow_" not in " ".join(seen["argv"])


@pytest.mark.parametrize(
    ("model", "window_tokens"),
    [
        ("z-ai/glm-5", 198_000),
        ("fast-one", 198_000),
        ("auto:cheap", 200_000),
        ("claude-opus-5", None),
        ("anthropic/claude-opus-5", None),
        ("nobody/knows", None),
        (None, 262_144),
    ],
)
def test_the_window_of_the_model_that_answers_is_known(
    home: Path, model: str | None, window_tokens: int | None
) -> None:
    aliases, nodes = {"fast-one": "z-ai/glm-5"}, {"main": {"model": "moonshotai/kimi-k2.5"}}
    settings = Settings.load({}, None, aliases=aliases, nodes=nodes, data_dir=home / "data")
    assert find_window_tokens(settings, model) == window_tokens


def test_a_model_that_is_named_comes_before_that_of_the_node(
    online: Devflow, fake_claude: Path, home: Path
) -> None:
    file = home / ".config" / "devflow" / "devflow.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[nodes.main]\nmodel = "moonshotai/kimi-k2.5"\n')
    assert online("claude", "--model", "z-ai/glm-5").status == 7
    seen = json.loads(fake_claude.read_text())
    assert seen["window"] == "198000"
    assert seen["reply"]["devflow"]["model"] == "anthropic/claude-haiku-4.5"


def test_the_way_back_is_the_session_of_the_main_conversation(home: Path, transcript: Path) -> None:
    settings = Settings.load({}, None, data_dir=home / "data")
    kept = home / ".claude" / "projects" / project_slug(Path("/home/dev/demo")) / transcript.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(transcript.read_bytes())
    watch = SessionWatch(lambda attribution: attribution)
    assert find_way_back(settings, watch.session_id) is None
    watch(Attribution(session_id=transcript.stem, agent="main"))
    watch(Attribution(session_id="11111111-2222-4333-8444-555555555555", agent="a1b2"))
    assert find_way_back(settings, watch.session_id) == (
        f"cd /home/dev/demo && claude --resume {transcript.stem}"
    )
    assert find_way_back(settings, "11111111-2222-4333-8444-555555555555") is None


def test_claude_code_that_is_not_there(online: Devflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = online("claude")
    assert (done.status, "npm install" in done.err) == (3, True)


def test_claude_code_needs_a_key_or_the_stand_in(devflow: Devflow, fake_claude: Path) -> None:
    assert devflow("claude").status == 3
    assert devflow("claude", "--sandbox").status == 7


def test_a_hook_answers_what_claude_code_takes(
    devflow: Devflow, stdin: Stdin, transcript: Path
) -> None:
    event = {
        "session_id": transcript.stem,
        "transcript_path": str(transcript),
        "cwd": "/home/dev/demo",
        "hook_event_name": "SessionEnd",
        "reason": "other",
    }
    stdin(orjson.dumps(event))
    assert devflow("hook").status == 0
    stdin(b"nonsense")
    assert devflow("hook").status == 0


def test_the_status_line_is_one_line(online: Devflow, stdin: Stdin, transcript: Path) -> None:
    status = {"session_id": transcript.stem, "transcript_path": str(transcript)}
    stdin(orjson.dumps({**status, "model": {"display_name": "Opus"}}))
    done = online("statusline")
    assert (done.status, done.out.count("\n")) == (0, 1)


def test_the_settings_are_changed_after_asking_and_put_back(
    devflow: Devflow, home: Path, stdin: Stdin
) -> None:
    file = home / ".claude" / "settings.json"
    file.parent.mkdir()
    before = b'{"model": "opus"}\n'
    file.write_bytes(before)
    stdin(b"n\n")
    asked = devflow("integrate")
    assert asked.status == 1
    assert "statusLine" in asked.err
    assert file.read_bytes() == before
    done = devflow("integrate", "--yes", "--json")
    assert (done.status, done.document["written"]) == (0, True)
    assert "hooks" in json.loads(file.read_bytes())
    assert "Nothing to change" in devflow("integrate", "--yes").out
    assert devflow("integrate", "--undo", "--yes").status == 0
    assert file.read_bytes() == before
    assert devflow("integrate", "--mcp", "--yes").status == 0
    assert "mcpServers" in json.loads((home / ".mcp.json").read_bytes())


def test_the_mcp_tools_answer(home: Path, openrouter_sandbox: Sandbox, transcript: Path) -> None:
    folder = home / ".claude" / "projects" / project_slug(home)
    folder.mkdir(parents=True)
    (folder / transcript.name).write_bytes(transcript.read_bytes())
    calls = [
        ("ask", {"prompt": "Say hello.", "session": transcript.stem}),
        ("handoff", {"session": "latest", "model": "openai/gpt-4o-mini"}),
        ("report", {"by": "model", "since": "1d"}),
        ("explain", {"prompt": "Prove it."}),
        ("ask", {"prompt": "Say hello.", "model": "no/such-model"}),
    ]
    messages = [
        {
            "jsonrpc": "2.0",
            "id": 0,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "0"},
            },
        },
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
    ]
    child = subprocess.Popen(
        [sys.executable, "-m", "devflow_cli", "mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "OPENROUTER_API_KEY": openrouter_sandbox.api_key,
            "OPENROUTER_BASE_URL": openrouter_sandbox.base_url,
        },
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        for message in messages:
            child.stdin.write(orjson.dumps(message) + b"\n")
        child.stdin.flush()
        assert orjson.loads(child.stdout.readline())["result"]["serverInfo"]
        for number, (name, arguments) in enumerate(calls, 1):
            call = {"name": name, "arguments": arguments}
            child.stdin.write(
                orjson.dumps(
                    {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
                )
                + b"\n"
            )
            child.stdin.flush()
            answer = orjson.loads(child.stdout.readline())
            text = answer["result"]["content"][0]["text"]
            assert text
            assert bool(answer["result"].get("isError")) == (number == len(calls)), text
    finally:
        child.stdin.close()
        assert child.wait(10) == 0
        child.stdout.close()


@pytest.mark.parametrize("content", [b"\x7fELF broken", b"#!/no/such/interpreter\n"])
def test_a_broken_claude_is_named_in_a_sentence(
    online: Devflow, fake_claude: Path, content: bytes
) -> None:
    (fake_claude.parent / "bin" / "claude").write_bytes(content)
    done = online("claude")
    assert done.status == 1
    assert "is there but cannot be started" in done.err
    assert "Install Claude Code again" in done.err
    assert "Traceback" not in done.err
