"""Whether requests can be taken: what the ledger says of itself, and what is read of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from devflow_core.errors import DevFlowError, StoreError
from devflow_store import LedgerHealth, LedgerState

CHECK_INTERVAL_S = 0.5
"""How often nodes and keys are read; so late a worker also sees what another has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReady:
    """Why no request can be taken."""

    ledger: str
    """The state of the ledger, in the words of `LedgerState`."""
    message: str
    """For a person."""


class Readiness:
    """Asks the ledger how it is, and reads now and then what every request needs of it.

    Args:
        health: of the ledger; asking costs nothing.
        reads: what is looked at beside: nodes, client keys.
    """

    def __init__(self, health: LedgerHealth, *reads: Callable[[], Awaitable[None]]) -> None:
        self._health = health
        self._reads = reads
        self._unreadable: str | None = None

    def problem(self) -> NotReady | None:
        """Why no request can be taken; None when they can."""
        state, message = self._health.current()
        if state is not LedgerState.READY:
            return NotReady(ledger=state.value, message=message)
        if self._unreadable is not None:
            return NotReady(ledger=state.value, message=self._unreadable)
        return None

    async def check(self) -> None:
        """Read now; what fails because the ledger does is told by the ledger."""
        unreadable = None
        for read in self._reads:
            try:
                await read()
            except StoreError as error:
                unreadable = error.message if error.state is None else None
            except DevFlowError as error:  # what another version has written, and this one not
                unreadable = error.message
            if unreadable is not None:
                break
        self._unreadable = unreadable

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            await self.check()
