"""A request of Anthropic messages into the hub's words."""

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
from devflow_core.wire import json_strict as fields
from devflow_core.wire.anthropic_messages.decode_parts import content

PLACEHOLDER = "DeferredToolPlaceholder"
"""A tool that Claude Code 2.1.329 sends to say that more can be loaded; nobody may call it."""

_WORDS = (
    "model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p",
    "stop_sequences", "stream",
)  # fmt: skip
_HEADERS = ("anthropic-version", "anthropic-beta")
# Claude Code's billing line differs per session; it is no part of the prompt
_ATTRIBUTION = "x-anthropic-billing-header:"
_MODES: Mapping[str, Any] = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}


def decode_request(body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
    """See `Translator.decode_request`."""
    choice = fields.optional(body, "tool_choice", fields.obj) or {}
    is_serial = fields.optional(choice, "disable_parallel_tool_use", fields.flag, "tool_choice")
    output = fields.optional(body, "output_config", fields.obj) or {}
    return ChatRequest(
        model=fields.optional(body, "model", fields.name) or "auto",
        messages=(*_system(body), *_messages(body)),
        tools=tuple(
            _tool(tool, path)
            for tool, path in fields.objects(body, "tools")
            if tool.get("name") != PLACEHOLDER
        ),
        tool_choice=_tool_choice(choice),
        parallel_tool_calls=None if is_serial is None else not is_serial,
        max_output_tokens=fields.optional(body, "max_tokens", fields.tokens),
        temperature=fields.optional(body, "temperature", fields.number),
        top_p=fields.optional(body, "top_p", fields.number),
        stop=tuple(
            fields.text(one, f"stop_sequences.{index}")
            for index, one in enumerate(fields.optional(body, "stop_sequences", fields.array) or [])
        ),
        response_format=_response_format(body, output),
        reasoning=_reasoning_options(body, output),
        is_stream=fields.optional(body, "stream", fields.flag) or False,
        extra=fields.without(body, _WORDS),
        origin=Origin(
            wire="anthropic_messages",
            body=body,
            headers=tuple((key, headers[key]) for key in _HEADERS if key in headers),
        ),
    )


def _system(body: JsonObject) -> tuple[Message, ...]:
    system = body.get("system")
    if system is None or isinstance(system, str):
        parts: tuple[Part, ...] = (Text(text=system),) if system else ()
    else:
        parts = content(body, "system", "")
    parts = tuple(
        part
        for part in parts
        if not (isinstance(part, Text) and part.text.startswith(_ATTRIBUTION))
    )
    return (Message(role="system", parts=parts),) if parts else ()


def _messages(body: JsonObject) -> list[Message]:
    fields.required(body, "messages", fields.array)
    found = [_message(message, path) for message, path in fields.objects(body, "messages")]
    if not found:
        raise fields.wrong("messages", "must hold at least one message")
    return found


def _message(message: JsonObject, path: str) -> Message:
    role = fields.required(message, "role", fields.text, path)
    match role:
        case "user" | "assistant" | "system":
            return Message(
                role=role,
                parts=content(message, "content", path),
                extra=fields.without(message, ("role", "content")),
            )
        case _:
            raise fields.wrong(f"{path}.role", "Input should be 'user', 'assistant' or 'system'")


def _tool(tool: JsonObject, path: str) -> Tool:
    name = fields.required(tool, "name", fields.name, path)
    if fields.optional(tool, "type", fields.text, path) not in {None, "custom"}:
        return Tool(name=name, native=tool)
    return Tool(
        name=name,
        description=fields.optional(tool, "description", fields.text, path) or "",
        schema=fields.required(tool, "input_schema", fields.obj, path),
        strict=fields.optional(tool, "strict", fields.flag, path),
        cache_ttl=fields.cache_ttl(tool),
    )


def _tool_choice(choice: JsonObject) -> ToolChoice | None:
    if not choice:
        return None
    kind = fields.required(choice, "type", fields.text, "tool_choice")
    if kind not in _MODES:
        raise fields.wrong("tool_choice.type", "must be auto, any, none or tool")
    if kind != "tool":
        return ToolChoice(mode=_MODES[kind])
    return ToolChoice(mode="tool", name=fields.required(choice, "name", fields.text, "tool_choice"))


def _response_format(body: JsonObject, output: JsonObject) -> ResponseFormat | None:
    wanted = output.get("format") or body.get("output_format")
    if not isinstance(wanted, dict):
        return None
    schema = cast("JsonObject", wanted).get("schema")
    if not isinstance(schema, dict):
        return None
    return ResponseFormat(kind="json_schema", schema=cast("JsonObject", schema), strict=True)


def _reasoning_options(body: JsonObject, output: JsonObject) -> ReasoningOptions | None:
    thinking = fields.optional(body, "thinking", fields.obj) or {}
    effort = fields.optional(output, "effort", fields.text, "output_config")
    kind = fields.optional(thinking, "type", fields.text, "thinking")
    if kind is None and effort is None:
        return None
    return ReasoningOptions(
        effort=effort,
        max_tokens=fields.optional(thinking, "budget_tokens", fields.tokens, "thinking"),
        enabled=None if kind is None else kind != "disabled",
        exclude=True if thinking.get("display") == "omitted" else None,
    )
