"""The durable store: core's `Book`, and what reads it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry

from devflow_store import reading
from devflow_store.engine import Engine, Session
from devflow_store.jobs import begin_job, close_job
from devflow_store.reading import Selection
from devflow_store.sqlite import SqliteEngine
from devflow_store.verify import Verification, verify
from devflow_store.writer import Writer


class Store:
    """The durable ledger of one data directory or database, shared by all processes that open it.

    An async context manager: entered, the tables are there and what a crashed process left open
    is settled; left, everything accepted is on disk and the thread has ended.

    Reading methods are synchronous, open a connection of their own and may be called from any
    thread, also while the store is not entered.

    Args:
        place: path of an SQLite file (created when missing), or an engine.
    """

    def __init__(self, place: str | Path | Engine) -> None:
        self._engine = SqliteEngine(Path(place)) if isinstance(place, str | Path) else place
        self._writer = Writer(self._engine)

    async def __aenter__(self) -> Self:
        await self._writer.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._writer.stop()

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        """As `Book.begin`."""
        await self._writer.submit(begin_job(start, ended))

    async def close(self, entry: LedgerEntry, /) -> None:
        """As `Book.close`."""
        await self._writer.submit(close_job(entry))

    def entries(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        session_id: str | None = None,
        project: str | None = None,
    ) -> Iterator[LedgerEntry]:
        """Entries in the order they were written, with later corrections in them.

        Args:
            since: inclusive, by the time the request arrived.
            until: exclusive.
            session_id: only of this session.
            project: only of this project.

        Raises:
            StoreError, LedgerCorrupt: the ledger cannot be read.
        """
        chosen = Selection(since=since, until=until, session_id=session_id, project=project)
        with self._reader() as session:
            yield from reading.entries(session, chosen)

    def entry(self, entry_id: str) -> LedgerEntry | None:
        """One entry; None when there is none of this id, or when it was erased."""
        with self._reader() as session:
            return reading.entry(session, entry_id)

    def verify(self, anchor: str | None = None) -> Verification:
        """Recompute the whole chain and name the first row that was touched."""
        with self._reader() as session:
            return verify(session, anchor=anchor)

    @contextmanager
    def _reader(self) -> Generator[Session]:
        session = self._engine.reader()
        try:
            yield session
        finally:
            session.close()
