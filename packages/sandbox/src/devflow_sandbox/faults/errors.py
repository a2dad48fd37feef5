"""Builds the errors of fault scripts: instead of a reply, or inside one."""

from __future__ import annotations

from email.utils import formatdate

import orjson

from devflow_sandbox import api_error
from devflow_sandbox.api_error import ApiError
from devflow_sandbox.books.accounts import FREE_PER_DAY, FREE_PER_MINUTE
from devflow_sandbox.faults.schema import ErrorEventFault, ErrorPreset, StatusFault
from devflow_sandbox.message import JsonObject
from devflow_sandbox.replies.generation import Generation

# OpenRouter's words where they are known, else the usual ones of the status.
_MESSAGES = {
    400: "Provider returned error",
    401: "User not found.",
    402: "Insufficient credits",
    403: "Forbidden",
    404: "Not Found",
    408: "Request timed out",
    413: "Request entity too large",
    422: "Unprocessable entity",
    429: "Provider returned error",
    500: "Internal Server Error",
    502: "Provider returned error",
    503: "Provider is temporarily overloaded",
    504: "The provider did not answer in time",
    524: "Edge network timeout",
    529: "Provider is temporarily overloaded",
}


def make_error(fault: StatusFault, *, model: str, provider: str, now_s: float) -> ApiError:
    """Return the error of a `status` fault.

    Args:
        fault: the fault; a preset has its own status and message.
        model: the model that was tried, named in some presets.
        provider: the provider that was tried; empty if none was.
        now_s: Unix time, for dates and resets.
    """
    if fault.preset is not None:
        error = _make_preset_error(fault.preset, model, provider, now_s)
    else:
        message = fault.message or _MESSAGES.get(fault.status, "Provider returned error")
        metadata: JsonObject = {"provider_name": provider} if provider else {}
        details = dict(fault.metadata) if fault.metadata is not None else metadata
        if fault.error_type is not None:
            details["error_type"] = fault.error_type
        error = ApiError(
            fault.status, message, error_type=fault.error_type, metadata=details or None
        )
    _add_wait_headers(error, fault, now_s)
    error.headers |= fault.headers
    return error


def _add_wait_headers(error: ApiError, fault: StatusFault, now_s: float) -> None:
    if fault.retry_after is not None:
        error.headers["Retry-After"] = fault.retry_after
    if fault.retry_after_date_s is not None:
        at_s = now_s + fault.retry_after_date_s
        error.headers["Retry-After"] = formatdate(at_s, usegmt=True)
    if fault.reset_s is None:
        return
    reset = {"X-RateLimit-Reset": str(int((now_s + fault.reset_s) * 1000))}
    if fault.reset_in == "header":
        error.headers |= reset
    else:
        error.metadata = {**(error.metadata or {}), "headers": reset}


def _make_preset_error(name: ErrorPreset, model: str, provider: str, now_s: float) -> ApiError:
    day_ms = (int(now_s // 86_400) + 1) * 86_400_000
    minute_ms = (int(now_s // 60) + 1) * 60_000
    presets = {
        "no_credits": api_error.no_credits,
        "not_affordable": lambda: api_error.not_affordable(65_536, 3395),
        "in_flight": api_error.in_flight_limit,
        "key_limit": api_error.key_limit,
        "rate_limited": lambda: api_error.rate_limited_upstream(model, provider),
        "free_daily": lambda: api_error.free_limit(FREE_PER_DAY, day_ms, daily=True),
        "free_per_minute": lambda: api_error.free_limit(FREE_PER_MINUTE, minute_ms, daily=False),
        "moderated": lambda: api_error.flagged_input(provider, model, "…"),
        "no_tool_endpoints": lambda: api_error.no_endpoints(model, "that support tool use"),
        "context_too_long": lambda: api_error.context_too_long(200_000, 2_500_021, 0),
    }
    return presets[name]()


def encode_error_body(fault: ErrorEventFault, generation: Generation) -> bytes:
    """Return the body of a 200 that is an error (captured 2026-09-28), in the reply's dialect."""
    if generation.request.dialect == "messages":
        return orjson.dumps(_anthropic_body(fault, generation))
    return orjson.dumps({"id": generation.id, "error": _error_object(fault)})


def encode_error_event(fault: ErrorEventFault, generation: Generation) -> bytes:
    """Return the event of an error in the middle of a stream, in the reply's dialect.

    The forms of the fault differ on `/chat/completions` only.
    """
    if generation.request.dialect == "messages":
        return b"event: error\ndata: %b\n\n" % orjson.dumps(_anthropic_body(fault, generation))
    if generation.request.dialect == "responses":
        return b"data: %b\n\n" % orjson.dumps(_failed_response(fault, generation))
    if fault.form == "bare":
        return b"data: %b\n\n" % orjson.dumps({"error": _error_object(fault), "user_id": "user_x"})
    finish_reason = None if fault.form == "no_finish" else "error"
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": finish_reason}
    chunk = {
        "id": generation.id,
        "object": "chat.completion.chunk",
        "created": generation.created,
        "model": generation.resolved.model.label,
        "provider": generation.provider.name,
        "error": _error_object(fault),
        "choices": [choice],
    }
    return b"data: %b\n\n" % orjson.dumps(chunk)


def _error_object(fault: ErrorEventFault) -> JsonObject:
    code: int | str = "server_error" if fault.form == "string_code" else fault.code
    metadata = {"error_type": fault.error_type}
    return {"code": code, "message": fault.message, "metadata": metadata}


def _anthropic_body(fault: ErrorEventFault, generation: Generation) -> JsonObject:
    error = ApiError(fault.code, fault.message, error_type=fault.error_type)
    return error.to_body("messages", request_id=generation.id)


def _failed_response(fault: ErrorEventFault, generation: Generation) -> JsonObject:
    error = ApiError(fault.code, fault.message, error_type=fault.error_type)
    inner = error.to_body("responses")["error"]
    response: JsonObject = {
        "id": generation.id,
        "object": "response",
        "created_at": generation.created,
        "model": generation.resolved.model.label,
        "status": "failed",
        "error": inner,
        "error_type": fault.error_type,
        "output": [],
        "usage": None,
    }
    return {"type": "response.failed", "response": response, "sequence_number": 9999}
