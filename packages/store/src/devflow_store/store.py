"""Implements core's `Book` durably, and reads, reports and maintains the ledger."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

from devflow_core.errors import InvalidRequest, StoreError
from devflow_core.ids import new_id
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.usage import Usage

from devflow_store.budgets.alerts import AlertDispatcher, AlertHook, LogAlerts
from devflow_store.budgets.repository import BudgetRepository
from devflow_store.budgets.reservations import BudgetReservations
from devflow_store.chain.origin import LedgerOrigin
from devflow_store.chain.overflow import OverflowFile
from devflow_store.chain.records import Correction
from devflow_store.chain.writer import LedgerWriter
from devflow_store.client_keys import ClientKeys, load_pepper
from devflow_store.database.engine import Engine
from devflow_store.engines.database_url import create_engine
from devflow_store.entries.erasure import build_erase_job, find_rows
from devflow_store.health import LedgerHealth
from devflow_store.idempotency import Idempotency
from devflow_store.leases import ProcessLeases
from devflow_store.ledger_watch import LedgerWatch
from devflow_store.nodes import Nodes
from devflow_store.origin_note import OriginNote
from devflow_store.readable import ReadableLedger
from devflow_store.recorder import EntryRecorder
from devflow_store.start_check import StartCheck
from devflow_store.sums_keeper import SumsKeeper

_ERASE_INTERVAL_S = 24 * 3600.0
LEASE_S = 15.0
"""Seconds for which a silent process counts as alive at most; a lease has five signs of life."""


class Store(ReadableLedger):
    """The durable ledger of one data directory or database, shared by all processes that open it.

    An async context manager: on entry the tables are created, and what a crashed process left open
    is settled; on exit everything accepted is written and the writing thread has ended.

    What reads is in `ReadableLedger`, and needs no entering.

    Args:
        database: path of an SQLite file (created when missing), a `sqlite:///` or `postgresql://`
            URL, or an engine.
        on_alert: called when a budget passes a threshold or a reported cost is impossible; every
            alert is also logged.
        lease_s: after at most this many seconds without a sign of life a process counts as dead:
            its open attempts are written off at their worst case, its idempotency keys are settled.
        data_dir: for the pepper of the client keys and the emergency file; None: the folder of the
            SQLite file, or the user's data folder with PostgreSQL.
        retention: rows older than this lose their labels and details, once at the start and then
            every day; None keeps them.
        origin: the upstream that this process calls; None: it may be any.
    """

    def __init__(
        self,
        database: str | Path | Engine,
        *,
        on_alert: tuple[AlertHook, ...] = (),
        lease_s: float = LEASE_S,
        data_dir: Path | None = None,
        retention: timedelta | None = None,
        origin: LedgerOrigin | None = None,
    ) -> None:
        super().__init__(create_engine(database, data_dir))
        self._data_dir = data_dir or self._engine.folder
        self._pepper_path = self._data_dir / "client-keys.pepper"
        self._writer = LedgerWriter(self._engine)
        self._submit = self._writer.submit
        self._retention = retention
        self._overflow = OverflowFile(self._data_dir)
        self._drain_lock = asyncio.Lock()
        self.watch = LedgerWatch(self._writer, self._drain_overflow)
        owner, reservations = new_id("own"), BudgetReservations()
        self._recorder = EntryRecorder(reservations, owner, origin)
        self._leases = ProcessLeases(owner, self._recorder, lease_s=lease_s)
        self._alert_dispatcher = AlertDispatcher((LogAlerts(), *on_alert))
        self._start_check = StartCheck(self._engine, self._submit)
        self._exit_stack = AsyncExitStack()
        self.budgets = BudgetRepository(self._submit, reservations)
        self.keys = ClientKeys(self._submit, lambda: load_pepper(self._pepper_path))
        self.idempotency = Idempotency(self._submit, owner)
        self.nodes = Nodes(self._submit)
        self.sums = SumsKeeper(self._submit)
        self.origin = OriginNote(self._submit, self._open_reader, origin)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._writer.start()
            stack.push_async_callback(self._writer.stop)
            self._overflow.open()
            stack.callback(self._overflow.close)
            # drained first: renewing the lease writes off as lost what dead processes left open
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
                self._start_check.run(),
                self.sums.run(),
            ):
                stack.callback(tasks.create_task(coroutine).cancel)
            stack.push_async_callback(self._alert_dispatcher.drain)
            stack.callback(self._start_check.stop)
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
        """The ledger's state and counters."""
        return self._writer.health

    @property
    def queued(self) -> int:
        """The number of writes that wait for their turn."""
        return self._writer.queued

    @property
    def emergency_entries(self) -> int:
        """The number of entries that wait in the emergency file for a working ledger."""
        return self._overflow.count

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        check = self.idempotency.find_check(start.entry_id)
        await self._writer.submit(self._recorder.begin(start, ended, check))

    async def close(self, entry: LedgerEntry, /) -> None:
        try:
            self._alert_dispatcher.enqueue(await self._writer.submit(self._recorder.close(entry)))
        except StoreError:
            # the entry may have been written all the same; draining finds out by its key
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
        """Book the final cost of an attempt; repeating the same figure changes nothing.

        Args:
            attempt_id: an attempt of a closed request.
            cost_usd: the cost that replaces the estimate.
            text: the provider's own decimal text.
            usage: the confirmed counts; None keeps the earlier ones.
            provider: the provider that answered; None keeps what is known.
            generation_id: the provider's id of the call; None keeps what is known.
            source: the origin of the figure; `observed` and `reserved` are figures of our own, and
                the attempt stays marked as not confirmed.

        Raises:
            NotFound: the ledger has no closed request with this attempt.
            StoreError: the cost could not be written.
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
        alerts = await self._writer.submit(self._recorder.confirm(correction))
        self._alert_dispatcher.enqueue(alerts)

    async def erase(self, *, session_id: str | None = None, before: datetime | None = None) -> int:
        """Erase the labels and details of a session, or of everything older than a time.

        Amounts, models, tokens and times stay without labels, so that the books still agree with
        the bill; the chain stays verifiable. Requests in flight are skipped.

        Args:
            session_id: everything of this session.
            before: everything that began before this time.

        Returns:
            How many rows were erased.

        Raises:
            InvalidRequest: neither or both of the two are given.
            StoreError: the ledger could not be changed.
        """
        if (session_id is None) == (before is None):
            raise InvalidRequest("Say what to erase: a session, or a time before which.")
        numbers = await asyncio.to_thread(self._find_rows, session_id, before)
        job = build_erase_job(numbers, session_id=session_id, before=before)
        erased = await self._writer.submit(job)
        await asyncio.to_thread(self._engine.compact)
        return erased

    async def backup(self, target: Path) -> None:
        """Write a verified copy of an SQLite ledger to a new file, while requests continue.

        Raises:
            InvalidRequest: the file exists already, or the ledger is in PostgreSQL.
            StoreError, LedgerCorrupt: the copy could not be written, or does not verify.
        """
        await asyncio.to_thread(self._engine.backup, target)

    def _find_rows(self, session_id: str | None, before: datetime | None) -> list[int]:
        with self._open_reader() as session:
            return find_rows(session, session_id=session_id, before=before)

    async def _renew_lease(self, *, is_leaving: bool = False) -> None:
        alerts = await self._writer.submit(self._leases.renew(is_leaving=is_leaving))
        self._alert_dispatcher.enqueue(alerts)

    async def _drain_overflow(self) -> None:
        """Write the waiting entries of the emergency file to the ledger."""
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
            # in this order: leaving writes off as lost what is still open, and an entry that waits
            # in the emergency file would close it
            if self._overflow.count:
                await self.watch.probe()  # whether a ledger that failed a moment ago is well again
            await self._drain_overflow()
            await self._renew_lease(is_leaving=True)
        except StoreError:
            return  # other processes notice the silence

    async def _renew_periodically(self) -> None:
        while True:
            await asyncio.sleep(self._leases.interval_s)
            try:
                await self._renew_lease()
                await self._drain_overflow()
            except StoreError:
                continue  # requests report the failure themselves; the next sign may succeed

    async def _erase_expired(self) -> None:
        while self._retention is not None:
            with suppress(StoreError):  # the next daily run tries again
                await self.erase(before=datetime.now(UTC) - self._retention)
            await asyncio.sleep(_ERASE_INTERVAL_S)
