"""Encodes whole replies and errors in Anthropic's messages dialect."""

from __future__ import annotations

from typing import Any

from devflow_core.errors import (
    ContextTooLong,
    DevFlowError,
    KeysExhausted,
    LedgerCorrupt,
    Refused,
)
from devflow_core.events import FinishReason
from devflow_core.ids import new_id
from devflow_core.messages import JsonObject, Part, Reasoning, Text
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse
from devflow_core.tokens import estimate_input_tokens, estimate_reply_tokens
from devflow_core.usage import Usage
from devflow_core.wire import json_strict as strict
from devflow_core.wire.anthropic_messages.encode_parts import encode_block
from devflow_core.wire.anthropic_messages.name import WIRE
from devflow_core.wire.anthropic_messages.resumable import filter_blocks, filter_parts
from devflow_core.wire.anthropic_messages.usage import encode_usage
from devflow_core.wire.body import dump
from devflow_core.wire.extra_fields import Omissions, note_on_pictures, raw_response_body
from devflow_core.wire.reasoning import signature_for_anthropic, vendor_of

_STOP_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "error": "end_turn",
}
_NATIVE_STOP_REASONS = frozenset(
    {"end_turn", "stop_sequence", "pause_turn", "max_tokens", "tool_use", "refusal",
     "model_context_window_exceeded"}
)  # fmt: skip
STATUSES = {Refused.code: 400}
"""Error code → status, where clients misunderstand the error's own status.

Claude Code reports any 403 as a failed authentication, but the refusal of a prompt has nothing
to do with its key.
"""
_FILTERED = "Output blocked by content filtering policy"
"""The wording of Anthropic's API for a refusal.

After a 400 with any other wording Claude Code (2.1.332) repeats the request up to five times, and
leaves out one more beta each time.
"""
_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def to_stop_reason(reason: FinishReason, native: str | None, has_calls: bool) -> str:
    """Return this dialect's stop reason: the native one if it is valid, otherwise the hub's.

    If the reply has calls, the hub's `stop` becomes `tool_use`.
    """
    if native in _NATIVE_STOP_REASONS:
        return native
    if has_calls and reason == "stop":
        return "tool_use"
    return _STOP_REASONS[reason]


def encode_response(
    response: ChatResponse, request: ChatRequest, annotations: JsonObject | None = None
) -> bytes:
    """Return a whole reply as a JSON body, with the annotations as its field `devflow`."""
    extra = raw_response_body(response, WIRE)
    model = response.model or request.model
    name = request.origin.resumable_as if request.origin else None
    note = note_on_pictures(response.raw_response, WIRE)
    parts = response.parts if name is None else filter_parts(response.parts, response.model)
    parts = (*parts, Text(text=note)) if note else parts
    blocks = [_encode_reply_block(part, model) for part in parts]
    usage = response.usage or Usage(
        input_tokens=estimate_input_tokens(request),
        output_tokens=estimate_reply_tokens(response.parts, model),
    )
    body: dict[str, Any] = {
        "id": response.generation_id or new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": name or model,
        **strict.drop_none(provider=response.provider),
        "content": [one for one in blocks if one is not None],
        "stop_reason": to_stop_reason(
            response.finish_reason, response.native_finish_reason, bool(response.tool_calls)
        ),
        "stop_sequence": None,
        **extra.get("message", {}),
        "usage": {**encode_usage(usage, response.cost), **extra.get("usage", {})},
    }
    if "content" in extra:
        content = extra["content"]
        body["content"] = content if name is None else filter_blocks(content, response.model)
    if annotations:
        body["devflow"] = annotations
    return dump(body)


def _encode_reply_block(part: Part, model: str) -> dict[str, Any] | None:
    if not isinstance(part, Reasoning):
        return encode_block(part, Omissions())
    if part.encrypted is not None and vendor_of(part) == "anthropic":
        return {"type": "redacted_thinking", "data": part.encrypted}
    signature = signature_for_anthropic(part, model)
    return {"type": "thinking", "thinking": part.text, "signature": signature}


def error_body(error: DevFlowError, request_id: str) -> dict[str, Any]:
    """Return the body of an error, with the wording that clients of this dialect act on."""
    status = STATUSES.get(error.code, error.status_hint)
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    if kind == "overloaded_error" and not _is_worth_repeating(error):
        kind = "api_error"
    details = strict.drop_none(
        code=error.code,
        provider=getattr(error, "provider", None),
        error_type=getattr(error, "error_type", None),
        generation_id=getattr(error, "generation_id", None),
    )
    return {
        "type": "error",
        "error": {"type": kind, "message": _error_message(error), **details},
        "request_id": request_id,
    }


def _is_worth_repeating(error: DevFlowError) -> bool:
    """Return whether clients may repeat a request that was answered with 503.

    Claude Code repeats an `overloaded_error` ten times, even where `x-should-retry` forbids it, so
    that name is kept for requests that no provider has received.
    """
    return not error.attempts and not isinstance(error, KeysExhausted | LedgerCorrupt)


def _error_message(error: DevFlowError) -> str:
    """Return the message: the provider's own words if it rejected the request.

    Clients match those words, and the wordings for a long prompt and for blocked content.
    """
    if isinstance(error, ContextTooLong) and "prompt is too long" not in error.message:
        return f"prompt is too long: {error.message}"
    if isinstance(error, Refused):
        return f"{error.message} ({_FILTERED})"
    detail = getattr(error, "detail", None)
    is_rejected = error.status_hint in {400, 412, 413, 422}
    return detail if is_rejected and isinstance(detail, str) else error.message
