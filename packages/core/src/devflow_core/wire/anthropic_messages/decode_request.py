"""Decodes a request in Anthropic's messages dialect into the hub's request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from devflow_core.messages import JsonObject, Message, Part, Text
from devflow_core.request import (
    ChatRequest,
    Origin,
    ReasoningOptions,
    ResponseFormat,
    Tool,
    ToolChoice,
)
from devflow_core.wire import json_strict as strict
from devflow_core.wire.anthropic_messages.decode_parts import decode_content
from devflow_core.wire.anthropic_messages.name import WIRE

PLACEHOLDER_TOOL = "DeferredToolPlaceholder"
"""A tool that Claude Code 2.1.329 sends to announce that more can be loaded; never called."""

_KNOWN_FIELDS = (
    "model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p",
    "stop_sequences", "stream",
)  # fmt: skip
_HEADERS = ("anthropic-version", "anthropic-beta")
# Claude Code's billing line differs per session; it is not part of the prompt
_BILLING_LINE_PREFIX = "x-anthropic-billing-header:"
_MODES: Mapping[str, Any] = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}


def decode_request(body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
    """Decode a client's body, with the headers of this dialect; the body is kept in `origin`.

    Claude Code's placeholder tool and billing line are left out of the hub's request.

    Raises:
        InvalidRequest: a value is wrong; the message names its path.
    """
    choice = strict.optional(body, "tool_choice", strict.json_object) or {}
    is_serial = strict.optional(choice, "disable_parallel_tool_use", strict.boolean, "tool_choice")
    output = strict.optional(body, "output_config", strict.json_object) or {}
    return ChatRequest(
        model=strict.requested_model(body),
        messages=(*_decode_system(body), *_decode_messages(body)),
        tools=tuple(
            _decode_tool(tool, path)
            for tool, path in strict.objects(body, "tools")
            if tool.get("name") != PLACEHOLDER_TOOL
        ),
        tool_choice=_decode_tool_choice(choice),
        parallel_tool_calls=None if is_serial is None else not is_serial,
        max_output_tokens=strict.optional(body, "max_tokens", strict.token_count),
        temperature=strict.optional(body, "temperature", strict.number),
        top_p=strict.optional(body, "top_p", strict.number),
        stop=tuple(
            strict.text(one, f"stop_sequences.{index}")
            for index, one in enumerate(strict.optional(body, "stop_sequences", strict.array) or [])
        ),
        response_format=_decode_response_format(body, output),
        reasoning=_decode_reasoning(body, output),
        is_stream=strict.optional(body, "stream", strict.boolean) or False,
        extra=strict.omit_keys(body, _KNOWN_FIELDS),
        origin=Origin(
            wire=WIRE,
            body=body,
            headers=tuple((key, headers[key]) for key in _HEADERS if key in headers),
        ),
    )


def _decode_system(body: JsonObject) -> tuple[Message, ...]:
    system = body.get("system")
    if system is None or isinstance(system, str):
        parts: tuple[Part, ...] = (Text(text=system),) if system else ()
    else:
        parts = decode_content(body, "system", "")
    parts = tuple(
        part
        for part in parts
        if not (isinstance(part, Text) and part.text.startswith(_BILLING_LINE_PREFIX))
    )
    return (Message(role="system", parts=parts),) if parts else ()


def _decode_messages(body: JsonObject) -> list[Message]:
    strict.required(body, "messages", strict.array)
    messages = [
        _decode_message(message, path) for message, path in strict.objects(body, "messages")
    ]
    if not messages:
        raise strict.invalid_value("messages", "must hold at least one message")
    return messages


def _decode_message(message: JsonObject, path: str) -> Message:
    role = strict.required(message, "role", strict.text, path)
    match role:
        case "user" | "assistant" | "system":
            return Message(
                role=role,
                parts=decode_content(message, "content", path),
                extra=strict.omit_keys(message, ("role", "content")),
            )
        case _:  # the provider may know it
            return Message(
                role="user",
                parts=decode_content(message, "content", path),
                extra=strict.omit_keys(message, ("content",)),
            )


def _decode_tool(tool: JsonObject, path: str) -> Tool:
    kind = strict.optional(tool, "type", strict.text, path)
    if kind is not None and kind != "custom":
        return Tool(name=strict.optional(tool, "name", strict.name, path) or kind, native=tool)
    return Tool(
        name=strict.required(tool, "name", strict.name, path),
        description=strict.optional(tool, "description", strict.text, path) or "",
        schema=strict.required(tool, "input_schema", strict.json_object, path),
        strict=strict.optional(tool, "strict", strict.boolean, path),
        cache_ttl=strict.read_cache_ttl(tool),
    )


def _decode_tool_choice(choice: JsonObject) -> ToolChoice | None:
    if not choice:
        return None
    kind = strict.required(choice, "type", strict.text, "tool_choice")
    if kind not in _MODES:
        raise strict.invalid_value("tool_choice.type", "must be auto, any, none or tool")
    if kind != "tool":
        return ToolChoice(mode=_MODES[kind])
    return ToolChoice(mode="tool", name=strict.required(choice, "name", strict.text, "tool_choice"))


def _decode_response_format(body: JsonObject, output: JsonObject) -> ResponseFormat | None:
    wanted = output.get("format") or body.get("output_format")
    if not isinstance(wanted, dict):
        return None
    schema = cast("JsonObject", wanted).get("schema")
    if not isinstance(schema, dict):
        return None
    return ResponseFormat(kind="json_schema", schema=cast("JsonObject", schema), strict=True)


def _decode_reasoning(body: JsonObject, output: JsonObject) -> ReasoningOptions | None:
    thinking = strict.optional(body, "thinking", strict.json_object) or {}
    effort = strict.optional(output, "effort", strict.text, "output_config")
    kind = strict.optional(thinking, "type", strict.text, "thinking")
    if kind is None and effort is None:
        return None
    return ReasoningOptions(
        effort=effort,
        max_tokens=strict.optional(thinking, "budget_tokens", strict.token_count, "thinking"),
        enabled=None if kind is None else kind != "disabled",
        exclude=True if thinking.get("display") == "omitted" else None,
    )
