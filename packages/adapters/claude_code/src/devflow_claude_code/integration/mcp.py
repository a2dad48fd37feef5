"""`devflow mcp`: offers DevFlow to an MCP client as four tools, over standard input and output.

Implements the part of the protocol that tools over stdio need (modelcontextprotocol.io, revisions
2024-11-05 to 2025-11-25): JSON-RPC 2.0, one message per line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, BinaryIO

import orjson
import structlog
from devflow_core.dimensions import GROUPINGS
from devflow_core.errors import DevFlowError

from devflow_claude_code.reading.content import get_object, get_string
from devflow_claude_code.reading.rows import Json, decode_line

PROTOCOL_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""The supported revisions, newest first; a client that asks for another is offered the newest."""
# error codes of JSON-RPC 2.0, section 5.1
_PARSE_ERROR, _METHOD_NOT_FOUND, _INVALID_PARAMS = -32700, -32601, -32602
_INSTRUCTIONS = (
    "DevFlow sends work to other models through its gateway, with the context of this Claude Code"
    " session, and keeps account of cost. `ask` and `handoff` cost money; `report` and `explain` do"
    " not."
)
_STRING_SCHEMA = {"type": "string"}
_TOOL_PARAMETERS: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "ask": (
        "Ask another model. The context of a session is added if one is named.",
        {
            "prompt": "What to ask.",
            "model": "A model id such as z-ai/glm-5; left out, a model is chosen.",
            "session": "Id of a Claude Code session whose context goes along.",
        },
        ("prompt",),
    ),
    "handoff": (
        "Let another model carry a whole session on; answers with its reply.",
        {
            "session": "Id of the session; left out, the last one.",
            "model": "A model id; left out, a model is chosen.",
            "prompt": "What to do next; left out, to continue.",
        },
        (),
    ),
    "report": (
        "What was spent, from the ledger.",
        {
            "by": f"One or two, with a comma between them, of {', '.join(GROUPINGS)}.",
            "since": "A time such as 7d or 2026-11-01.",
        },
        (),
    ),
    "explain": (
        "Which model would answer, and why, without calling any.",
        {"prompt": "What would be asked."},
        ("prompt",),
    ),
}


_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("devflow.mcp")

ToolFunction = Callable[..., Awaitable[str]]
"""A tool: takes named text arguments and returns text.

The client is sent the message of a `DevFlowError`; of any other error, only the class.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTools:
    """The functions behind the four tools. Arguments that the client leaves out are not passed."""

    ask: ToolFunction
    handoff: ToolFunction
    report: ToolFunction
    explain: ToolFunction


class McpServer:
    """Answers the messages of one client.

    Args:
        tools: the functions that can be called.
        send: called with each answer, a JSON-RPC object.
        version: DevFlow's version, reported to the client.
    """

    def __init__(self, tools: McpTools, send: Callable[[Json], None], version: str) -> None:
        self._tools = tools
        self._send = send
        self._version = version
        self._running: dict[object, asyncio.Task[None]] = {}
        self._methods: dict[str, Callable[[Json], Json]] = {
            "initialize": self._initialize,
            "ping": lambda _: {},
            "tools/list": lambda _: {"tools": [_describe_tool(name) for name in _TOOL_PARAMETERS]},
        }

    def receive(self, line: bytes, group: asyncio.TaskGroup) -> None:
        """Answer one message; tool calls run as tasks of the group.

        A line that is not a JSON object, an unknown method and wrong arguments get an error as
        their answer; a notification gets none.
        """
        message = decode_line(line)
        if message is None:
            self._send_error(None, _PARSE_ERROR, "a message is one JSON object on one line")
            return
        method, params = get_string(message, "method"), get_object(message, "params")
        # a message without an id is a notification, which must not be answered
        if "id" not in message:
            if method == "notifications/cancelled":
                self._cancel(params.get("requestId"))
            return
        number = message["id"]
        if method == "tools/call":
            self._start_call(number, params, group)
        elif handler := self._methods.get(method):
            self._send({"jsonrpc": "2.0", "id": number, "result": handler(params)})
        elif method:
            self._send_error(number, _METHOD_NOT_FOUND, f"there is no method {method}")

    def cancel_all(self) -> None:
        """Cancel all running calls, for example because the client has closed its end."""
        for task in self._running.values():
            task.cancel()

    def _initialize(self, params: Json) -> Json:
        wanted = get_string(params, "protocolVersion")
        return {
            "protocolVersion": wanted if wanted in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "devflow", "version": self._version},
            "instructions": _INSTRUCTIONS,
        }

    def _start_call(self, number: object, params: Json, group: asyncio.TaskGroup) -> None:
        name, arguments = get_string(params, "name"), get_object(params, "arguments")
        problem = _check_arguments(name, arguments)
        if problem:
            self._send_error(number, _INVALID_PARAMS, problem)
            return
        task = group.create_task(self._run(number, name, arguments))
        # ids may be numbers or texts, and 1 and "1" are different ids
        key = orjson.dumps(number)
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))

    async def _run(self, number: object, name: str, arguments: Mapping[str, str]) -> None:
        tool: ToolFunction = getattr(self._tools, name)
        try:
            text, is_error = await tool(**arguments), False
        except DevFlowError as error:
            text, is_error = error.message, True
        except Exception as error:  # noqa: BLE001 - one call must not end the others
            _log.error("a tool of the MCP server failed", tool=name, exc_info=error)
            text, is_error = f"{name} failed: {type(error).__name__}. The log says more.", True
        # lone surrogates cannot be encoded in the answer
        text = text.encode("utf-8", "replace").decode()
        result = {"content": [{"type": "text", "text": text}], "isError": is_error}
        self._send({"jsonrpc": "2.0", "id": number, "result": result})

    def _cancel(self, number: object) -> None:
        task = self._running.get(orjson.dumps(number))
        if task is not None:
            task.cancel()

    def _send_error(self, number: object, code: int, text: str) -> None:
        self._send({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}})


async def serve_mcp(tools: McpTools, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Answer a client until it closes its end; calls still running then are cancelled.

    Nothing else may write to `stdout` meanwhile. The streams stay open; answers to a client that
    no longer reads are dropped.
    """

    def send(message: Json) -> None:
        with suppress(BrokenPipeError):
            stdout.write(orjson.dumps(message) + b"\n")
            stdout.flush()

    server = McpServer(tools, send, version("devflow-gateway-claude-code"))
    async with asyncio.TaskGroup() as group:
        while line := await asyncio.to_thread(stdin.readline):
            if line.strip():
                server.receive(line, group)
        server.cancel_all()


def _describe_tool(name: str) -> Json:
    description, parameters, required = _TOOL_PARAMETERS[name]
    properties: dict[str, Any] = {
        one: {**_STRING_SCHEMA, "description": words} for one, words in parameters.items()
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"name": name, "description": description, "inputSchema": schema}


def _check_arguments(name: str, arguments: Json) -> str:
    if name not in _TOOL_PARAMETERS:
        return f"there is no tool {name}; there are {', '.join(_TOOL_PARAMETERS)}"
    _, parameters, required = _TOOL_PARAMETERS[name]
    for one, value in arguments.items():
        if one not in parameters:
            return f"{name} takes no {one}"
        if not isinstance(value, str):
            return f"{one} has to be text"
    absent = [one for one in required if not arguments.get(one)]
    return f"{name} needs {absent[0]}" if absent else ""
