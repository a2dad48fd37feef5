"""A request of Responses into the hub's words."""

from __future__ import annotations

from collections.abc import Mapping

from devflow_core.messages import JsonObject, Message, Text
from devflow_core.request import (
    ChatRequest,
    Origin,
    ReasoningOptions,
    ResponseFormat,
    ToolChoice,
)
from devflow_core.wire import json_strict as fields
from devflow_core.wire.openai_responses.decode_items import Items
from devflow_core.wire.openai_responses.tool_names import decode_tools, has_own_forms

_WORDS = (
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls",
    "max_output_tokens", "temperature", "top_p", "stream", "store",
)  # fmt: skip
_STATEFUL = ("previous_response_id", "conversation", "background", "prompt")


def decode_request(body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
    """See `Translator.decode_request`; no header belongs to this dialect."""
    for key in _STATEFUL:
        if body.get(key):
            raise fields.wrong(
                key, "no replies are kept here; send the whole conversation in input"
            )
    fields.optional(body, "store", fields.flag)
    tools, tool_choice = decode_tools(body), _tool_choice(body)
    extra = dict(fields.without(body, _WORDS))
    if tools and has_own_forms(tools, body):
        extra["tools"] = body["tools"]
    if tool_choice is None and isinstance(body.get("tool_choice"), dict):
        extra["tool_choice"] = body["tool_choice"]
    return ChatRequest(
        model=fields.optional(body, "model", fields.name) or "auto",
        messages=(*_instructions(body), *_input(body)),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=fields.optional(body, "parallel_tool_calls", fields.flag),
        max_output_tokens=fields.optional(body, "max_output_tokens", fields.tokens),
        temperature=fields.optional(body, "temperature", fields.number),
        top_p=fields.optional(body, "top_p", fields.number),
        response_format=_response_format(body),
        reasoning=_reasoning_options(body),
        is_stream=fields.optional(body, "stream", fields.flag) or False,
        extra=extra,
        origin=Origin(wire="openai_responses", body=body),
    )


def _instructions(body: JsonObject) -> tuple[Message, ...]:
    text = fields.optional(body, "instructions", fields.text)
    return (Message(role="system", parts=(Text(text=text),)),) if text else ()


def _input(body: JsonObject) -> tuple[Message, ...]:
    value = fields.required(body, "input", lambda value, _: value)
    if isinstance(value, str):
        return (Message(role="user", parts=(Text(text=value),)),)
    items = Items()
    for item, path in fields.objects(body, "input"):
        items.add(item, path)
    found = items.messages()
    if not found:
        raise fields.wrong("input", "must hold at least one message")
    return found


def _tool_choice(body: JsonObject) -> ToolChoice | None:
    choice = body.get("tool_choice")
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(mode=choice)
        case {"type": "function" | "custom", "name": str(name)}:
            return ToolChoice(mode="tool", name=name)
        case {"type": str()}:
            return None  # the provider's own tools, or `allowed_tools`: kept in `extra`
        case _:
            raise fields.wrong("tool_choice", "must be auto, none, required or name a function")


def _response_format(body: JsonObject) -> ResponseFormat | None:
    text = fields.optional(body, "text", fields.obj) or {}
    wanted = fields.optional(text, "format", fields.obj, "text") or {}
    path = "text.format"
    match wanted.get("type"):
        case "json_object":
            return ResponseFormat(kind="json_object")
        case "json_schema":
            return ResponseFormat(
                kind="json_schema",
                schema=fields.optional(wanted, "schema", fields.obj, path) or {},
                name=fields.optional(wanted, "name", fields.text, path) or "reply",
                strict=fields.optional(wanted, "strict", fields.flag, path),
            )
        case _:
            return None


def _reasoning_options(body: JsonObject) -> ReasoningOptions | None:
    wanted = fields.optional(body, "reasoning", fields.obj)
    if not wanted:
        return None
    return ReasoningOptions(
        effort=fields.optional(wanted, "effort", fields.text, "reasoning"),
        max_tokens=fields.optional(wanted, "max_tokens", fields.integer, "reasoning"),
        enabled=fields.optional(wanted, "enabled", fields.flag, "reasoning"),
    )
