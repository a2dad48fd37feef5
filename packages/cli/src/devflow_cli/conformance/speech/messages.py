"""Speaks Anthropic's Messages, as Claude Code does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from devflow_cli.conformance.recording import JsonObject, TimedEvent
from devflow_cli.conformance.speech.inquiry import (
    Ending,
    HeardCall,
    Inquiry,
    Utterance,
    count_of,
    make_picture,
    tool_schema,
)
from devflow_cli.conformance.terms import Group

# As Claude Code 2.1.329 sends them; a gateway has to pass on or ignore what it does not know.
BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27"
_ENDINGS: Mapping[str, Ending] = {
    "end_turn": "end",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "tool_use": "calls",
}
_PIECES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
"""The field of each kind of delta; except for the last, the block has it under this name too."""


class MessagesSpeech:
    """Anthropic's Messages."""

    group: Group = "messages"
    path = "/v1/messages?beta=true"
    # a gateway may recognize Claude Code by these
    headers: Mapping[str, str] = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": BETAS,
        "user-agent": "claude-cli/2.1.329 (external, sdk-cli)",
        "x-app": "cli",
        "x-claude-code-session-id": "00000000-0000-4000-8000-000000000000",
    }

    def write(self, inquiry: Inquiry, model: str) -> JsonObject:
        body: JsonObject = {
            "model": model,
            "max_tokens": inquiry.max_tokens,
            "stream": inquiry.stream,
            "messages": _write_messages(inquiry),
        }
        if inquiry.system is not None:
            body["system"] = inquiry.system
        if inquiry.tools:
            body["tools"] = [
                {"name": one, "description": f"Does {one}.", "input_schema": tool_schema(one)}
                for one in inquiry.tools
            ]
        if inquiry.stop is not None:
            body["stop_sequences"] = [inquiry.stop]
        if inquiry.schema is not None:
            form = {"type": "json_schema", "schema": inquiry.schema}
            body["output_config"] = {"format": form}
        return body | dict(inquiry.more)

    def read(self, reply: JsonObject) -> Utterance:
        content = cast("list[JsonObject]", reply["content"])
        usage = cast(JsonObject, reply.get("usage") or {})
        caches = ("cache_read_input_tokens", "cache_creation_input_tokens")
        return Utterance(
            text="".join(str(one["text"]) for one in content if one["type"] == "text"),
            calls=tuple(
                HeardCall(
                    id=str(one.get("id", "")),
                    name=str(one.get("name", "")),
                    arguments=orjson.dumps(one.get("input")).decode(),
                )
                for one in content
                if one["type"] == "tool_use"
            ),
            ending=_ENDINGS.get(str(reply.get("stop_reason")), "other"),
            input_tokens=count_of(usage, "input_tokens", *caches),
            output_tokens=count_of(usage, "output_tokens"),
            cached_tokens=count_of(usage, "cache_read_input_tokens"),
            total_tokens=None,
            reply=reply,
        )

    def assemble(self, events: Sequence[TimedEvent]) -> JsonObject:
        message: JsonObject = {}
        usage: JsonObject = {}
        blocks: dict[int, JsonObject] = {}
        for event in (one.json for one in events):
            match event.get("type"):
                case "message_start":
                    message |= event["message"]
                    usage |= message.get("usage") or {}
                case "content_block_start":
                    blocks[event["index"]] = blocks.get(event["index"], {}) | event["content_block"]
                case "content_block_delta":
                    _add_delta(blocks.setdefault(event["index"], {"type": "?"}), event["delta"])
                case "message_delta":
                    message |= event["delta"]
                    # null adds nothing: it must not replace what the start said
                    said = cast(JsonObject, event.get("usage") or {})
                    usage |= {key: value for key, value in said.items() if value is not None}
                case _:
                    pass
        content = [_finish_block(block) for _, block in sorted(blocks.items())]
        return {**message, "content": content, "usage": usage}

    def find_text(self, event: TimedEvent) -> str:
        return str(event.json.get("delta", {}).get("text") or "")

    def invalid_body(self, model: str) -> JsonObject:
        return {"model": model, "max_tokens": 16, "messages": "none"}

    def find_error(self, body: JsonObject) -> str | None:
        error = body.get("error")
        if body.get("type") != "error" or not isinstance(error, dict):
            return None
        said = cast(JsonObject, error)
        is_whole = isinstance(said.get("type"), str) and bool(said.get("message"))
        return str(said["type"]) if is_whole else None


def _write_messages(inquiry: Inquiry) -> list[JsonObject]:
    content: list[JsonObject] = []
    if inquiry.has_picture:
        source = {"type": "base64", "media_type": "image/png", "data": make_picture()}
        content.append({"type": "image", "source": source})
    content.append({"type": "text", "text": inquiry.question})
    messages: list[JsonObject] = [{"role": "user", "content": content}]
    if inquiry.results:
        made = zip(inquiry.tools, inquiry.results, strict=True)
        calls: list[JsonObject] = [
            {"type": "tool_use", "id": call, "name": name, "input": _input_of(name)}
            for name, (call, _) in made
        ]
        results: list[JsonObject] = [
            {"type": "tool_result", "tool_use_id": call, "content": result}
            for call, result in inquiry.results
        ]
        messages += [
            {"role": "assistant", "content": calls},
            {"role": "user", "content": results},
        ]
    if inquiry.late_system is not None:
        text = [{"type": "text", "text": inquiry.late_system}]
        messages.append({"role": "system", "content": text})
    return messages


def _input_of(name: str) -> JsonObject:
    return {"side": name.rpartition("_")[2]}


def _add_delta(block: JsonObject, delta: JsonObject) -> None:
    field = _PIECES.get(str(delta.get("type")), "")
    block[field] = str(block.get(field) or "") + str(delta.get(field) or "")


def _finish_block(block: JsonObject) -> JsonObject:
    pieces: Any = block.pop("partial_json", "")
    if block.get("type") == "tool_use" and pieces:
        block["input"] = orjson.loads(pieces)
    return block
