"""Encodes whole replies in the chat completions dialect."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from devflow_core.ids import new_id
from devflow_core.messages import JsonObject, Reasoning
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire import json_strict as strict
from devflow_core.wire.body import dump
from devflow_core.wire.extra_fields import note_on_pictures, raw_response_body
from devflow_core.wire.openai_chat.name import WIRE
from devflow_core.wire.openai_usage import encode_usage
from devflow_core.wire.reasoning import detail_of


def encode_response(
    response: ChatResponse,
    request: ChatRequest,
    annotations: JsonObject | None = None,
    clock: Callable[[], float] = time.time,
) -> bytes:
    """Return a whole reply as a JSON body, with the annotations as its field `devflow`."""
    extra = raw_response_body(response, WIRE)
    choice = {
        "index": 0,
        "logprobs": None,
        "finish_reason": response.finish_reason,
        "native_finish_reason": response.native_finish_reason,
        "message": _encode_message(response, extra.get("message", {})),
    }
    body: dict[str, Any] = {
        "id": response.generation_id or new_id("chatcmpl"),
        "object": "chat.completion",
        "created": int(clock()),
        "model": response.model or request.model,
        **strict.drop_none(provider=response.provider),
        # the provider's SDK rejects a reply without this field
        "system_fingerprint": None,
        **extra.get("reply", {}),
        "choices": [choice | extra.get("choice", {})],
    }
    if response.usage is not None:
        usage = encode_usage(response.usage, response.cost)
        body["usage"] = {**usage, **extra.get("usage", {})}
    if annotations:
        body["devflow"] = annotations
    return dump(body)


def _encode_message(response: ChatResponse, extra: JsonObject) -> dict[str, Any]:
    calls = [
        {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(response.tool_calls)
    ]
    thinking = [part for part in response.parts if isinstance(part, Reasoning)]
    details = [detail_of(part) for part in thinking if part.detail or part.signature]
    # a refusal or transcript is text in other dialects, but a separate field here
    substitute = lenient.as_text(extra.get("refusal")) or lenient.as_text(
        lenient.as_object(extra.get("audio")).get("transcript")
    )
    text = response.text.removesuffix(substitute or "")
    text += note_on_pictures(response.raw_response, WIRE)
    return {
        "role": "assistant",
        "content": text or (None if calls or substitute else ""),
        "refusal": None,
        "reasoning": "".join(part.text for part in thinking) or None,
        **({"tool_calls": calls} if calls else {}),
        **({"reasoning_details": details} if details else {}),
        **extra,
    }
