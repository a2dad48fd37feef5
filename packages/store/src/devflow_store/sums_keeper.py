"""Has the writer add new calls to the sums of days, beside the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from devflow_core.errors import StoreError

from devflow_store.chain.writer import WriteJob
from devflow_store.entries.day_sums import build_step_job

_LOOK_S = 3.0
"""Seconds between two looks for calls to add."""
_MAX_WAITING = 20_000
"""The rows of the chain that may wait to be added: a report looks their calls up in some 20 ms.

The longer they wait, the more calls of a session are added at once.
"""
_PAUSE_S = 0.05
"""Seconds between two steps, so that a ledger of an earlier version does not hold up requests."""


class SumsKeeper:
    """Keeps the sums of days close behind the calls.

    Args:
        submit: runs a job in the writer.
    """

    def __init__(self, submit: Callable[[WriteJob[Any]], Awaitable[Any]]) -> None:
        self._submit = submit

    async def run(self) -> None:
        """Add calls whenever many of them wait, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            with suppress(StoreError):  # requests report the failure; the next look tries again
                await self.catch_up(_MAX_WAITING, pause_s=_PAUSE_S)

    async def catch_up(self, max_waiting: int = 0, *, pause_s: float = 0.0) -> None:
        """Add calls, oldest first, until so few rows of the chain are left.

        Args:
            max_waiting: the rows that may be left.
            pause_s: the seconds between two groups.

        Raises:
            StoreError: the ledger cannot be written.
        """
        has_more = True
        while has_more:
            has_more = await self._submit(build_step_job(max_waiting))
            await asyncio.sleep(pause_s)
