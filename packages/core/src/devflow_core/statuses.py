"""What may be done after a failure, and which status a client is told of it.

Where the provider has its own status, it decides by whose fault the failure is.
The SDKs of Anthropic and OpenAI, and Claude Code, repeat 408, 409, 429 and 5xx by themselves and
nothing else, so what only a person can mend has a status that is not repeated: 401 is the key of
the caller, 402 is money, 400, 403, 404, 412, 413 and 422 are the request. Where the gateway's own
keys are refused a 401 would blame the caller's: that is 503, which the server marks as not to be
repeated.
"""

from __future__ import annotations

from enum import Enum


class Disposition(Enum):
    """What may be done after an error, before the reply has begun."""

    RETRY = "retry"
    """The same candidate may be asked again; when it keeps failing, the next one."""
    FALL_BACK = "fall_back"
    """Asking the same candidate again is useless; the next one may be asked."""
    FAIL = "fail"
    """Nobody else is asked: the caller has to change something."""


_TOLD: dict[tuple[str, int], int] = {
    ("KeyRefused", 402): 402,
    ("KeyRefused", 403): 402,
    ("KeysExhausted", 401): 503,
    ("KeysExhausted", 402): 402,
    **{("UpstreamRejected", status): status for status in (412, 413, 422)},
}
"""(Class of the error, the provider's status) → status, where it is not that of the class."""


def status_to_tell(kind: str, status: int | None, usual: int) -> int:
    """The status for a client.

    Args:
        kind: name of the error's class.
        status: what the provider answered, where it did.
        usual: the class's own status.
    """
    return _TOLD.get((kind, status or 0), usual)
