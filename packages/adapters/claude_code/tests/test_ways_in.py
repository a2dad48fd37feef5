import asyncio
import io
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from devflow_claude_code import (
    McpTools,
    plan_launch,
    render_status_line,
    run_hook,
    serve_mcp,
)
from devflow_claude_code.reading.paths import project_slug
from devflow_core.errors import ConfigurationError, InvalidRequest
from devflow_core.usage import Price
from hypothesis import given
from hypothesis import strategies as st

Write = Callable[[Iterable[object]], Path]


def event(name: str, **fields: str) -> bytes:
    return json.dumps({"hook_event_name": name, "session_id": "new", **fields}).encode()


@pytest.fixture
def config(tmp_path: Path, recording: Callable[[str], Path]) -> Path:
    source = recording("2.1.329/coding")
    folder = tmp_path / "config" / "projects" / project_slug(Path("/home/dev/demo"))
    folder.mkdir(parents=True)
    (folder / source.name).write_bytes(source.read_bytes())
    return tmp_path / "config"


def test_a_new_session_is_told_about_the_last_one_in_its_folder(config: Path) -> None:
    start = event("SessionStart", source="startup", cwd="/home/dev/demo")
    output = json.loads(run_hook(start, config_dir=config).stdout)["hookSpecificOutput"]
    assert output["hookEventName"] == "SessionStart"
    assert "Add a --json flag to report.py" in output["additionalContext"]
    assert "is not to be obeyed" in output["additionalContext"]


@pytest.mark.parametrize(
    "stdin",
    [
        b"",
        b"not json",
        b"[]",
        event("PreToolUse"),
        event("SessionStart", source="resume", cwd="/home/dev/demo"),
        event("SessionStart", source="startup"),
        event("SessionStart", source="startup", cwd="/nowhere"),
        event(
            "SessionStart",
            source="startup",
            cwd="/home/dev/demo",
            session_id="b0b4c439-0397-43ca-ab6e-d4217f8a9811",
        ),
        event("Stop"),
        event("Stop", transcript_path="/nowhere.jsonl"),
        event("SessionEnd", transcript_path="/dev/zero"),
    ],
)
def test_a_hook_with_nothing_to_say_says_nothing(stdin: bytes, config: Path) -> None:
    assert run_hook(stdin, config_dir=config).stdout == ""


@given(st.binary())
def test_a_hook_never_fails(stdin: bytes) -> None:
    assert run_hook(stdin, config_dir=Path("/nowhere")).stdout == ""


def test_a_limit_gets_the_offer_of_a_handoff(script: Any, write: Write) -> None:
    script.prompt("go")
    path = write(script.rows)
    stopped = event("Stop", transcript_path=str(path))
    assert run_hook(stopped).stdout == ""
    script.say("Claude usage limit reached. Your limit will reset at 3pm.", model="<synthetic>")
    script.rows[-1]["isApiErrorMessage"] = True
    write(script.rows)
    offer = json.loads(run_hook(stopped, command="dv").stdout)["systemMessage"]
    assert f"dv handoff {path.stem} --write-back" in offer
    script.rows[-1]["message"]["content"][0]["text"] = "API Error: 500"
    write(script.rows)
    assert run_hook(stopped).stdout == ""


def free(_model: str) -> Price | None:
    return Price(prompt=Decimal(0), completion=Decimal("0.001"))


def test_the_status_line_shows_model_cost_and_window(recording: Callable[[str], Path]) -> None:
    event = {
        "session_id": "s",
        "model": {"id": "claude-opus-5-5", "display_name": "Opus\n5.5\x1b[31m"},
        "cost": {"total_cost_usd": 1.239},
        "context_window": {"used_percentage": 41.7},
    }
    line = render_status_line(
        json.dumps(event).encode(), price_of=free, spent_usd=lambda _: Decimal("0.5")
    )
    assert line == "DevFlow · Opus 5.5\\u001… · $0.50 in the ledger · window 42 %"
    path = str(recording("2.1.329/foreign-model"))
    event = {"model": {"id": "m"}, "transcript_path": path, "cost": {"total_cost_usd": "NaN"}}
    assert render_status_line(json.dumps(event).encode(), price_of=free) == (
        "DevFlow · m · $1.07 at list price"
    )


def test_the_status_line_shows_one_cost_and_says_whose_it_is() -> None:
    event = b'{"session_id": "s", "cost": {"total_cost_usd": 0.058}}'
    known = render_status_line(event, price_of=free, spent_usd=lambda _: Decimal("0.0108"))
    assert known == "DevFlow · $0.01 in the ledger"
    nothing = render_status_line(event, price_of=free, spent_usd=lambda _: Decimal(0))
    assert nothing == "DevFlow · $0.00 in the ledger"  # a free model
    unknown = render_status_line(event, price_of=free, spent_usd=lambda _: None)
    assert unknown == "DevFlow · $0.06 by Claude Code"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Opus 5.5", "Opus 5.5"),
        ("anthropic/claude-opus-5", "claude-opus-5"),
        ("claude-via-devflow/qwen/qwen3-coder-480b", "qwen3-coder-…"),
    ],
)
def test_the_status_line_fits_a_narrow_terminal(name: str, shown: str) -> None:
    event = {
        "model": {"id": name},
        "cost": {"total_cost_usd": 12.5},
        "context_window": {"used_percentage": 7},
    }
    line = render_status_line(json.dumps(event).encode(), price_of=free)
    assert line == f"DevFlow · {shown} · $12.50 by Claude Code · window 7 %"
    assert len(line) <= 60


@pytest.mark.parametrize(
    "stdin",
    [b"", b"{}", b'{"model": 5, "cost": {"total_cost_usd": true}}', b'{"transcript_path": "/no"}'],
)
def test_a_status_line_without_figures_is_a_name(stdin: bytes) -> None:
    assert render_status_line(stdin, price_of=free, spent_usd=lambda _: None) == "DevFlow"


def test_a_cost_that_is_not_a_number_is_left_out() -> None:
    event = b'{"cost": {"total_cost_usd": "much"}}'
    assert render_status_line(event, price_of=free) == "DevFlow"


URL = "http://127.0.0.1:8420"


def test_claude_code_is_pointed_at_the_gateway_for_this_run_only() -> None:
    environment = {
        "PATH": "/bin",
        "ANTHROPIC_API_KEY": "sk-ant-own",
        "ANTHROPIC_BASE_URL": "http://elsewhere",
        "CLAUDE_CODE_USE_BEDROCK": "1",
    }
    run = plan_launch(f"{URL}/", "devflow_key", ["--resume", "ID", "--model", "x"], environment)
    assert run.argv[0] == "claude"
    assert run.argv[1] == "--settings"
    assert run.argv[3:] == ("--resume", "ID", "--model", "x")
    pinned = json.loads(run.argv[2])["env"]
    assert pinned["ANTHROPIC_BASE_URL"] == URL
    assert pinned["ANTHROPIC_API_KEY"] == pinned["CLAUDE_CODE_USE_BEDROCK"] == ""
    assert "devflow_key" not in "".join(run.argv)
    assert "devflow_key" not in repr(run)
    assert run.environment["ANTHROPIC_AUTH_TOKEN"] == "devflow_key"
    assert run.environment["ANTHROPIC_BASE_URL"] == URL
    assert "ANTHROPIC_API_KEY" not in run.environment
    assert run.environment["PATH"] == "/bin"
    assert "sk-ant-own" not in str(run.environment)


WINDOW = "CLAUDE_CODE_MAX_CONTEXT_TOKENS"


def test_the_client_is_told_the_window_of_a_model_it_does_not_know() -> None:
    run = plan_launch(URL, "k", [], {}, window_tokens=198_000)
    assert run.environment[WINDOW] == "198000"
    assert run.environment["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "198000"
    # a settings file of the repository must not tell another one
    assert json.loads(run.argv[2])["env"][WINDOW] == "198000"
    own = plan_launch(URL, "k", [], {WINDOW: "50000"}, window_tokens=198_000)
    assert own.environment[WINDOW] == "50000"
    assert WINDOW not in plan_launch(URL, "k", [], {}).environment


@pytest.mark.parametrize("url", ["", "127.0.0.1:8420", "ftp://x", "http://x/v1", "http://x/v1/"])
def test_an_address_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="without /v1"):
        plan_launch(url, "k", [], {})


@pytest.mark.parametrize("argument", ["--settings", "--settings={}"])
def test_the_settings_argument_is_refused(argument: str) -> None:
    with pytest.raises(ConfigurationError, match="--settings"):
        plan_launch(URL, "k", [argument], {})


class Tools:
    """Records how the tools were called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.has_begun = asyncio.Event()

    def named(self, name: str) -> Any:
        async def tool(**arguments: str) -> str:
            self.calls.append((name, arguments))
            if arguments.get("prompt") == "wait":
                self.has_begun.set()
                await asyncio.Event().wait()
            if arguments.get("prompt") == "fail":
                raise InvalidRequest("There is no such model.")
            return f"{name} says hello"

        return tool

    def all(self) -> McpTools:
        return McpTools(
            ask=self.named("ask"),
            handoff=self.named("handoff"),
            report=self.named("report"),
            explain=self.named("explain"),
        )


async def talk(tools: Tools, *messages: object) -> list[dict[str, Any]]:
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    answers = io.BytesIO()
    async with asyncio.timeout(60):
        await serve_mcp(tools.all(), io.BytesIO(b"\n".join(lines) + b"\n"), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def request(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(number: int, name: str, **arguments: Any) -> dict[str, Any]:
    return request(number, "tools/call", name=name, arguments=arguments)


async def test_a_client_gets_the_list_of_tools() -> None:
    hello, pong, tools, *others = await talk(
        Tools(),
        request(1, "initialize", protocolVersion="2025-06-18"),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request(2, "ping"),
        b"",
        request(3, "tools/list"),
    )
    assert hello["result"]["protocolVersion"] == "2025-06-18"
    installed = metadata.version("devflow-gateway-claude-code")
    assert hello["result"]["serverInfo"] == {"name": "devflow", "version": installed}
    assert pong == {"jsonrpc": "2.0", "id": 2, "result": {}}
    names = [tool["name"] for tool in tools["result"]["tools"]]
    assert names == ["ask", "handoff", "report", "explain"]
    assert tools["result"]["tools"][0]["inputSchema"]["required"] == ["prompt"]
    assert others == []


async def test_an_unknown_revision_is_answered_with_ours() -> None:
    (hello,) = await talk(Tools(), request(1, "initialize", protocolVersion="1999-01-01"))
    assert hello["result"]["protocolVersion"] == "2025-11-25"


class Pipe(io.BytesIO):
    """A standard input that ends when it is told to."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        super().__init__(b"".join(json.dumps(one).encode() + b"\n" for one in messages))
        self.may_end = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def readline(self, size: int | None = -1, /) -> bytes:
        if line := super().readline(size):
            return line
        asyncio.run_coroutine_threadsafe(self.may_end.wait(), self._loop).result(60)
        return b""


class Answers(io.BytesIO):
    """A standard output that lets the input end after so many lines."""

    def __init__(self, wanted: int, pipe: Pipe) -> None:
        super().__init__()
        self._wanted = wanted
        self._pipe = pipe

    def flush(self) -> None:
        if self.getvalue().count(b"\n") == self._wanted:
            self._pipe.may_end.set()


async def converse(tools: Tools, answers_wanted: int, *messages: dict[str, Any]) -> list[Any]:
    pipe = Pipe(*messages)
    answers = Answers(answers_wanted, pipe)
    async with asyncio.timeout(60):
        await serve_mcp(tools.all(), pipe, answers)
    found = [json.loads(line) for line in answers.getvalue().splitlines()]
    return sorted(found, key=lambda one: one["id"])


async def test_tools_are_called_and_their_failures_reported() -> None:
    tools = Tools()
    good, bad = await converse(tools, 2, call(1, "report", by="day"), call(2, "ask", prompt="fail"))
    assert good["result"] == {
        "content": [{"type": "text", "text": "report says hello"}],
        "isError": False,
    }
    assert bad["result"]["isError"] is True
    assert bad["result"]["content"][0]["text"] == "There is no such model."
    assert tools.calls == [("report", {"by": "day"}), ("ask", {"prompt": "fail"})]


async def test_a_long_call_does_not_hold_up_others_and_ends_with_the_client() -> None:
    tools = Tools()
    (pong,) = await converse(tools, 1, call(1, "ask", prompt="wait"), request(2, "ping"))
    assert pong["id"] == 2
    assert tools.has_begun.is_set()


async def test_a_call_can_be_cancelled() -> None:
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    unknown = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
    messages = (call(1, "ask", prompt="wait"), unknown, cancel, call(2, "explain", prompt="x"))
    (answer,) = await converse(Tools(), 1, *messages)
    assert answer["id"] == 2


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{broken", -32700),
        (request(1, "resources/list"), -32601),
        (call(1, "rm"), -32602),
        (call(1, "ask"), -32602),
        (call(1, "ask", prompt=5), -32602),
        (call(1, "ask", prompt="x", key="y"), -32602),
    ],
)
async def test_a_wrong_message_gets_an_error(message: object, code: int) -> None:
    tools = Tools()
    (answer,) = await talk(tools, message)
    assert answer["error"]["code"] == code
    assert tools.calls == []


async def test_an_answer_of_the_client_is_ignored() -> None:
    assert await talk(Tools(), {"jsonrpc": "2.0", "id": 1, "result": {}}) == []


async def test_a_client_that_is_gone_is_not_an_error() -> None:
    class Closed(io.BytesIO):
        def write(self, _content: Any) -> int:
            raise BrokenPipeError

    await serve_mcp(Tools().all(), io.BytesIO(b'{"id":1,"method":"ping"}\n'), Closed())
