"""One call per idempotency key, over all processes that share the store."""

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
"""How long a reply may be asked for again."""
MIN_POLL_S = 0.05
"""How often a waiter looks, at first; it doubles up to a second."""
_MAX_POLL_S = 1.0
_FIND = "SELECT fingerprint, entry_id, state, payload FROM idempotency WHERE scope = ? AND key = ?"
_CLAIM = (
    "INSERT INTO idempotency (scope, key, fingerprint, entry_id, state, payload, owner, expires_us)"
    " VALUES (?, ?, ?, ?, 'in flight', NULL, ?, ?) ON CONFLICT DO NOTHING"
)
_KEEP = "UPDATE idempotency SET state = 'done', payload = ? WHERE entry_id = ? RETURNING entry_id"


@dataclass(frozen=True, slots=True)
class NewClaim:
    """Nobody has this key: carry the request out, then `finish` or `abandon`."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """Somebody is at it; `wait` for the reply."""

    entry_id: str


@dataclass(frozen=True, slots=True)
class Completed:
    """It was answered."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key stands for another request."""


@dataclass(frozen=True, slots=True)
class UnknownOutcome:
    """Whoever was at it is gone: it may have been carried out, so it is not done again."""

    entry_id: str
    """Of the request in the ledger; empty where it is not known."""


Claim = NewClaim | InFlight | Completed | Mismatch | UnknownOutcome


class Idempotency:
    """Claims on keys. A scope keeps the clients apart: one never sees another's replies.

    A claim is its process's and its entry's: when the process is dead, the ledger tells whether
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
        """Be the one who carries a request out, or learn what became of it.

        Args:
            scope: whose key it is.
            key: as the client sent it.
            fingerprint: of the whole request; another one is a `Mismatch`.
            entry_id: under which the ledger will know the request; no other one's.

        Raises:
            StoreError: it is not known whether the key was claimed; `abandon` settles it.
        """

        def run(tx: Transaction) -> Claim:
            tx.flush()
            # what is under way is its process's: no clock ends it
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
        """Keep the reply for whoever asks again.

        Raises:
            Conflict: the claim is gone.
        """

        def run(tx: Transaction) -> None:
            tx.flush()
            if not tx.execute(_KEEP, (payload, entry_id)):
                raise Conflict("The claim on this idempotency key is gone.")

        self._claimed.discard(entry_id)
        await self._submit(WriteJob(run))

    async def abandon(self, entry_id: str, payload: bytes) -> bool:
        """Set the key of a request free that has failed, unless it may have cost something.

        Args:
            entry_id: of the request; it has to be closed in the ledger where anything was sent.
            payload: what is kept if a call may be billed, since asking again could cost twice.

        Returns:
            Whether it was kept.
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
        """What becomes of a request that is in flight.

        Returns:
            `Completed` or `UnknownOutcome`; `InFlight` when the time is up; None when nothing was
            carried out, so that the key has to be claimed again.
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
        """What has to hold when an attempt for an entry is written; None for one without a claim.

        It raises `Conflict` when the claim was given to somebody else, because this process had
        been silent for so long that it was taken for dead.
        """
        return partial(_check_claim, entry_id) if entry_id in self._claimed else None


def settle_claims(tx: Transaction, owner: str) -> None:
    """Settle what a process that is gone was carrying out, before its attempts are closed.

    Every attempt is durable before a byte of it leaves: where the ledger has none that may be
    billed, nothing was carried out, and the key is free. The outcome of all others is not known.

    Args:
        tx: with nothing in its buffer.
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
