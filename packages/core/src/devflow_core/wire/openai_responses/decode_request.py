"""Decodes a request in the responses dialect into the hub's request."""

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
from devflow_core.wire import json_strict as strict
from devflow_core.wire.openai_responses.decode_items import ItemReader
from devflow_core.wire.openai_responses.name import WIRE
from devflow_core.wire.openai_responses.tool_names import decode_tools, has_native_forms

_KNOWN_FIELDS = (
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls",
    "max_output_tokens", "temperature", "top_p", "stream", "store",
)  # fmt: skip
_STATEFUL_FIELDS = ("previous_response_id", "conversation", "background", "prompt")


def decode_request(body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
    """Decode a client's body, which is kept in `origin`; this dialect has no headers to keep.

    Raises:
        InvalidRequest: a value is wrong, or needs replies that the provider has stored.
    """
    for key in _STATEFUL_FIELDS:
        if body.get(key):
            raise strict.invalid_value(
                key, "no replies are kept here; send the whole conversation in input"
            )
    is_stored = strict.optional(body, "store", strict.boolean)
    tools, tool_choice = decode_tools(body), _decode_tool_choice(body)
    extra = dict(strict.omit_keys(body, _KNOWN_FIELDS))
    if is_stored:
        extra["store"] = True  # for the list of what was left out, in every dialect
    if tools and has_native_forms(tools, body):
        extra["tools"] = body["tools"]
    if tool_choice is None and isinstance(body.get("tool_choice"), dict):
        extra["tool_choice"] = body["tool_choice"]
    return ChatRequest(
        model=strict.requested_model(body),
        messages=(*_decode_instructions(body), *_decode_input(body)),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=strict.optional(body, "parallel_tool_calls", strict.boolean),
        max_output_tokens=strict.optional(body, "max_output_tokens", strict.token_count),
        temperature=strict.optional(body, "temperature", strict.number),
        top_p=strict.optional(body, "top_p", strict.number),
        response_format=_decode_response_format(body),
        reasoning=_decode_reasoning(body),
        is_stream=strict.optional(body, "stream", strict.boolean) or False,
        extra=extra,
        origin=Origin(wire=WIRE, body=body),
    )


def _decode_instructions(body: JsonObject) -> tuple[Message, ...]:
    text = strict.optional(body, "instructions", strict.text)
    return (Message(role="system", parts=(Text(text=text),)),) if text else ()


def _decode_input(body: JsonObject) -> tuple[Message, ...]:
    value = strict.required(body, "input", lambda value, _: value)
    if isinstance(value, str):
        return (Message(role="user", parts=(Text(text=value),)),)
    items = ItemReader()
    for item, path in strict.objects(body, "input"):
        items.add(item, path)
    messages = items.to_messages()
    if not messages:
        raise strict.invalid_value("input", "must hold at least one message")
    return messages


def _decode_tool_choice(body: JsonObject) -> ToolChoice | None:
    choice = body.get("tool_choice")
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(mode=choice)
        case {"type": "function" | "custom", "name": str(name)}:
            return ToolChoice(mode="tool", name=name)
        case {"type": str()}:
            return None  # a provider's own tool, or `allowed_tools`: kept in `extra`
        case _:
            raise strict.invalid_value(
                "tool_choice", "must be auto, none, required or name a function"
            )


def _decode_response_format(body: JsonObject) -> ResponseFormat | None:
    text = strict.optional(body, "text", strict.json_object) or {}
    wanted = strict.optional(text, "format", strict.json_object, "text") or {}
    path = "text.format"
    match wanted.get("type"):
        case "json_object":
            return ResponseFormat(kind="json_object")
        case "json_schema":
            return ResponseFormat(
                kind="json_schema",
                schema=strict.optional(wanted, "schema", strict.json_object, path) or {},
                name=strict.optional(wanted, "name", strict.text, path) or "reply",
                strict=strict.optional(wanted, "strict", strict.boolean, path),
            )
        case _:
            return None


def _decode_reasoning(body: JsonObject) -> ReasoningOptions | None:
    wanted = strict.optional(body, "reasoning", strict.json_object)
    if not wanted:
        return None
    return ReasoningOptions(
        effort=strict.optional(wanted, "effort", strict.text, "reasoning"),
        max_tokens=strict.optional(wanted, "max_tokens", strict.integer, "reasoning"),
        enabled=strict.optional(wanted, "enabled", strict.boolean, "reasoning"),
    )
