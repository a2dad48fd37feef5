"""Errors as replies: the status, the dialect's body, and what a client should do next."""

from __future__ import annotations

import math

import orjson
from devflow_core.errors import (
    AllCandidatesFailed,
    CircuitOpen,
    Conflict,
    DevFlowError,
    KeysExhausted,
    QueueFull,
    UpstreamError,
)
from devflow_core.wire import Dialect

from devflow_server.http.message import Header

MAX_CLIENT_WAIT_S = 60.0
"""SDKs obey no longer wait; they would ask again at once instead."""

_DO_NOT_RETRY: Header = ("x-should-retry", "false")


class KeyReused(Conflict):
    """An idempotency key that already stands for another body."""

    status_hint = 422


class OutcomeUnknown(Conflict):
    """An idempotency key whose call may have been carried out by a process that was killed."""

    code = "outcome_unknown"


class InternalError(DevFlowError):
    """A fault of ours; what it was is in the log under the request id."""


def error_body(error: DevFlowError, dialect: Dialect | None, request_id: str) -> bytes:
    """The error in the dialect of the route that was called."""
    if dialect is not None:
        return dialect.encode_error(error, request_id)
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
    wait_s = 1.0 if isinstance(error, QueueFull) else error.retry_after_s
    if _needs_a_person(error):
        return [*headers, _DO_NOT_RETRY]
    if wait_s is not None:
        headers.append(("retry-after", str(max(1, math.ceil(wait_s)))))
        return headers if wait_s <= MAX_CLIENT_WAIT_S else [*headers, _DO_NOT_RETRY]
    if _has_been_tried(error) or error.status_hint < 500:
        headers.append(_DO_NOT_RETRY)
    return headers


def id_headers(request_id: str) -> list[Header]:
    """The request's id, under our name and under the one that Anthropic's SDK reads."""
    return [("x-devflow-request-id", request_id), ("request-id", request_id)]


def _needs_a_person(error: DevFlowError) -> bool:
    """Whether waiting helps nobody: a key is refused, or there is no money."""
    return error.status_hint in {401, 402} or (
        isinstance(error, KeysExhausted) and error.status_hint != 429
    )


def _has_been_tried(error: DevFlowError) -> bool:
    given_up = isinstance(error, AllCandidatesFailed | UpstreamError)
    return given_up and not isinstance(error, CircuitOpen)
