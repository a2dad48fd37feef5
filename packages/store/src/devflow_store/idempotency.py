"""Ensures one call per idempotency key, over all processes that share the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from devflow_core.errors import Conflict

from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.entries import queries

RETENTION_S = 24 * 3600.0
"""Seconds after its claim during which a key's reply can be requested again."""
MIN_POLL_S = 0.05
"""Seconds between the first polls of a waiting caller; the interval doubles up to a second."""
_MAX_POLL_S = 1.0
_FIND = "SELECT fingerprint, entry_id, state, payload FROM idempotency WHERE scope = ? AND key = ?"
_CLAIM = (
    "INSERT INTO idempotency (scope, key, fingerprint, entry_id, state, payload, owner, expires_us)"
    " VALUES (?, ?, ?, ?, 'in flight', NULL, ?, ?) ON CONFLICT DO NOTHING"
)
_KEEP = "UPDATE idempotency SET state = 'done', payload = ? WHERE entry_id = ? RETURNING entry_id"


@dataclass(frozen=True, slots=True)
class NewClaim:
    """The key was free and is claimed: carry the request out, then `finish` or `abandon`."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """Another caller is carrying the request out; `wait` for the reply."""

    entry_id: str
    """The request's id in the ledger."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The request was answered with this reply."""

    payload: bytes
    """The stored reply, as given to `finish` or `abandon`."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key was used with another request."""


@dataclass(frozen=True, slots=True)
class UnknownOutcome:
    """The process with the claim is gone: the call may have been made, so it is not repeated."""

    entry_id: str
    """The request's id in the ledger; empty if it is unknown."""


Claim = NewClaim | InFlight | Completed | Mismatch | UnknownOutcome
"""The outcome of an attempt to claim a key."""


class Idempotency:
    """Claims on idempotency keys. A scope separates clients: none sees another's replies.

    A claim belongs to its process and its entry: when the process is dead, the ledger shows whether
    anything was sent for it (see `settle_claims`).

    Args:
        submit: runs a job and waits until it is durable.
        owner: the id of this process among those that share the ledger.
    """

    def __init__(self, submit: Callable[[WriteJob[Any]], Awaitable[Any]], owner: str) -> None:
        self._submit = submit
        self._owner = owner
        self._claimed: set[str] = set()

    async def claim(self, scope: str, key: str, fingerprint: str, entry_id: str) -> Claim:
        """Claim a key to carry its request out, or learn what became of the request.

        Args:
            scope: the caller that owns the key.
            key: as the client sent it.
            fingerprint: a hash of the whole request; a different one is a `Mismatch`.
            entry_id: the request's id in the ledger, used for no other request.

        Returns:
            `NewClaim` if the key was free, or claimed with this `entry_id` before; otherwise the
            state of the request that has it.

        Raises:
            StoreError: it is unknown whether the key was claimed; `abandon` settles this.
        """

        def run(tx: Transaction) -> Claim:
            tx.flush()
            # a claim in flight belongs to its process, and ends only with it
            tx.execute(
                "DELETE FROM idempotency WHERE expires_us < ? AND state <> 'in flight'",
                (tx.now_us,),
            )
            rows = tx.execute(_FIND, (scope, key))
            if rows and rows[0][1] != entry_id:
                return _claim_from_row(rows[0], fingerprint)
            expires_us = tx.now_us + round(RETENTION_S * 1e6)
            tx.execute(
                _CLAIM,
                (scope, key, fingerprint, entry_id, self._owner, expires_us),
            )
            return NewClaim()

        found = await self._submit(WriteJob(run))
        if isinstance(found, NewClaim):
            self._claimed.add(entry_id)
        return found

    async def finish(self, entry_id: str, payload: bytes) -> None:
        """Store the reply for callers that send the key again.

        Raises:
            Conflict: the claim was given to another process meanwhile.
            StoreError: it could not be written; it may be tried again.
        """

        def run(tx: Transaction) -> None:
            tx.flush()
            if not tx.execute(_KEEP, (payload, entry_id)):
                raise Conflict("The claim on this idempotency key is gone.")

        self._claimed.discard(entry_id)
        await self._submit(WriteJob(run))

    async def abandon(self, entry_id: str, payload: bytes) -> bool:
        """Free the key of a failed request, unless the request may have cost something.

        Args:
            entry_id: the request's id; if anything was sent, its entry must be closed already.
            payload: the reply to store if a call may be billed, since a retry could cost twice.

        Returns:
            Whether the reply was stored.

        Raises:
            StoreError: it could not be written; it may be tried again.
        """

        def run(tx: Transaction) -> bool:
            tx.flush()
            if _may_be_billed(tx, entry_id):
                return bool(tx.execute(_KEEP, (payload, entry_id)))
            tx.execute("DELETE FROM idempotency WHERE entry_id = ?", (entry_id,))
            return False

        self._claimed.discard(entry_id)
        return await self._submit(WriteJob(run))

    async def wait(self, scope: str, key: str, timeout_s: float) -> Claim | None:
        """Wait for the outcome of a request in flight, polling the store.

        Args:
            scope: the caller that owns the key.
            key: as the client sent it.
            timeout_s: how long to wait, in seconds.

        Returns:
            `Completed` or `UnknownOutcome`; `InFlight` after the timeout; None if nothing was
            carried out, so that the key has to be claimed again.

        Raises:
            StoreError: the store cannot be read.
        """
        pause_s = MIN_POLL_S
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while True:
            found: Claim | None = await self._submit(WriteJob(partial(_find_claim, scope, key)))
            if not isinstance(found, InFlight) or loop.time() >= end_s:
                return found
            await asyncio.sleep(min(pause_s, max(0.0, end_s - loop.time())))
            pause_s = min(2 * pause_s, _MAX_POLL_S)

    def find_check(self, entry_id: str) -> Callable[[Transaction], None] | None:
        """Return a check to run before an attempt is written; None for an entry without a claim.

        The check raises `Conflict` if the claim was given to another process, because this one was
        silent for so long that it was believed dead.
        """
        return partial(_check_claim, entry_id) if entry_id in self._claimed else None


def settle_claims(tx: Transaction, owner: str) -> None:
    """Settle the claims of a process that is gone, before its attempts are closed.

    Every attempt is durable before its first byte is sent: if the ledger has none that may be
    billed, nothing was sent, and the key becomes free. The outcome of all others is unknown.

    Args:
        tx: a transaction with an empty buffer.
        owner: the process's id.
    """
    rows = tx.execute(
        "SELECT entry_id FROM idempotency WHERE owner = ? AND state = 'in flight'", (owner,)
    )
    for (entry_id,) in rows:
        if _may_be_billed(tx, entry_id):
            tx.execute("UPDATE idempotency SET state = 'unknown' WHERE entry_id = ?", (entry_id,))
        else:
            tx.execute("DELETE FROM idempotency WHERE entry_id = ?", (entry_id,))


def _may_be_billed(tx: Transaction, entry_id: str) -> bool:
    if tx.execute("SELECT 1 FROM open_attempts WHERE entry_id = ?", (entry_id,)):
        return True
    if tx.find_seq(entry_id) is None:
        return False
    found = queries.find_entry(tx, entry_id)
    return found is None or any(one.cost_status != "void" for one in found[1].attempts)


def _check_claim(entry_id: str, tx: Transaction) -> None:
    tx.flush()
    if not tx.execute("SELECT 1 FROM idempotency WHERE entry_id = ?", (entry_id,)):
        raise Conflict(
            "The gateway was held up for so long that another process has taken this"
            " Idempotency-Key over. Ask again with the same key.",
            retry_after_s=1.0,
        )


def _find_claim(scope: str, key: str, tx: Transaction) -> Claim | None:
    tx.flush()
    rows = tx.execute(_FIND, (scope, key))
    return _claim_from_row(rows[0], rows[0][0]) if rows else None


def _claim_from_row(row: tuple[Any, ...], fingerprint: str) -> Claim:
    stored_fingerprint, entry_id, state, payload = row
    if stored_fingerprint != fingerprint:
        return Mismatch()
    if state == "done":
        return Completed(bytes(payload))
    return InFlight(entry_id) if state == "in flight" else UnknownOutcome(entry_id)
