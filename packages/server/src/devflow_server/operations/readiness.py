"""Whether requests can be taken: what the last look at the ledger has shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from devflow_core.errors import StoreError

EVERY_S = 2.0
"""How often the ledger is looked at; so late a worker also sees what another has changed."""
MOST_SILENT_S = 10.0
"""After so long without an answer of the ledger it counts as gone."""


class Readiness:
    """Looks at the ledger now and then, so that asking costs nothing.

    Args:
        look: one job for the ledger's writer, who is needed for every paid request.
        clock: monotonic.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._clock = clock
        self._answered_s = clock()
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Why no request can be taken; None when they can."""
        silent_s = self._clock() - self._answered_s
        if self._problem is None and silent_s > MOST_SILENT_S:
            return f"The ledger has not answered for {silent_s:.0f} s."
        return self._problem

    async def check(self) -> None:
        """Look now."""
        try:
            await self._look()
        except StoreError as error:
            self._problem = error.message
        else:
            self._problem = None
        self._answered_s = self._clock()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.check()
