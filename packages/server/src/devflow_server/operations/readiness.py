"""Whether requests can be taken: what the last look at the ledger has shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from devflow_core.errors import DevFlowError

CHECK_INTERVAL_S = 2.0
"""How often the ledger is looked at; so late a worker also sees what another has changed."""
MAX_SILENCE_S = 10.0
"""After so long without an answer of the ledger it counts as gone."""


class Readiness:
    """Looks at the ledger now and then, so that asking costs nothing.

    Args:
        probe: one job for the ledger's writer, who is needed for every paid request.
        clock: monotonic.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._last_answer_s = clock()
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Why no request can be taken; None when they can."""
        silent_s = self._clock() - self._last_answer_s
        if self._problem is None and silent_s > MAX_SILENCE_S:
            return f"The ledger has not answered for {silent_s:.0f} s."
        return self._problem

    async def check(self) -> None:
        """Look now."""
        try:
            await self._probe()
        except DevFlowError as error:  # also what another version has written, and this one not
            self._problem = error.message
        else:
            self._problem = None
        self._last_answer_s = self._clock()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            await self.check()
