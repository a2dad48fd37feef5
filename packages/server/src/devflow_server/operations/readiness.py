"""Decides whether requests can be taken, by the ledger's state and a periodic read of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from devflow_core.errors import DevFlowError, StoreError
from devflow_store import LedgerHealth, LedgerState

CHECK_INTERVAL_S = 0.5
"""Seconds between reads of nodes and keys; a worker sees another's changes at most this late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReady:
    """The reason why no request can be taken."""

    ledger: str
    """The ledger's state, as a value of `LedgerState`."""
    message: str
    """The problem and its remedy, in words for a person."""


class Readiness:
    """Watches the ledger's state, and regularly reads what every request needs from it.

    Args:
        health: the ledger's state; reading it costs nothing.
        reads: read what else is needed: nodes, client keys. Each raises `DevFlowError` on failure.
    """

    def __init__(self, health: LedgerHealth, *reads: Callable[[], Awaitable[None]]) -> None:
        self._health = health
        self._reads = reads
        self._unreadable: str | None = None

    def problem(self) -> NotReady | None:
        """Return why no request can be taken; None if requests can be."""
        # the ledger's own state comes first: it is the reason why reads fail
        state, message = self._health.current()
        if state is not LedgerState.READY:
            return NotReady(ledger=state.value, message=message)
        if self._unreadable is not None:
            return NotReady(ledger=state.value, message=self._unreadable)
        return None

    async def check(self) -> None:
        """Read everything now, and remember the reason if something cannot be read.

        A failure that already shows in the ledger's state is not remembered.
        """
        unreadable = None
        for read in self._reads:
            try:
                await read()
            except StoreError as error:
                unreadable = error.message if error.state is None else None
            except DevFlowError as error:  # written by another version, and not readable here
                unreadable = error.message
            if unreadable is not None:
                break
        self._unreadable = unreadable

    async def run(self) -> None:
        """Check regularly until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            await self.check()
