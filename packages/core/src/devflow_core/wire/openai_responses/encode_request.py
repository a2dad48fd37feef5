"""A request in the hub's words into a body of Responses."""

from __future__ import annotations

from typing import Any

from devflow_core.messages import JsonObject
from devflow_core.request import ChatRequest, ReasoningOptions, ResponseFormat, Tool, ToolChoice
from devflow_core.wire import json_lenient as loosely
from devflow_core.wire import json_strict as fields
from devflow_core.wire.body import dump
from devflow_core.wire.extra_fields import Omitted, carry_extra, untouched_body
from devflow_core.wire.openai_responses.decode_items import Items
from devflow_core.wire.openai_responses.encode_items import Writer
from devflow_core.wire.openai_responses.tool_names import wire_tools
from devflow_core.wire.protocol import EncodedRequest
from devflow_core.wire.reasoning import OMITTED_NOTE, for_model, is_sealed


def encode_request(
    request: ChatRequest, model: str, overrides: JsonObject | None = None
) -> EncodedRequest:
    """See `Translator.encode_request`; nothing is stored with the provider."""
    omitted = Omitted()
    body = untouched_body(request, "openai_responses")
    if body is not None:
        body = {**body, "input": _own_input(body["input"], model, omitted)}
        if body.get("store"):
            omitted.add("store")
            body["store"] = False
    else:
        body = _translated(request, model, omitted)
    body = {**body, "model": model, "stream": True, **(overrides or {})}
    return EncodedRequest(dump(body), omitted.notes())


def _own_input(items: Any, model: str, omitted: Omitted) -> Any:
    """The input as it came, without thinking that is known to be another vendor's."""
    if isinstance(items, str):
        return items
    kept = [item for item in items if not _is_foreign_item(item, model)]
    if len(kept) != len(items):
        omitted.add(OMITTED_NOTE)
    return kept


def _is_foreign_item(item: JsonObject, model: str) -> bool:
    word = loosely.text(item.get("encrypted_content"))
    if item.get("type") != "reasoning" or word is None:
        return False
    if is_sealed(word):
        return True
    items = Items()
    items.add(item, "input")
    return for_model(items.messages(), model)[1]


def _translated(request: ChatRequest, model: str, omitted: Omitted) -> dict[str, Any]:
    messages, has_foreign = for_model(request.messages, model)
    if has_foreign:
        omitted.add(OMITTED_NOTE)
    writer = Writer(wire_tools(request), omitted)
    for message in messages:
        writer.add(message)
    for key, value in (("stop", request.stop), ("seed", request.seed)):
        if value not in {None, ()}:
            omitted.add(key)
    tools = [one for one in (_tool(tool, omitted) for tool in request.tools) if one is not None]
    said = fields.present(
        input=writer.items,
        tools=tools or None,
        tool_choice=_tool_choice(request.tool_choice) if tools else None,
        parallel_tool_calls=request.parallel_tool_calls if tools else None,
        max_output_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        store=False,
        text=_text(request.response_format),
        reasoning=_reasoning_options(request.reasoning),
    )
    return said | carry_extra(request, "openai_responses", omitted)


def _tool(tool: Tool, omitted: Omitted) -> dict[str, Any] | None:
    if tool.native is not None:
        omitted.add(f"the provider's own tool {tool.name}")
        return None
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description or None,
        "parameters": tool.schema or {"type": "object", "properties": {}},
        "strict": tool.strict or False,
    }


def _tool_choice(choice: ToolChoice | None) -> object:
    if choice is None or choice.mode != "tool":
        return choice and choice.mode
    return {"type": "function", "name": choice.name}


def _text(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.kind == "json_object":
        return {"format": {"type": "json_object"}}
    schema = fields.present(
        type="json_schema", name=wanted.name, schema=wanted.schema, strict=wanted.strict
    )
    return {"format": schema}


def _reasoning_options(wanted: ReasoningOptions | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    options = fields.present(
        effort=wanted.effort if wanted.max_tokens is None else None,
        max_tokens=wanted.max_tokens,
        enabled=wanted.enabled,
    )
    return options or None
