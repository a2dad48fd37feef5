"""Encodes errors in the form of OpenAI's two dialects, and in that of routers that speak them."""

from __future__ import annotations

from collections.abc import Callable
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
_ROUTER_TYPES = {
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    408: "timeout",
    412: "precondition_failed",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    500: "server",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
}
"""The router's `error_type` by status, for failures that came without one."""

DescribeError = Callable[[DevFlowError, str], dict[str, Any]]
"""Returns the `error` object for an error and the request's id."""


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


def status_code_fields(error: DevFlowError, request_id: str) -> dict[str, Any]:
    """Return the `error` object with the HTTP status as its code, as routers send it.

    Their SDKs refuse any other code; the stable one is `code` of `metadata`.
    """
    fields = error_fields(error, request_id)
    status = error.status_hint
    kind = _ROUTER_TYPES.get(status, "server" if status >= 500 else "invalid_request")
    metadata = {"error_type": kind, **fields["metadata"], "code": error.code}
    return {"code": status, "message": error.message, "metadata": metadata}


def status_code_body(error: DevFlowError, request_id: str) -> dict[str, Any]:
    """Return the body of a reply with this error, with the HTTP status as its code."""
    return {"error": status_code_fields(error, request_id)}
