"""Reads replies of each dialect as a client does, without the gateway's code.

A reader of its own: what the gateway calls whole is judged here by the words of the dialects alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

Json = dict[str, Any]
_ENDED_LINE = re.compile(r"\r\n|\r|\n")


@dataclass(slots=True)
class ReadReply:
    """A reply as a client received it."""

    text: str = ""
    calls: list[tuple[str, object]] = field(default_factory=list[tuple[str, object]])
    """Tool calls of complete replies: name and arguments."""
    has_tools: bool = False
    is_complete: bool = False
    """Whether the reply ended as its dialect requires."""
    error: str | None = None

    @property
    def outcome(self) -> str:
        """`success`, `failed` or `cut`; or, which is always wrong, `silent` or `contradictory`."""
        if self.is_complete:
            return "contradictory" if self.error else "success"
        if self.error is None:
            return "silent"
        return "cut" if self.text or self.has_tools else "failed"


def read_whole(dialect: str, body: bytes) -> ReadReply:
    """Read a reply in one piece; an error is the object under `error`."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ReadReply(error=f"no JSON: {body[:80]!r}")
    if not isinstance(value, dict):
        return ReadReply(error=f"no object: {body[:80]!r}")
    reply = cast(Json, value)
    if reply.get("error"):
        return ReadReply(error=str(reply["error"])[:200])
    return _WHOLE[dialect](reply)


def _whole_chat(body: Json) -> ReadReply:
    choices: list[Json] = body.get("choices") or [{}]
    choice = choices[0]
    message: Json = choice.get("message") or {}
    used: list[Json] = message.get("tool_calls") or []
    calls = [
        (one["function"]["name"], parse_arguments(one["function"]["arguments"])) for one in used
    ]
    is_complete = choice.get("finish_reason") not in (None, "error")
    return ReadReply(message.get("content") or "", calls, bool(calls), is_complete)


def _whole_messages(body: Json) -> ReadReply:
    blocks: list[Json] = body.get("content") or []
    text = "".join(one["text"] for one in blocks if one["type"] == "text")
    calls = [(one["name"], one["input"]) for one in blocks if one["type"] == "tool_use"]
    return ReadReply(text, calls, bool(calls), body.get("stop_reason") is not None)


def _whole_responses(body: Json) -> ReadReply:
    items: list[Json] = body.get("output") or []
    text = "".join(
        part.get("text", "")
        for item in items
        if item["type"] == "message"
        for part in item["content"]
    )
    calls = [
        (one["name"], parse_arguments(one["arguments"]))
        for one in items
        if one["type"] == "function_call"
    ]
    return ReadReply(text, calls, bool(calls), body.get("status") in ("completed", "incomplete"))


def parse_arguments(arguments: str) -> object:
    """Return the arguments of a tool call as values; the text itself if it is not JSON."""
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments


_WHOLE = {
    "openai_chat": _whole_chat,
    "anthropic_messages": _whole_messages,
    "openai_responses": _whole_responses,
}


def read_stream(dialect: str, body: bytes) -> ReadReply:
    """Read a stream of events up to its end."""
    reply, has_finished = ReadReply(), False
    for data in _events(body):
        if data == "[DONE]":
            reply.is_complete = has_finished
            break
        event = orjson.loads(data)
        if event.get("error") or event.get("type") in ("error", "response.failed"):
            reply.error = data[:200]
            continue
        has_finished |= _STREAMED[dialect](event, reply)
        reply.is_complete |= has_finished and dialect != "openai_chat"
    return reply


def _events(body: bytes) -> Iterator[str]:
    text = body.decode(errors="replace").removeprefix("\ufeff")
    for block in _ENDED_LINE.sub("\n", text).split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line[:5] == "data:"]
        if lines:
            yield "\n".join(lines)


def _streamed_chat(chunk: Json, reply: ReadReply) -> bool:
    choices: list[Json] = chunk.get("choices") or []
    for choice in choices:
        delta: Json = choice.get("delta") or {}
        reply.text += delta.get("content") or ""
        reply.has_tools |= bool(delta.get("tool_calls"))
        if choice.get("finish_reason"):
            return True
    return False


def _streamed_message(event: Json, reply: ReadReply) -> bool:
    if event["type"] == "content_block_delta":
        reply.text += event["delta"].get("text", "")
        reply.has_tools |= "partial_json" in event["delta"]
    return event["type"] == "message_stop"


def _streamed_response(event: Json, reply: ReadReply) -> bool:
    if event["type"] == "response.output_text.delta":
        reply.text += event["delta"]
    reply.has_tools |= event["type"] == "response.function_call_arguments.delta"
    return event["type"] in ("response.completed", "response.incomplete")


_STREAMED = {
    "openai_chat": _streamed_chat,
    "anthropic_messages": _streamed_message,
    "openai_responses": _streamed_response,
}
