"""Encodes the hub's request as a body of the responses dialect."""

from __future__ import annotations

from typing import Any

from devflow_core.messages import JsonObject
from devflow_core.request import ChatRequest, ReasoningOptions, ResponseFormat, Tool, ToolChoice
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire import json_strict as strict
from devflow_core.wire.body import dump
from devflow_core.wire.cache_markers import add_lost_markers
from devflow_core.wire.extra_fields import (
    Omissions,
    encode_tools,
    filter_extra,
    is_native,
    original_body,
)
from devflow_core.wire.openai_responses.decode_items import ItemReader
from devflow_core.wire.openai_responses.encode_items import ItemWriter
from devflow_core.wire.openai_responses.name import WIRE
from devflow_core.wire.openai_responses.tool_names import index_wire_tools
from devflow_core.wire.protocol import EncodedRequest
from devflow_core.wire.reasoning import FOREIGN_REASONING, is_sealed, strip_foreign


def encode_request(
    request: ChatRequest, model: str, overrides: JsonObject | None = None
) -> EncodedRequest:
    """Return the body for an upstream, which always asks for a stream, and what was left out.

    `overrides` are fields that take the place of the body's own. `store: true` is sent as false,
    and counts as left out.

    Raises:
        InvalidRequest: the request holds something that this dialect cannot express and that must
            not be left out.
    """
    omitted = Omissions()
    body = original_body(request, WIRE)
    if body is not None:
        body = {**body, "input": _filter_input(body["input"], model, omitted)}
    else:
        body = _translate(request, model, omitted)
    if body.get("store"):
        omitted.add("store")
        body["store"] = False
    body = {**body, "model": model, "stream": True, **(overrides or {})}
    return EncodedRequest(dump(body), omitted.as_tuple())


def _filter_input(items: Any, model: str, omitted: Omissions) -> Any:
    """Return the input as received, without reasoning that is known to be another vendor's."""
    if isinstance(items, str):
        return items
    filtered = [item for item in items if not _is_foreign_item(item, model)]
    if len(filtered) != len(items):
        omitted.add(FOREIGN_REASONING)
    return filtered


def _is_foreign_item(item: JsonObject, model: str) -> bool:
    encrypted = lenient.as_text(item.get("encrypted_content"))
    if item.get("type") != "reasoning" or encrypted is None:
        return False
    if is_sealed(encrypted):
        return True
    items = ItemReader()
    items.add(item, "input")
    return strip_foreign(items.to_messages(), model)[1]


def _translate(request: ChatRequest, model: str, omitted: Omissions) -> dict[str, Any]:
    messages, has_foreign = strip_foreign(request.messages, model)
    if has_foreign:
        omitted.add(FOREIGN_REASONING)
    native = is_native(request, WIRE)
    writer = ItemWriter(index_wire_tools(request), omitted, is_native=native)
    for message in messages:
        writer.add(message)
    if not writer.items and omitted.has_parts:
        raise strict.nothing_left()
    for key, value in (("stop", request.stop), ("seed", request.seed)):
        if value not in {None, ()}:
            omitted.add(key)
    tools = encode_tools(request, WIRE, _encode_tool, omitted)
    body = strict.drop_none(
        input=writer.items,
        tools=tools or None,
        tool_choice=_encode_tool_choice(request.tool_choice) if tools else None,
        parallel_tool_calls=request.parallel_tool_calls if tools else None,
        max_output_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        store=False,
        text=_encode_text_format(request.response_format),
        reasoning=_encode_reasoning(request.reasoning),
    )
    body |= filter_extra(request, WIRE, omitted)
    add_lost_markers(request, body, omitted)
    return body


def _encode_tool(tool: Tool) -> JsonObject:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description or None,
        "parameters": tool.schema or {"type": "object", "properties": {}},
        "strict": tool.strict or False,
    }


def _encode_tool_choice(choice: ToolChoice | None) -> object:
    if choice is None or choice.mode != "tool":
        return choice and choice.mode
    return {"type": "function", "name": choice.name}


def _encode_text_format(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.kind == "json_object":
        return {"format": {"type": "json_object"}}
    schema = strict.drop_none(
        type="json_schema", name=wanted.name, schema=wanted.schema, strict=wanted.strict
    )
    return {"format": schema}


def _encode_reasoning(wanted: ReasoningOptions | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    options = strict.drop_none(
        effort=wanted.effort if wanted.max_tokens is None else None,
        max_tokens=wanted.max_tokens,
        enabled=wanted.enabled,
    )
    return options or None
