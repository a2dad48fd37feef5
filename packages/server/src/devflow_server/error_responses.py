"""Errors as replies: the status, the dialect's body, and what a client should do next."""

from __future__ import annotations

import math

import orjson
from devflow_core.errors import (
    AllCandidatesFailed,
    ConfigurationError,
    Conflict,
    DevFlowError,
    KeysExhausted,
    LedgerCorrupt,
    QueueFull,
    StoreError,
    UpstreamError,
)
from devflow_core.wire import Dialect, sse

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


class OutOfMemory(QueueFull):
    """There is no memory for this request, now."""

    def __init__(self) -> None:
        super().__init__("This gateway has no memory left for this request. Ask again.")


def error_reply(
    error: DevFlowError,
    dialect: Dialect | None,
    request_id: str,
    *,
    is_for_application: bool = False,
) -> tuple[int, bytes]:
    """Status and body of an error, as the route that was called tells it."""
    if is_for_application:
        return _application_error(error, request_id)
    if dialect is not None:
        return error.status_hint, dialect.encode_error(error, request_id)
    fault = {"message": error.message, "code": error.code, "request_id": request_id}
    return error.status_hint, orjson.dumps({"error": fault})


def application_event(error: DevFlowError) -> bytes:
    """An error in the stream of a route for applications."""
    body = {"error": error.message, "code": error.code, "message": error.message}
    return sse.encode(orjson.dumps(body), "error")


def error_headers(error: DevFlowError, request_id: str) -> list[Header]:
    """The headers of an error.

    `x-should-retry: false` tells the SDKs of Anthropic and OpenAI not to repeat what has been
    repeated and fallen back from here: three tries each of client, gateway and provider are 27.
    """
    headers = [("content-type", "application/json"), *id_headers(request_id)]
    wait_s = _wait_s(error)
    if wait_s is not None:
        headers.append(("retry-after", str(max(1, math.ceil(wait_s)))))
    return headers if _may_be_repeated(error, wait_s) else [*headers, _DO_NOT_RETRY]


def id_headers(request_id: str) -> list[Header]:
    """The request's id, under our name and under the one that Anthropic's SDK reads."""
    return [("x-devflow-request-id", request_id), ("request-id", request_id)]


def _application_error(error: DevFlowError, request_id: str) -> tuple[int, bytes]:
    """The gateway's keys are spent or refused: one status, one code. Else the words to show."""
    if isinstance(error, KeysExhausted) and _needs_a_person(error):
        return 503, orjson.dumps({"detail": error.code})
    body = {"detail": error.message, "code": error.code, "request_id": request_id}
    return error.status_hint, orjson.dumps(body)


def _wait_s(error: DevFlowError) -> float | None:
    """How long to wait before another try is of use; None where no wait is known to help."""
    if _needs_a_person(error):
        return None
    if error.retry_after_s is None and isinstance(error, QueueFull | StoreError):
        return None if error.attempts else 1.0
    return error.retry_after_s


def _may_be_repeated(error: DevFlowError, wait_s: float | None) -> bool:
    """Whether a client should ask again by itself."""
    if error.attempts > 1:
        return False  # the gateway has asked again already
    if wait_s is not None:
        return wait_s <= MAX_CLIENT_WAIT_S
    is_answered = error.attempts > 0 or isinstance(error, AllCandidatesFailed | UpstreamError)
    return error.status_hint >= 500 and not is_answered and not _needs_a_person(error)


def _needs_a_person(error: DevFlowError) -> bool:
    """Whether waiting helps nobody: a key is refused, there is no money, a file is damaged."""
    return (
        error.status_hint in {401, 402}
        or (isinstance(error, KeysExhausted) and error.status_hint != 429)
        or isinstance(error, ConfigurationError | LedgerCorrupt)
    )
