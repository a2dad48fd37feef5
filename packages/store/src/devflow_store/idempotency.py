"""One call per idempotency key, over all processes that share the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from devflow_core.errors import Conflict
from devflow_core.ids import new_id

from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob

RETENTION_S = 24 * 3600.0
"""How long a reply may be asked for again."""
MIN_POLL_S = 0.05
"""How often a waiter looks, at first; it doubles up to a second."""
_MAX_POLL_S = 1.0
_COLUMNS = "fingerprint, token, state, lease_until_us, payload"


@dataclass(frozen=True, slots=True)
class NewClaim:
    """Nobody has this key: carry the request out, then `finish` or `abandon`."""

    token: str


@dataclass(frozen=True, slots=True)
class InFlight:
    """Somebody is at it; `wait` for the reply."""


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


Claim = NewClaim | InFlight | Completed | Mismatch | UnknownOutcome


class Idempotency:
    """Claims on keys. A scope keeps the clients apart: one never sees another's replies.

    Args:
        submit: runs a job and waits until it is durable.
    """

    def __init__(self, submit: Callable[[WriteJob[Any]], Awaitable[Any]]) -> None:
        self._submit = submit

    async def claim(self, scope: str, key: str, fingerprint: str, lease_s: float) -> Claim:
        """Be the one who carries a request out, or learn what became of it.

        Args:
            scope: whose key it is.
            key: as the client sent it.
            fingerprint: of the whole request; another one is a `Mismatch`.
            lease_s: after this long without `extend` the outcome counts as unknown.
        """
        token = new_id("claim")

        def run(tx: Transaction) -> Claim:
            tx.flush()
            tx.execute("DELETE FROM idempotency WHERE expires_us < ?", (tx.now_us,))
            rows = tx.execute(
                f"SELECT {_COLUMNS} FROM idempotency WHERE scope = ? AND key = ?",  # noqa: S608 - constants
                (scope, key),
            )
            if rows and rows[0][1] != token:
                return _claim_from_row(rows[0], fingerprint, tx.now_us)
            lease_until_us = tx.now_us + round(lease_s * 1e6)
            tx.execute(
                f"INSERT INTO idempotency (scope, key, {_COLUMNS}, expires_us) "  # noqa: S608 - constants
                "VALUES (?, ?, ?, ?, 'in flight', ?, NULL, ?) ON CONFLICT DO NOTHING",
                (
                    scope,
                    key,
                    fingerprint,
                    token,
                    lease_until_us,
                    tx.now_us + round(RETENTION_S * 1e6),
                ),
            )
            return NewClaim(token)

        return await self._submit(WriteJob(run))

    async def extend(self, token: str, lease_s: float) -> None:
        """The request is still being carried out."""
        await self._update(token, "lease_until_us = ? + ?", (round(lease_s * 1e6),), with_now=True)

    async def finish(self, token: str, payload: bytes) -> None:
        """Keep the reply for whoever asks again.

        Raises:
            Conflict: the claim is gone (a day has passed, or it was abandoned).
        """
        await self._update(token, "state = 'done', payload = ?", (payload,))

    async def abandon(self, token: str) -> None:
        """Nothing was carried out: the key is free again."""

        def run(tx: Transaction) -> None:
            tx.delete("idempotency", "token", token)

        await self._submit(WriteJob(run))

    async def wait(self, scope: str, key: str, timeout_s: float) -> Claim:
        """What becomes of a request that is in flight.

        Returns:
            `Completed` or `UnknownOutcome`; `InFlight` when the time is up; `Mismatch` when it was
            abandoned, so that the key has to be claimed again.
        """
        pause_s = MIN_POLL_S
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while True:
            found: Claim = await self._submit(WriteJob(lambda tx: _find_claim(tx, scope, key)))
            if not isinstance(found, InFlight) or loop.time() >= end_s:
                return found
            await asyncio.sleep(min(pause_s, max(0.0, end_s - loop.time())))
            pause_s = min(2 * pause_s, _MAX_POLL_S)

    async def _update(
        self, token: str, change: str, values: tuple[Any, ...], *, with_now: bool = False
    ) -> None:
        def run(tx: Transaction) -> None:
            tx.flush()
            now = (tx.now_us,) if with_now else ()
            # `change` is a constant of this module
            rows = tx.execute(
                f"UPDATE idempotency SET {change} WHERE token = ? RETURNING token",  # noqa: S608
                (*now, *values, token),
            )
            if not rows:
                raise Conflict("The claim on this idempotency key is gone.")

        await self._submit(WriteJob(run))


def _find_claim(tx: Transaction, scope: str, key: str) -> Claim:
    tx.flush()
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM idempotency WHERE scope = ? AND key = ?",  # noqa: S608 - constants
        (scope, key),
    )
    return _claim_from_row(rows[0], rows[0][0], tx.now_us) if rows else Mismatch()


def _claim_from_row(row: tuple[Any, ...], fingerprint: str, now_us: int) -> Claim:
    stored_fingerprint, _token, state, lease_until_us, payload = row
    if stored_fingerprint != fingerprint:
        return Mismatch()
    if state == "done":
        return Completed(bytes(payload))
    return InFlight() if lease_until_us > now_us else UnknownOutcome()
