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

from devflow_core.dimensions import GroupBy
from devflow_core.errors import InvalidRequest, StoreError
from devflow_core.ids import new_id
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.summary import Summary
from devflow_core.usage import Usage

from devflow_store.budgets.alerts import AlertDispatcher, AlertHook, LogAlerts
from devflow_store.budgets.budget import BudgetState
from devflow_store.budgets.repository import BudgetRepository, read_budget_states
from devflow_store.budgets.reservations import BudgetReservations
from devflow_store.chain.overflow import OverflowFile
from devflow_store.chain.records import Correction
from devflow_store.chain.transaction import require_row
from devflow_store.chain.writer import LedgerWriter, T, WriteJob
from devflow_store.client_keys import ClientKeys, load_pepper
from devflow_store.database.engine import Engine, Session
from devflow_store.engines.database_url import create_engine
from devflow_store.entries import aggregation, queries
from devflow_store.entries.erasure import build_erase_job, find_rows
from devflow_store.entries.export import ExportFormat, export_lines
from devflow_store.entries.queries import EntryFilter
from devflow_store.health import LedgerHealth
from devflow_store.idempotency import Idempotency
from devflow_store.integrity.verify import Verification, verify
from devflow_store.leases import ProcessLeases
from devflow_store.ledger_watch import LedgerWatch
from devflow_store.nodes import Nodes
from devflow_store.recorder import EntryRecorder

_ERASE_INTERVAL_S = 24 * 3600.0
LEASE_S = 15.0
"""How long a silent process counts as alive at the most; five signs of life fit into it."""


class Store:
    """The durable ledger of one data directory or database, shared by all processes that open it.

    An async context manager: entered, the tables are there and what a crashed process left open
    is settled; left, everything accepted is on disk and the thread has ended.

    Reading methods are synchronous, open a connection of their own and may be called from any
    thread, also while the store is not entered.

    Args:
        database: path of an SQLite file (created when missing), a `sqlite:///` or `postgresql://`
            URL, or an engine.
        on_alert: told when a budget passes a threshold or a told cost cannot be; the log always is.
        lease_s: after this long without a sign of life, at the most, a process counts as dead: its
            open attempts are written off at their worst case, its idempotency keys are settled.
        data_dir: where the pepper of the client keys and the emergency file are; None: the folder
            of the SQLite file, or the user's data folder with PostgreSQL.
        retention: rows older than this lose their labels and details, once at the start and then
            every day; None keeps them.
    """

    def __init__(
        self,
        database: str | Path | Engine,
        *,
        on_alert: tuple[AlertHook, ...] = (),
        lease_s: float = LEASE_S,
        data_dir: Path | None = None,
        retention: timedelta | None = None,
    ) -> None:
        self._engine = create_engine(database, data_dir)
        self._data_dir = data_dir or self._engine.folder
        self._pepper_path = self._data_dir / "client-keys.pepper"
        self._writer = LedgerWriter(self._engine)
        self._retention = retention
        self._overflow = OverflowFile(self._data_dir)
        self._drain_lock = asyncio.Lock()
        self.watch = LedgerWatch(self._writer, self._drain_overflow)
        owner, reservations = new_id("own"), BudgetReservations()
        self._recorder = EntryRecorder(reservations, owner)
        self._leases = ProcessLeases(owner, self._recorder, lease_s=lease_s)
        self._alert_dispatcher = AlertDispatcher((LogAlerts(), *on_alert))
        self._exit_stack = AsyncExitStack()
        self.budgets = BudgetRepository(self._submit, reservations)
        self.keys = ClientKeys(self._submit, lambda: load_pepper(self._pepper_path))
        self.idempotency = Idempotency(self._submit, owner)
        self.nodes = Nodes(self._submit)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._writer.start()
            stack.push_async_callback(self._writer.stop)
            self._overflow.open()
            stack.callback(self._overflow.close)
            await self._drain_overflow()
            await self.keys.seal()
            await self._renew_lease()
            stack.push_async_callback(self._end_lease)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for coroutine in (
                self._alert_dispatcher.run(),
                self._renew_periodically(),
                self.watch.run(),
                self._erase_expired(),
            ):
                stack.callback(tasks.create_task(coroutine).cancel)
            stack.push_async_callback(self._alert_dispatcher.drain)
            self._exit_stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exit_stack.aclose()

    @property
    def health(self) -> LedgerHealth:
        """What the ledger says of itself now."""
        return self._writer.health

    @property
    def queued(self) -> int:
        """Writes that wait for their turn."""
        return self._writer.queued

    @property
    def emergency_entries(self) -> int:
        """Entries in the emergency file, until the ledger can be written again."""
        return self._overflow.count

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        check = self.idempotency.find_check(start.entry_id)
        await self._writer.submit(self._recorder.begin(start, ended, check))

    async def close(self, entry: LedgerEntry, /) -> None:
        try:
            self._alert_dispatcher.enqueue(await self._writer.submit(self._recorder.close(entry)))
        except StoreError:
            # it may or may not be written; drained later, its key tells
            await asyncio.to_thread(self._overflow.add, entry)

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
            cost_usd: the cost that takes the place of the estimate.
            text: the provider's own decimal text.
            usage: the confirmed counts; None leaves them.
            provider: who answered, where it was not known.
            generation_id: the provider's id of the call, where it was not known.
            source: where the figure is from; `observed` and `reserved` are figures of our own, and
                the attempt stays marked as not confirmed.

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
        self._alert_dispatcher.enqueue(
            await self._writer.submit(self._recorder.confirm(correction))
        )

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
        chosen = EntryFilter(since=since, until=until, session_id=session_id, project=project)
        with self._open_reader() as session:
            yield from queries.read_entries(session, chosen)

    def entry(self, entry_id: str) -> LedgerEntry | None:
        """One entry; None when there is none of this id, or when it was erased."""
        with self._open_reader() as session:
            return queries.read_entry(session, entry_id)

    def unconfirmed(self, limit: int = 100) -> list[tuple[LedgerEntry, Attempt]]:
        """Attempts whose cost is only estimated, oldest first, with the entries they belong to."""
        with self._open_reader() as session:
            return queries.read_unconfirmed(session, limit)

    def latest_start(self) -> datetime | None:
        """When the latest attempt began; None where there is none."""
        with self._open_reader() as session:
            return queries.read_latest_start(session)

    def under_way_since(self) -> datetime | None:
        """When the oldest of the attempts began that have not ended; None where all have."""
        with self._open_reader() as session:
            return queries.read_under_way_since(session)

    def aggregate(
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
        with self._open_reader() as session:
            return aggregation.aggregate(session, by, (since, until), with_times=with_times)

    def groups(
        self, by: GroupBy, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str, Summary]:
        """Sums for each value of `by`; as `aggregate` with one thing to group by."""
        return {key: one for (key,), one in self.aggregate((by,), since=since, until=until).items()}

    def budget_states(self, now: datetime | None = None) -> list[BudgetState]:
        """Every budget with what is gone of it, in the window that `now` falls into."""
        with self._open_reader() as session:
            return list(read_budget_states(session, now or datetime.now(UTC)))

    def verify(self, anchor: str | None = None) -> Verification:
        """Recompute the whole chain and name the first row that was touched.

        Args:
            anchor: a `head` noted earlier; the chain must still lead through it. None: the one
                that every commit notes beside the ledger.
        """
        anchor = anchor or self._engine.noted_head()
        session = self._engine.open_reader()
        try:
            return verify(session, anchor=anchor)
        finally:
            session.close()

    def export(
        self,
        export_format: ExportFormat = "jsonl",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        session_id: str | None = None,
    ) -> Iterator[str]:
        """The lines of an export: `jsonl` holds everything, `csv` has a row for each attempt."""
        return export_lines(self.entries(since, until, session_id), export_format)

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
        numbers = await asyncio.to_thread(self._find_rows, session_id, before)
        job = build_erase_job(numbers, session_id=session_id, before=before)
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

    def _find_rows(self, session_id: str | None, before: datetime | None) -> list[int]:
        with self._open_reader() as session:
            return find_rows(session, session_id=session_id, before=before)

    async def _submit(self, job: WriteJob[T]) -> T:
        return await self._writer.submit(job)

    async def _renew_lease(self, *, is_leaving: bool = False) -> None:
        alerts = await self._writer.submit(self._leases.renew(is_leaving=is_leaving))
        self._alert_dispatcher.enqueue(alerts)

    async def _drain_overflow(self) -> None:
        """Write what waits in the emergency file."""
        async with self._drain_lock:
            if not self._overflow.count:
                return
            waiting = await asyncio.to_thread(self._overflow.read_entries)
            for entry in waiting:
                alerts = await self._writer.submit(self._recorder.close(entry))
                self._alert_dispatcher.enqueue(alerts)
            await asyncio.to_thread(self._overflow.clear, len(waiting))

    async def _end_lease(self) -> None:
        try:
            await self._drain_overflow()
            await self._renew_lease(is_leaving=True)
        except StoreError:
            return  # its silence tells the others

    async def _renew_periodically(self) -> None:
        while True:
            await asyncio.sleep(self._leases.interval_s)
            try:
                await self._renew_lease()
                await self._drain_overflow()
            except StoreError:
                continue  # requests that need the ledger are told; the next sign may get through

    async def _erase_expired(self) -> None:
        while self._retention is not None:
            with suppress(StoreError):  # tomorrow again
                await self.erase(before=datetime.now(UTC) - self._retention)
            await asyncio.sleep(_ERASE_INTERVAL_S)

    @contextmanager
    def _open_reader(self) -> Generator[Session]:
        noted, session = self._engine.noted_head(), self._engine.open_reader()
        try:
            require_row(session, noted)
            yield session
        finally:
            session.close()
