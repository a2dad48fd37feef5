"""The durable store: core's `Book`, and what reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

from devflow_core.errors import InvalidRequest, StoreError
from devflow_core.ids import new_id
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.summary import GroupBy, Summary
from devflow_core.usage import Usage

from devflow_store.budgets.alerts import AlertHook, Announcer, LogAlerts
from devflow_store.budgets.budget import BudgetState
from devflow_store.budgets.repository import Budgets, budget_states
from devflow_store.budgets.reservations import Desk
from devflow_store.chain.overflow import Spill
from devflow_store.chain.records import Correction
from devflow_store.chain.writer import Job, T, Writer
from devflow_store.client_keys import ClientKeys, pepper_file
from devflow_store.database.engine import Engine, Session
from devflow_store.engines.database_url import engine_for
from devflow_store.entries import grouping, reading
from devflow_store.entries.erasing import erase_job, rows_of
from devflow_store.entries.exporting import ExportFormat, exported
from devflow_store.entries.reading import Selection
from devflow_store.idempotency import Idempotency
from devflow_store.integrity.verify import Verification, verify
from devflow_store.leases import Owners
from devflow_store.nodes import Nodes
from devflow_store.recorder import Bookkeeping

_DAY_S = 24 * 3600.0
LEASE_S = 15.0
"""How long a silent process counts as alive; three signs of life fit into it."""


class Store:
    """The durable ledger of one data directory or database, shared by all processes that open it.

    An async context manager: entered, the tables are there and what a crashed process left open
    is settled; left, everything accepted is on disk and the thread has ended.

    Reading methods are synchronous, open a connection of their own and may be called from any
    thread, also while the store is not entered.

    Args:
        place: path of an SQLite file (created when missing), a `sqlite:///` or `postgresql://`
            URL, or an engine.
        on_alert: told when a budget passes a threshold; the log always is.
        lease_s: after this long without a sign of life, a process counts as dead and its open
            attempts are written off at their worst case.
        data_dir: where the pepper of the client keys and the emergency file are; None: the folder
            of the SQLite file.
        retention: rows older than this lose their labels and details, once at the start and then
            every day; None keeps them.
    """

    def __init__(
        self,
        place: str | Path | Engine,
        *,
        on_alert: tuple[AlertHook, ...] = (),
        lease_s: float = LEASE_S,
        data_dir: Path | None = None,
        retention: timedelta | None = None,
    ) -> None:
        self._engine = engine_for(place)
        self._data_dir = data_dir or self._engine.folder
        self._pepper_path = self._data_dir / "client-keys.pepper"
        self._writer = Writer(self._engine)
        self._lease_s = lease_s
        self._retention = retention
        self._spill = Spill(self._data_dir)
        owner, desk = new_id("own"), Desk()
        self._books = Bookkeeping(desk, owner)
        self._owners = Owners(owner, self._books, lease_s=lease_s)
        self._announcer = Announcer((LogAlerts(), *on_alert))
        self._life = AsyncExitStack()
        self.budgets = Budgets(self._submit, desk)
        self.keys = ClientKeys(self._submit, lambda: pepper_file(self._pepper_path))
        self.idempotency = Idempotency(self._submit)
        self.nodes = Nodes(self._submit)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._writer.start()
            stack.push_async_callback(self._writer.stop)
            self._spill.open()
            stack.callback(self._spill.close)
            await self._drain()
            await self._tick()
            stack.push_async_callback(self._leave)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for coroutine in (
                self._announcer.run(),
                self._keep_alive(),
                self._forget_the_old(),
            ):
                stack.callback(tasks.create_task(coroutine).cancel)
            stack.push_async_callback(self._announcer.drain)
            self._life = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._life.aclose()

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        """As `Book.begin`."""
        await self._writer.submit(self._books.begin(start, ended))

    async def close(self, entry: LedgerEntry, /) -> None:
        """As `Book.close`."""
        try:
            self._announcer.announce(await self._writer.submit(self._books.close(entry)))
        except StoreError:
            # it may or may not be written; drained later, its key tells
            await asyncio.to_thread(self._spill.add, entry)

    async def confirm(  # noqa: PLR0913 - what a provider tells of a call is one flat record
        self,
        attempt_id: str,
        cost_usd: Decimal,
        text: str | None = None,
        *,
        usage: Usage | None = None,
        provider: str | None = None,
        generation_id: str | None = None,
        source: str = "generation",
    ) -> None:
        """Book what an attempt has cost after all; the same figure again changes nothing.

        Args:
            attempt_id: of a closed request.
            cost_usd: the confirmed cost; it takes the place of the estimate.
            text: the provider's own decimal text.
            usage: the confirmed counts; None leaves them.
            provider: who answered, where it was not known.
            generation_id: the provider's id of the call, where it was not known.
            source: where the figure is from.

        Raises:
            NotFound: the ledger has no closed request with this attempt.
            StoreError: it could not be written.
        """
        correction = Correction(
            attempt_id=attempt_id,
            cost_usd=cost_usd,
            cost_text=text,
            usage=usage,
            provider=provider,
            generation_id=generation_id,
            source=source,
        )
        self._announcer.announce(await self._writer.submit(self._books.confirm(correction)))

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

    def unconfirmed(self, limit: int = 100) -> list[tuple[LedgerEntry, Attempt]]:
        """Attempts whose cost is only estimated, oldest first, with the entries they belong to."""
        with self._reader() as session:
            return reading.unconfirmed(session, limit)

    def cells(
        self,
        by: tuple[GroupBy, ...],
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        with_times: bool = True,
    ) -> dict[tuple[str, ...], Summary]:
        """Sums for each combination of `by`, as `devflow_core.summary.LedgerReader`.

        Raises:
            InvalidRequest: there is no such grouping.
            StoreError: the ledger cannot be read.
        """
        with self._reader() as session:
            return grouping.cells(session, by, (since, until), with_times=with_times)

    def groups(
        self, by: GroupBy, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str, Summary]:
        """Sums for each value of `by`; as `cells` with one thing to group by."""
        return {key: one for (key,), one in self.cells((by,), since=since, until=until).items()}

    def budget_states(self, now: datetime | None = None) -> list[BudgetState]:
        """Every budget with what is gone of it, in the window that `now` falls into."""
        with self._reader() as session:
            return list(budget_states(session, now or datetime.now(UTC)))

    def verify(self, anchor: str | None = None) -> Verification:
        """Recompute the whole chain and name the first row that was touched.

        Args:
            anchor: a `head` noted earlier; the chain must still lead through it.
        """
        with self._reader() as session:
            return verify(session, anchor=anchor)

    def export(
        self,
        form: ExportFormat = "jsonl",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        session_id: str | None = None,
    ) -> Iterator[str]:
        """The lines of an export: `jsonl` holds everything, `csv` has a row for each attempt."""
        return exported(self.entries(since, until, session_id), form)

    async def erase(self, *, session_id: str | None = None, before: datetime | None = None) -> int:
        """Delete labels and details of a session, or of everything older than a time.

        Amounts, models, tokens and times stay without a name, so that the books still agree with
        the bill; the chain stays verifiable. What is in flight is left.

        Args:
            session_id: everything of this session.
            before: everything that began before this time.

        Returns:
            How many rows were erased.

        Raises:
            InvalidRequest: neither or both of the two are given.
            StoreError: it could not be done.
        """
        if (session_id is None) == (before is None):
            raise InvalidRequest("Say what to erase: a session, or a time before which.")
        numbers = await asyncio.to_thread(self._rows_of, session_id, before)
        job = erase_job(numbers, session_id=session_id, before=before)
        erased = await self._writer.submit(job)
        await asyncio.to_thread(self._engine.compact)
        return erased

    async def backup(self, target: Path) -> None:
        """Write a verified copy of an SQLite ledger to a new file, while requests go on.

        Raises:
            InvalidRequest: the file is there already, or the ledger is in PostgreSQL.
            StoreError, LedgerCorrupt: it could not be made, or is not whole.
        """
        await asyncio.to_thread(self._engine.backup, target)

    def _rows_of(self, session_id: str | None, before: datetime | None) -> list[int]:
        with self._reader() as session:
            return rows_of(session, session_id=session_id, before=before)

    async def _submit(self, job: Job[T]) -> T:
        return await self._writer.submit(job)

    async def _tick(self, *, is_leaving: bool = False) -> None:
        alerts = await self._writer.submit(self._owners.tick(is_leaving=is_leaving))
        self._announcer.announce(alerts)

    async def _drain(self) -> None:
        """Write what waits in the emergency file."""
        if not self._spill.count:
            return
        waiting = await asyncio.to_thread(self._spill.entries)
        for entry in waiting:
            self._announcer.announce(await self._writer.submit(self._books.close(entry)))
        await asyncio.to_thread(self._spill.clear, len(waiting))

    async def _leave(self) -> None:
        try:
            await self._drain()
            await self._tick(is_leaving=True)
        except StoreError:
            return  # the lease runs out by itself

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self._tick()
                await self._drain()
            except StoreError:
                continue  # requests that need the ledger are told; the next sign may get through

    async def _forget_the_old(self) -> None:
        while self._retention is not None:
            with suppress(StoreError):  # tomorrow again
                await self.erase(before=datetime.now(UTC) - self._retention)
            await asyncio.sleep(_DAY_S)

    @contextmanager
    def _reader(self) -> Generator[Session]:
        session = self._engine.reader()
        try:
            yield session
        finally:
            session.close()
