"""Ends the check of a ledger that is too large to be checked before the first request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Event
from typing import Any

from devflow_core.errors import LedgerCorrupt, StoreError

from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.database.engine import Engine


class StartCheck:
    """Looks for damage in what the start has left unchecked, while requests are served.

    Damage that is found stops the writing, as damage that a write meets does.

    Args:
        engine: the database.
        submit: runs a job in the writer.
    """

    def __init__(self, engine: Engine, submit: Callable[[WriteJob[Any]], Awaitable[Any]]) -> None:
        self._engine = engine
        self._submit = submit
        self._is_over = Event()

    async def run(self) -> None:
        """Check until all is checked, the time is up, or `stop` is called."""
        with suppress(StoreError):
            try:
                await asyncio.to_thread(self._engine.check_rest, self._is_over.is_set)
            except LedgerCorrupt as error:
                await self._report(error)

    def stop(self) -> None:
        """End the check within milliseconds; its thread must not hold up the program's end."""
        self._is_over.set()

    async def _report(self, error: LedgerCorrupt) -> None:
        """Have the writer meet the damage: it notes it, and checks in full before it goes on."""

        def run(_tx: Transaction) -> None:
            raise error

        await self._submit(WriteJob(run))
