"""Errors as replies: the status, the dialect's body, and what a client should do next."""

from __future__ import annotations

import math

import orjson
from devflow_core.errors import (
    AllCandidatesFailed,
    CircuitOpen,
    Conflict,
    DevFlowError,
    QueueFull,
    UpstreamError,
)
from devflow_core.messages import WireName
from devflow_core.wire import get_translator

from devflow_server.http.message import Header


class KeyReused(Conflict):
    """An idempotency key that already stands for another body."""

    status_hint = 422


class InternalError(DevFlowError):
    """A fault of ours; what it was is in the log under the request id."""


def error_body(error: DevFlowError, wire: WireName | None, request_id: str) -> bytes:
    """The error in the dialect of the route that was called."""
    if wire is not None:
        return get_translator(wire).encode_error(error, request_id)
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "code": error.code,
                "request_id": request_id,
            }
        }
    )


def error_headers(error: DevFlowError, request_id: str) -> list[Header]:
    """The headers of an error.

    `x-should-retry: false` tells the SDKs of Anthropic and OpenAI not to repeat what has been
    repeated and fallen back from here: three tries each of client, gateway and provider are 27.
    """
    headers = [("content-type", "application/json"), *id_headers(request_id)]
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(max(1, math.ceil(error.retry_after_s)))))
    elif isinstance(error, QueueFull):
        headers.append(("retry-after", "1"))
    elif _has_been_tried(error) or error.status_hint < 500:
        headers.append(("x-should-retry", "false"))
    return headers


def id_headers(request_id: str) -> list[Header]:
    """The request's id, under our name and under the one that Anthropic's SDK reads."""
    return [("x-devflow-request-id", request_id), ("request-id", request_id)]


def _has_been_tried(error: DevFlowError) -> bool:
    given_up = isinstance(error, AllCandidatesFailed | UpstreamError)
    return given_up and not isinstance(error, CircuitOpen)
