"""Turns errors into replies: status, body in the dialect, and headers about retrying."""

from __future__ import annotations

import math

import orjson
from devflow_core.errors import (
    AllCandidatesFailed,
    ConfigurationError,
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
"""The longest wait, in seconds, after which clients may retry on their own.

SDKs ignore a longer `retry-after` and retry at once, so they are told not to.
"""

_DO_NOT_RETRY: Header = ("x-should-retry", "false")


class InternalError(DevFlowError):
    """An unexpected fault of the gateway; the log has its details under the request's id."""


class OutOfMemory(QueueFull):
    """The gateway has no memory for this request at the moment."""

    def __init__(self) -> None:
        super().__init__("This gateway has no memory left for this request. Ask again.")


def error_reply(
    error: DevFlowError,
    dialect: Dialect | None,
    request_id: str,
    *,
    is_for_application: bool = False,
) -> tuple[int, bytes]:
    """Return the status and the body of an error, in the form of the route that was called.

    Args:
        error: the error.
        dialect: the route's dialect; None is plain JSON.
        request_id: the id of the request, which the client may quote.
        is_for_application: whether the route's errors are read by an application
            (`Face.APPLICATION`); then the dialect does not matter.
    """
    if is_for_application:
        return _application_error(error, request_id)
    if dialect is not None:
        return dialect.status_of(error), dialect.encode_error(error, request_id)
    fault = {"message": error.message, "code": error.code, "request_id": request_id}
    return error.status_hint, orjson.dumps({"error": fault})


def application_event(error: DevFlowError) -> bytes:
    """Return the stream event of an error, for a route for applications."""
    body = {"error": error.message, "code": error.code, "message": error.message}
    return sse.encode(orjson.dumps(body), "error")


def error_headers(error: DevFlowError, request_id: str) -> list[Header]:
    """Return the headers of an error, with `retry-after` in whole seconds if a wait may help.

    `x-should-retry: false` stops the SDKs of Anthropic and OpenAI from retrying what was already
    retried here: three tries each by client, gateway and provider would make 27.
    """
    headers = [("content-type", "application/json"), *id_headers(request_id)]
    wait_s = _wait_s(error)
    if wait_s is not None:
        # SDKs read whole seconds; 0 would let them retry at once
        headers.append(("retry-after", str(max(1, math.ceil(wait_s)))))
    return headers if _may_be_repeated(error, wait_s) else [*headers, _DO_NOT_RETRY]


def id_headers(request_id: str) -> list[Header]:
    """Return the request's id, under our header name and under those that SDKs read."""
    # Anthropic's SDK reads the second, OpenAI's the third
    names = ("x-devflow-request-id", "request-id", "x-request-id")
    return [(name, request_id) for name in names]


def _application_error(error: DevFlowError, request_id: str) -> tuple[int, bytes]:
    """Return an error for an application: a bare code if keys are spent or refused, else a text."""
    if isinstance(error, KeysExhausted) and _needs_a_person(error):
        return 503, orjson.dumps({"detail": error.code})
    body = {"detail": error.message, "code": error.code, "request_id": request_id}
    return error.status_hint, orjson.dumps(body)


def _wait_s(error: DevFlowError) -> float | None:
    """Return how long to wait before retrying, in seconds; None if no wait is known to help."""
    if _needs_a_person(error):
        return None
    # a full queue or a busy ledger has usually moved on within a second
    if error.retry_after_s is None and isinstance(error, QueueFull | StoreError):
        return None if error.attempts else 1.0
    return error.retry_after_s


def _may_be_repeated(error: DevFlowError, wait_s: float | None) -> bool:
    """Return whether a client should retry on its own."""
    if error.attempts > 1:
        return False  # the gateway has retried already
    if wait_s is not None:
        return wait_s <= MAX_CLIENT_WAIT_S
    is_answered = error.attempts > 0 or isinstance(error, AllCandidatesFailed | UpstreamError)
    return error.status_hint >= 500 and not is_answered and not _needs_a_person(error)


def _needs_a_person(error: DevFlowError) -> bool:
    """Return whether waiting cannot help: a key is refused, money is spent, a file is damaged."""
    return (
        error.status_hint in {401, 402}
        or (isinstance(error, KeysExhausted) and error.status_hint != 429)
        or isinstance(error, ConfigurationError | LedgerCorrupt)
    )
