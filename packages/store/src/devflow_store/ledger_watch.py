"""Watches the ledger's state, and probes whether a failing ledger works again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from devflow_core.errors import StoreError

from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import LedgerWriter, WriteJob
from devflow_store.health import LedgerHealth, LedgerState

WATCH_INTERVAL_S = 0.1
"""Seconds between two looks of the watch at what the writer has noted."""
PROBE_INTERVAL_S = 0.5
"""Seconds between probes while nothing else is written."""


# The writer notes what it finds (`LedgerHealth`); the watch looks at that every WATCH_INTERVAL_S:
#
#   from        to          when
#   ready       failed      a write failed with a state: further writes are refused at once
#   ready       waiting     a step of the writer takes longer than `reported_after_s`: only reported
#   waiting     stuck       … than `refused_after_s`: writes are refused, callers get an error
#   waiting     ready       the step ends without a failure (also from stuck)
#   failed      ready       a commit reaches the disk, in practice that of a probe
#
# Whenever the ledger is ready again, `on_recovery` drains the emergency file. While it has failed,
# callers' writes are refused, so only probes can find out that it works again. A server also probes
# while all is well, to report a fault before a request meets it. A probe is due PROBE_INTERVAL_S
# after the last proof or probe, and never while another one runs.


class LedgerWatch:
    """Logs changes of the ledger's state, ends waits that are too long, and probes for recovery.

    Args:
        writer: writes the ledger.
        on_recovery: called when the ledger can be written again; a `StoreError` from it is ignored.
    """

    def __init__(self, writer: LedgerWriter, on_recovery: Callable[[], Awaitable[None]]) -> None:
        self._writer = writer
        self._on_recovery = on_recovery
        self._probing: asyncio.Task[None] | None = None
        self._probed_at_s = 0.0
        self.is_constant = False
        """Whether to probe even while no fault is known, as a server has to."""

    @property
    def health(self) -> LedgerHealth:
        """The state of the ledger as the writer finds it."""
        return self._writer.health

    async def run(self) -> None:
        """Check regularly until cancelled."""
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
        """Make a change without effect, and wait until it is on the disk.

        Raises:
            StoreError: the ledger cannot be written.
        """
        await self._writer.submit(WriteJob(Transaction.touch), is_probe=True)

    def _look(self) -> None:
        health, now_s = self.health, time.monotonic()
        health.log_change()
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
            return  # the writer has noted the failure

    async def _recover(self) -> None:
        try:
            await self._on_recovery()
        except StoreError:
            return  # it has failed again; waiting entries stay where they are
