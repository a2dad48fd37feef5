"""Encodes whole replies in the responses dialect."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from devflow_core.events import FinishReason, Started
from devflow_core.ids import new_id
from devflow_core.messages import JsonObject, Reasoning, Text, ToolCall
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse
from devflow_core.usage import ReportedCost, Usage
from devflow_core.wire import json_strict as strict
from devflow_core.wire.body import dump
from devflow_core.wire.extra_fields import note_on_pictures, raw_response_body
from devflow_core.wire.openai_responses.name import WIRE
from devflow_core.wire.openai_responses.output_items import (
    make_call_item,
    make_message_item,
    make_reasoning_item,
)
from devflow_core.wire.openai_responses.tool_names import WireTool, index_wire_tools
from devflow_core.wire.usage import cost_fields

_ECHOED_FIELDS = (
    "instructions", "metadata", "parallel_tool_calls", "temperature", "top_p", "tool_choice",
    "tools", "max_output_tokens", "reasoning", "text", "truncation", "user", "service_tier",
    "frequency_penalty", "presence_penalty",
)  # fmt: skip
"""What a response object says of its request; the router's SDK takes none that lacks one."""


def make_response_object(request: ChatRequest, started: Started, now_s: float) -> dict[str, Any]:
    """Return the response object that all events and the whole reply share, without output.

    Args:
        request: the request, some of whose fields are repeated.
        started: the id, model and provider of the reply.
        now_s: the current Unix time.
    """
    origin = request.origin
    body = (origin.body if origin is not None and origin.wire == WIRE else None) or {}
    return {
        "id": started.generation_id or new_id("resp"),
        "object": "response",
        "created_at": int(now_s),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": started.model or request.model,
        **strict.drop_none(provider=started.provider),
        "output": [],
        "previous_response_id": None,
        "store": False,
        **{key: body.get(key) for key in _ECHOED_FIELDS},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "usage": None,
    }


def end_response_object(reply: dict[str, Any], reason: FinishReason, now_s: float) -> None:
    """Write into a response object how and when it ended."""
    status, reply["incomplete_details"] = to_status(reason)
    reply["status"] = status
    reply["completed_at"] = int(now_s) if status == "completed" else None


def to_status(reason: FinishReason) -> tuple[str, JsonObject | None]:
    """Return the status for a finish reason, and `incomplete_details`: None if it is complete."""
    match reason:
        case "length":
            return "incomplete", {"reason": "max_output_tokens"}
        case "content_filter":
            return "incomplete", {"reason": "content_filter"}
        case _:
            return "completed", None


def encode_response(
    response: ChatResponse,
    request: ChatRequest,
    annotations: JsonObject | None = None,
    clock: Callable[[], float] = time.time,
) -> bytes:
    """Return a whole reply as a JSON body, with the annotations as its field `devflow`."""
    if raw := raw_response_body(response, WIRE):
        return dump({**raw, "devflow": annotations} if annotations else raw)
    started = Started(
        generation_id=response.generation_id, model=response.model, provider=response.provider
    )
    body = make_response_object(request, started, clock())
    end_response_object(body, response.finish_reason, clock())
    body["output"] = _encode_output(response, request)
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage, response.cost)
    if annotations:
        body["devflow"] = annotations
    return dump(body)


def _encode_output(response: ChatResponse, request: ChatRequest) -> list[dict[str, Any]]:
    tools = index_wire_tools(request)
    model = response.model or request.model
    items: list[dict[str, Any]] = []
    for part in response.parts:
        if isinstance(part, Text):
            items.append(make_message_item(new_id("msg"), part.text))
        elif isinstance(part, Reasoning):
            items.append(make_reasoning_item(new_id("rs"), part, model))
        elif isinstance(part, ToolCall):  # a reply has no other parts
            tool = tools.get(part.name) or WireTool(name=part.name)
            items.append(make_call_item(new_id("fc"), part.id, tool, part.arguments or "{}"))
    if note := note_on_pictures(response.raw_response, WIRE):
        items.append(make_message_item(new_id("msg"), note))
    return items


def encode_usage(usage: Usage, cost: ReportedCost | None) -> dict[str, Any]:
    """Return a usage object of the responses dialect, with the cost if it is known."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
        **cost_fields(cost),
    }
