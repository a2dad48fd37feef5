"""Damage that the rest of the start's check finds stops the writing, as any damage does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from devflow_core.errors import LedgerCorrupt
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import LedgerState, Store
from devflow_store.engines.sqlite import SqliteEngine
from devflow_store.engines.sqlite_session import SqliteSession
from devflow_store.integrity.backup import corruption_error

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]


class DamagedEngine(SqliteEngine):
    """Finds damage in the rest, and in the whole when a writer opens it again."""

    is_damaged = False

    def check_rest(self, is_over: Callable[[], bool]) -> None:
        self.is_damaged = True
        raise corruption_error(self.path, "a page is wrong")

    def open_writer(self) -> SqliteSession:
        if self.is_damaged:
            raise corruption_error(self.path, "a page is wrong")
        return super().open_writer()


class PatientEngine(SqliteEngine):
    """Checks until it is told to stop."""

    was_stopped = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.begun = Event()

    def check_rest(self, is_over: Callable[[], bool]) -> None:
        self.begun.set()
        while not is_over():
            pass
        self.was_stopped = True


def test_damage_in_the_rest_stops_the_writing(file: Path, request_of: Build) -> None:
    async def main() -> None:
        async with Store(DamagedEngine(file)) as store:
            async with asyncio.timeout(30):
                while store.health.current()[0] is not LedgerState.DAMAGED:  # noqa: ASYNC110 - a state
                    await asyncio.sleep(0)
            start, _entry = request_of(1)
            with pytest.raises(LedgerCorrupt, match="a page is wrong"):
                await store.begin(start)

    asyncio.run(main())


def test_the_end_does_not_wait_for_the_check(file: Path) -> None:
    engine = PatientEngine(file)

    async def main() -> None:
        async with Store(engine):
            assert await asyncio.to_thread(engine.begun.wait, 30)

    asyncio.run(main())
    assert engine.was_stopped
