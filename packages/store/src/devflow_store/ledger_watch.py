"""Looks after a ledger while others write: what it says of itself, and whether it is well again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from devflow_core.errors import StoreError

from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import LedgerWriter, WriteJob
from devflow_store.health import LedgerHealth, LedgerState

WATCH_INTERVAL_S = 0.1
PROBE_INTERVAL_S = 0.5
"""How often a ledger is written to see whether it can be, where nobody else writes it."""


class LedgerWatch:
    """Tells a change of the ledger's state, ends waits that last too long, and tries again.

    Args:
        writer: writes the ledger.
        on_recovery: called when it can be written again.
    """

    def __init__(self, writer: LedgerWriter, on_recovery: Callable[[], Awaitable[None]]) -> None:
        self._writer = writer
        self._on_recovery = on_recovery
        self._probing: asyncio.Task[None] | None = None
        self._probed_at_s = 0.0
        self.is_constant = False
        """Whether to try also while nothing is known to be wrong, as a server has to."""

    @property
    def health(self) -> LedgerHealth:
        """What the writer has found."""
        return self._writer.health

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            was_ready = True
            while True:
                await asyncio.sleep(WATCH_INTERVAL_S)
                self._look()
                is_ready = self.health.current()[0] is LedgerState.READY
                if is_ready and not was_ready:
                    await self._recover()
                was_ready = is_ready
        finally:
            if self._probing is not None:
                self._probing.cancel()

    async def probe(self) -> None:
        """Write something and see it reach the disk.

        Raises:
            StoreError: it does not.
        """
        await self._writer.submit(WriteJob(Transaction.touch), is_probe=True)

    def _look(self) -> None:
        health, now_s = self.health, time.monotonic()
        health.tell_change()
        if health.is_stuck() and (refusal := health.refusal()):
            self._writer.give_up_waiting(refusal)
        quiet_since_s = max(health.proven_at_s, self._probed_at_s)
        is_due = self.is_constant or health.current()[0] is not LedgerState.READY
        is_free = self._probing is None or self._probing.done()
        if is_due and is_free and now_s - quiet_since_s >= PROBE_INTERVAL_S - WATCH_INTERVAL_S:
            self._probed_at_s = now_s
            self._probing = asyncio.create_task(self._try())

    async def _try(self) -> None:
        try:
            await self.probe()
        except StoreError:
            return  # the writer has told what it found

    async def _recover(self) -> None:
        try:
            await self._on_recovery()
        except StoreError:
            return  # it has failed again; what waits goes on waiting
