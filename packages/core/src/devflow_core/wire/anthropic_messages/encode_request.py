"""Encodes the hub's request as a body of Anthropic's messages dialect."""

from __future__ import annotations

from typing import Any, cast

from devflow_core.messages import JsonObject, Message, Reasoning, ToolResult
from devflow_core.request import ChatRequest, ReasoningOptions, ResponseFormat, Tool, ToolChoice
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire import json_strict as strict
from devflow_core.wire.anthropic_messages.encode_parts import encode_block
from devflow_core.wire.anthropic_messages.name import WIRE
from devflow_core.wire.body import dump
from devflow_core.wire.cache_markers import add_lost_markers
from devflow_core.wire.extra_fields import (
    Omissions,
    encode_tools,
    filter_extra,
    is_native,
    original_body,
)
from devflow_core.wire.protocol import EncodedRequest
from devflow_core.wire.reasoning import (
    ANTHROPIC_FORMAT,
    FOREIGN_REASONING,
    is_foreign,
    is_sealed,
    open_seal,
    strip_foreign,
    vendor_of_model,
)

_SIGNED_REASONING = Reasoning(signature="signed", detail={"format": ANTHROPIC_FORMAT})
_SIGNATURE_KEYS = {"thinking": "signature", "redacted_thinking": "data"}
_MODES = {"auto": "auto", "required": "any", "none": "none", "tool": "tool"}
# this dialect knows `low` to `max` only
_EFFORTS = {"minimal": "low", "none": "low"}
# the least `budget_tokens` that the API accepts
_MIN_BUDGET_TOKENS = 1024


def encode_request(
    request: ChatRequest, model: str, overrides: JsonObject | None = None
) -> EncodedRequest:
    """Return the body for an upstream, which always asks for a stream, and what was left out.

    `overrides` are fields that take the place of the body's own.

    Raises:
        InvalidRequest: the request holds something that this dialect cannot express and that must
            not be left out.
    """
    omitted = Omissions()
    body = original_body(request, WIRE)
    if body is not None:
        body = {**body, "messages": _filter_messages(body, model, omitted)}
    else:
        body = _translate(request, model, omitted)
    body = {**body, "model": model, "stream": True, **(overrides or {})}
    return EncodedRequest(dump(body), omitted.as_tuple())


def _filter_messages(body: JsonObject, model: str, omitted: Omissions) -> list[Any]:
    """Return the messages as received, without reasoning that another vendor has signed."""
    filtered = [_filter_message(message, model, omitted) for message in body["messages"]]
    return [message for message in filtered if message is not None]


def _filter_message(message: JsonObject, model: str, omitted: Omissions) -> JsonObject | None:
    blocks = message.get("content")
    if message.get("role") != "assistant" or not isinstance(blocks, list):
        return message
    found = cast("list[JsonObject]", blocks)
    if not any(one.get("type") in _SIGNATURE_KEYS for one in found):
        return message
    filtered = [
        block for block in (_filter_block(one, model) for one in found) if block is not None
    ]
    if len(filtered) < len(found):
        omitted.add(FOREIGN_REASONING)
    return {**message, "content": filtered} if filtered else None


def _filter_block(block: JsonObject, model: str) -> JsonObject | None:
    """Return the block in the form that this model accepts; None for reasoning that it refuses."""
    key = _SIGNATURE_KEYS.get(block["type"])
    if key is None:
        return block
    signature = lenient.as_text(block.get(key))
    if signature is not None and is_sealed(signature):
        return _open_block(block, key, signature, model)
    if is_foreign(_SIGNED_REASONING, model):
        # the signature is Anthropic's; any other model may read reasoning without one
        return block if signature is None else None
    return block if signature is not None else None


def _open_block(block: JsonObject, key: str, sealed: str, model: str) -> JsonObject | None:
    """Return a block that we sealed as its vendor sent it; None if the model cannot take it."""
    original = open_seal(sealed, model)
    if original is None:
        return None
    signature = original.signature or original.encrypted
    if signature is not None:
        return {**block, key: signature}
    is_anthropic = vendor_of_model(model) == "anthropic"  # which takes signed reasoning only
    return None if is_anthropic else {name: block[name] for name in block if name != key}


def _translate(request: ChatRequest, model: str, omitted: Omissions) -> dict[str, Any]:
    messages, has_foreign = strip_foreign(request.messages, model)
    if has_foreign:
        omitted.add(FOREIGN_REASONING)
    first = next((i for i, one in enumerate(messages) if one.role != "system"), len(messages))
    native = request.origin is not None and is_native(request, WIRE)
    encoded = [_encode_message(one, native, omitted) for one in messages[first:]]
    encoded = [one for one in encoded if one["content"] or one.get("output_config")]
    if not encoded and omitted.has_parts:
        raise strict.nothing_left()
    if request.seed is not None:
        omitted.add("seed")
    extra = filter_extra(request, WIRE, omitted) | _encode_output_config(request, omitted)
    thinking = _encode_thinking(request.reasoning, request.max_output_tokens)
    body = (
        strict.drop_none(thinking=thinking)
        | extra
        | strict.drop_none(
            system=[one for message in messages[:first] for one in _encode_blocks(message, omitted)]
            or None,
            messages=encoded,
            tools=encode_tools(request, WIRE, _encode_tool, omitted) or None,
            tool_choice=_encode_tool_choice(request),
            max_tokens=request.max_output_tokens,
            temperature=_clamp_temperature(request.temperature, omitted),
            top_p=request.top_p,
            stop_sequences=list(request.stop) or None,
        )
    )
    add_lost_markers(request, body, omitted)
    return body


def _encode_message(message: Message, native: bool, omitted: Omissions) -> dict[str, Any]:
    blocks = _encode_blocks(message, omitted)
    if native:
        return {"role": message.role, "content": blocks, **message.extra}
    for key, value in message.extra.items():
        if key == "cache_control":
            continue  # it is counted with the other markers
        if key != "role":
            omitted.add(f"{key} of a message")
        elif value != "developer":  # which is `system` in this dialect
            omitted.add(f"role {value} of a message")
    if message.name is not None:
        omitted.add("name of a message")
    # only clients of this dialect know system messages in the middle, with the beta for them
    role = "user" if message.role == "system" else message.role
    return {"role": role, "content": blocks}


def _encode_blocks(message: Message, omitted: Omissions) -> list[dict[str, Any]]:
    """Return the blocks of a message; tool results come first, as the API demands."""
    parts = sorted(message.parts, key=lambda part: not isinstance(part, ToolResult))
    blocks = [encode_block(part, omitted) for part in parts]
    return [one for one in blocks if one is not None]


def _encode_tool(tool: Tool) -> JsonObject:
    return strict.drop_none(
        name=tool.name,
        description=tool.description or None,
        input_schema={"type": "object", **tool.schema},
        strict=tool.strict,
        **strict.cache_control(tool.cache_ttl),
    )


def _encode_tool_choice(request: ChatRequest) -> dict[str, Any] | None:
    choice = request.tool_choice
    if not request.tools or (choice is None and request.parallel_tool_calls is None):
        return None
    choice = choice or ToolChoice(mode="auto")
    wanted = strict.drop_none(type=_MODES[choice.mode], name=choice.name)
    if request.parallel_tool_calls is not None and choice.mode != "none":
        wanted["disable_parallel_tool_use"] = not request.parallel_tool_calls
    return wanted


def _clamp_temperature(temperature: float | None, omitted: Omissions) -> float | None:
    if temperature is None or temperature <= 1:
        return temperature
    omitted.add("temperature above 1")
    return 1.0


def _encode_thinking(wanted: ReasoningOptions | None, limit: int | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.enabled is False or wanted.effort == "none":
        return {"type": "disabled"}
    display = {"display": "omitted"} if wanted.exclude else {}
    if wanted.max_tokens is None:
        return {"type": "adaptive", **display}
    budget = max(wanted.max_tokens, _MIN_BUDGET_TOKENS)
    if limit is not None and budget >= limit:
        budget = limit - 1
    if budget < _MIN_BUDGET_TOKENS:
        return {"type": "disabled"}
    return {"type": "enabled", "budget_tokens": budget, **display}


def _encode_output_config(request: ChatRequest, omitted: Omissions) -> dict[str, Any]:
    """Return `output_config`, which holds effort and structured output."""
    config: dict[str, Any] = dict(request.extra.get("output_config") or {})
    effort = request.reasoning and request.reasoning.effort
    if effort and effort != "none":
        config["effort"] = _EFFORTS.get(effort, effort)
    if request.response_format is not None:
        config.update(_encode_format(request.response_format, omitted))
    return {"output_config": config} if config else {}


def _encode_format(wanted: ResponseFormat, omitted: Omissions) -> dict[str, Any]:
    if wanted.kind == "json_object":
        omitted.add("response_format json_object")
        return {}
    return {"format": {"type": "json_schema", "schema": wanted.schema}}
