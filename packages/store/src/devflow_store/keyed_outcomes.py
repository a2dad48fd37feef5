"""Holds the errors of calls under an idempotency key, and the rules for what is kept of one."""

from __future__ import annotations

import re

from devflow_core.errors import (
    AllCandidatesFailed,
    Conflict,
    DevFlowError,
    InvalidRequest,
    PossiblyAccepted,
)
from devflow_core.estimates import may_be_billed

# as long as Stripe allows, whose header this is
_KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,255}")


class KeyReused(Conflict):
    """An idempotency key that was already used with another request."""

    status_hint = 422


class OutcomeUnknown(Conflict):
    """An idempotency key whose call may have been made by a process that was killed."""

    code = "outcome_unknown"


def check_idempotency_key(key: str, name: str) -> None:
    """Check a key as a caller gave it; `name` is what the message calls it.

    Raises:
        InvalidRequest: it is empty, too long, or has other characters.
    """
    if not _KEY_PATTERN.fullmatch(key):
        raise InvalidRequest(f"{name}: send 1 to 255 visible ASCII characters.")


def key_reused(name: str) -> KeyReused:
    """Return the error for a key that was used with another request."""
    return KeyReused(f"This {name} was sent with another request.")


def still_under_way(name: str, entry_id: str) -> Conflict:
    """Return the error for a request that another caller carries out for too long."""
    return Conflict(
        f"The request with this {name} is still being carried out (entry {entry_id}). Ask again"
        " with the same key.",
        retry_after_s=10.0,
    )


def outcome_unknown(name: str, entry_id: str) -> OutcomeUnknown:
    """Return the error for a request whose process was killed; the id may be empty."""
    which = f" as entry {entry_id}" if entry_id else ""
    return OutcomeUnknown(
        f"The gateway was killed while it carried out the request with this {name}. The"
        " provider may have answered it and may bill it, so it is not done again under this key."
        f" `devflow ledger export` shows it{which}, with what it may cost. To have it done again,"
        " ask with another key."
    )


def cut_off(name: str, entry_id: str) -> PossiblyAccepted:
    """Return the error for a call that was stopped on our side."""
    return PossiblyAccepted(
        f"The gateway was stopped in the middle of this call, which may be billed (entry {entry_id}"
        f" in the ledger). To have it done again, ask with another {name}."
    )


def may_have_cost(error: DevFlowError | None) -> bool:
    """Return whether a call with this error, or None, may be billed: a retry could cost twice."""
    failures = error.errors if isinstance(error, AllCandidatesFailed) else (error,)
    return any(map(may_be_billed, failures))
