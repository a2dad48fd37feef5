"""Defines what may be done after a failure, and the HTTP status that a client gets for it.

If the provider sent a status, it decides whose fault the failure is. The SDKs of Anthropic and
OpenAI, and Claude Code, retry 408, 409, 429 and 5xx on their own and nothing else. So a failure
that only a person can fix has a status that is not retried: 401 is the caller's key, 402 is money,
and 400, 403, 404, 412, 413 and 422 are the request. If the gateway's own keys are refused, a 401
would blame the caller's key; the status is then 503, which the server marks as not to be retried.
"""

from __future__ import annotations

from enum import Enum


class Disposition(Enum):
    """The options after an error, before the reply has begun."""

    RETRY = "retry"
    """The same candidate may be asked again; if it keeps failing, the next one."""
    FALL_BACK = "fall_back"
    """Asking the same candidate again is useless; the next one may be asked."""
    FAIL = "fail"
    """No other candidate is asked: the caller has to change something."""


_CLIENT_STATUSES: dict[tuple[str, int], int] = {
    ("KeyRefused", 402): 402,
    ("KeyRefused", 403): 402,
    ("KeysExhausted", 401): 503,
    ("KeysExhausted", 402): 402,
    **{("UpstreamRejected", status): status for status in (412, 413, 422)},
}
"""(Class of the error, the provider's status) → status, where it differs from the class's own."""


def client_status(kind: str, status: int | None, usual: int) -> int:
    """Return the status that a client gets.

    Args:
        kind: the name of the error's class.
        status: the status that the provider sent; None if it sent none.
        usual: the class's own status.
    """
    return _CLIENT_STATUSES.get((kind, status or 0), usual)
