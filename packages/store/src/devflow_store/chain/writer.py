"""The one writing thread: jobs in a queue, many of them in one durable commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from devflow_core.errors import DevFlowError, StoreError

from devflow_store.chain.transaction import Transaction
from devflow_store.database.engine import DatabaseUnavailable, Engine, Session

MAX_GROUP = 256
"""Jobs in one transaction; more would hold other processes up."""
MAX_QUEUE = 10_000
"""Jobs that may wait; beyond it the disk is not keeping up and new work is refused."""

T = TypeVar("T")


def _return_none(_tx: Transaction) -> Any:
    return None


@dataclass(frozen=True, slots=True)
class WriteJob(Generic[T]):
    """Something to write.

    `run` decides before it writes: when it raises a refusal (`BudgetExceeded`…), it has written
    nothing. `key` is the chain key it writes, and `recover` gives the result when a commit of
    unknown outcome turns out to have written it.
    """

    run: Callable[[Transaction], T]
    key: str | None = None
    recover: Callable[[Transaction], T] = _return_none


_QueuedJob = tuple[WriteJob[Any], "asyncio.Future[Any]"]
_Outcome = tuple["asyncio.Future[Any]", Any, DevFlowError | None]


class LedgerWriter:
    """Owns the writing connection and its thread.

    Every caller's future is resolved after the commit that holds its job, all futures of one
    event loop with one wake-up.

    Args:
        engine: the database.
        now_us: the time in microseconds since 1970.
    """

    def __init__(self, engine: Engine, *, now_us: Callable[[], int] | None = None) -> None:
        self._engine = engine
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._queue: SimpleQueue[_QueuedJob | None] = SimpleQueue()
        self._session: Session | None = None
        self._thread: Thread | None = None
        self._is_closed = True

    async def start(self) -> None:
        """Open or create the database and start the thread.

        Raises:
            LedgerCorrupt, StoreError: as `Engine.prepare`.
        """
        await asyncio.to_thread(self._engine.prepare)
        self._is_closed = False
        self._thread = Thread(target=self._run, name="devflow-ledger", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write what is queued, then end the thread and close the connection."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def submit(self, job: WriteJob[T]) -> asyncio.Future[T]:
        """Queue a job; the future is done when it is durable.

        Raises:
            StoreError: the writer has ended, or too many jobs wait.
        """
        if self._is_closed:
            raise StoreError("The ledger is closed.")
        if self._queue.qsize() >= MAX_QUEUE:
            raise StoreError(f"{MAX_QUEUE} writes wait for the disk already. Try again later.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((job, future))
        return future

    def _run(self) -> None:
        group: list[_QueuedJob] = []
        try:
            while True:
                group, is_last = self._next_group()
                deliver_outcomes(self._write_group(group))
                group = []
                if is_last:
                    return
        finally:
            self._is_closed = True
            self._close_session()
            self._engine.close()
            self._fail_pending(group)

    def _next_group(self) -> tuple[list[_QueuedJob], bool]:
        """At least one job, and all that have gathered meanwhile; True after the last."""
        group: list[_QueuedJob] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) == MAX_GROUP:
                return group, False
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _fail_pending(self, group: list[_QueuedJob]) -> None:
        """Nobody waits for ever: whatever ended the thread, waiting callers are told."""
        error = StoreError("The ledger was closed before this was written.")
        waiting, is_last = list(group), False
        while not is_last and not self._queue.empty():
            more, is_last = self._next_group()
            waiting += more
        deliver_outcomes([(future, None, error) for _job, future in waiting])

    def _write_group(self, group: list[_QueuedJob]) -> list[_Outcome]:
        if not group:
            return []
        try:
            return self._commit_group(group)
        except StoreError:
            # unknown: any of them may be durable, so each is looked up before it is tried again
            self._close_session()
            return self._commit_each(group)
        except Exception:  # noqa: BLE001 - one faulty job must not end the ledger for all others
            self._close_session()
            return self._commit_each(group)

    def _commit_group(self, group: list[_QueuedJob]) -> list[_Outcome]:
        session = self._open_session()
        session.begin()
        tx = Transaction(session, self._now_us())
        outcomes: list[_Outcome] = []
        for job, future in group:
            try:
                outcomes.append((future, job.run(tx), None))
            except StoreError:
                raise
            except DevFlowError as refusal:
                outcomes.append((future, None, refusal))
        tx.finish()
        session.commit()
        self._engine.on_commit(f"{tx.seq}:{tx.hash.hex()}")
        return outcomes

    def _commit_each(self, group: list[_QueuedJob]) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        down: StoreError | None = None
        for job, future in group:
            if down is None:
                outcome, down = self._commit_single(job, future)
                outcomes.append(outcome)
            else:
                outcomes.append((future, None, down))
        return outcomes

    def _commit_single(
        self, job: WriteJob[Any], future: asyncio.Future[Any]
    ) -> tuple[_Outcome, StoreError | None]:
        """The outcome of one job, and the reason why it is useless to try the next."""
        try:
            session = self._open_session()
            session.begin()
            tx = Transaction(session, self._now_us())
            if job.key is not None and tx.find_seq(job.key) is not None:
                value = job.recover(tx)
            else:
                value = job.run(tx)
            tx.finish()
            session.commit()
            self._engine.on_commit(f"{tx.seq}:{tx.hash.hex()}")
        except StoreError as error:
            self._close_session()
            return (future, None, error), error if isinstance(error, DatabaseUnavailable) else None
        except DevFlowError as refusal:
            self._rollback()
            return (future, None, refusal), None
        except Exception as fault:  # noqa: BLE001 - it is told to its own caller
            self._close_session()
            error = StoreError(f"The ledger could not carry this out: {type(fault).__name__}.")
            error.__cause__ = fault
            return (future, None, error), None
        return (future, value, None), None

    def _rollback(self) -> None:
        if self._session is not None:
            self._session.rollback()

    def _open_session(self) -> Session:
        if self._session is None:
            self._session = self._engine.open_writer()
        return self._session

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def deliver_outcomes(outcomes: list[_Outcome]) -> None:
    """Hand the results over, with one wake-up for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].get_loop(), []).append(outcome)
    for loop, ours in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, ours)
        except RuntimeError:
            continue  # the loop is closed: nobody waits any more, and the rows are durable


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue  # its caller was cancelled
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
