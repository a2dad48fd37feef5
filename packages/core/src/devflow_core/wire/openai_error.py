"""Encodes errors in the form of OpenAI's two dialects."""

from __future__ import annotations

from typing import Any

from devflow_core.errors import DevFlowError
from devflow_core.wire import json_strict as strict

_ERROR_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def error_fields(error: DevFlowError, request_id: str) -> dict[str, Any]:
    """Return the `error` object, with the stable code and the provider's own words."""
    status = error.status_hint
    kind = "server_error" if status >= 500 else _ERROR_TYPES.get(status, "invalid_request_error")
    metadata = strict.drop_none(
        provider_name=getattr(error, "provider", None),
        error_type=getattr(error, "error_type", None),
        generation_id=getattr(error, "generation_id", None),
        raw=getattr(error, "detail", None),
        retry_after_s=error.retry_after_s,
        request_id=request_id,
    )
    return {
        "message": error.message,
        "type": kind,
        "param": None,
        "code": error.code,
        "metadata": metadata,
    }


def error_body(error: DevFlowError, request_id: str) -> dict[str, Any]:
    """Return the body of a reply with this error."""
    return {"error": error_fields(error, request_id)}
