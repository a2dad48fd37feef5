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

from devflow_store.chain.hashing import GENESIS
from devflow_store.chain.transaction import Transaction, replaced_error, require_row
from devflow_store.database.engine import Engine, Session
from devflow_store.health import BEGIN, COMMIT, WORK, LedgerHealth, LedgerState

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
    is_read: bool = False
    """Whether it only reads, so that a full disk does not hinder it."""


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
        self._head: tuple[int, bytes] = (0, GENESIS)
        """Number and hash of the last row that this process has seen to be written."""
        self._waiting: set[asyncio.Future[Any]] = set()
        self.health = LedgerHealth()
        self.health.waits_for_lock = self._waits_for_lock

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

    @property
    def queued(self) -> int:
        """Jobs that wait for the writer."""
        return self._queue.qsize()

    def submit(self, job: WriteJob[T], *, is_probe: bool = False) -> asyncio.Future[T]:
        """Queue a job; the future is done when it is durable.

        Args:
            job: what to write.
            is_probe: whether it is tried although the ledger is known not to work.

        Raises:
            StoreError: the ledger does not work, the writer has ended, or too many jobs wait.
        """
        if self._is_closed:
            raise StoreError("The ledger is closed.")
        if self._queue.qsize() >= MAX_QUEUE:
            raise StoreError(f"{MAX_QUEUE} writes wait for the disk already. Try again later.")
        if not is_probe and (refusal := self.health.refusal(is_read=job.is_read)):
            raise refusal
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        self._queue.put((job, future))
        return future

    def give_up_waiting(self, error: StoreError) -> None:
        """Tell all who wait that the ledger does not answer; what they wait for is not begun."""
        deliver_outcomes([(future, None, error) for future in tuple(self._waiting)])

    def _run(self) -> None:
        group: list[_QueuedJob] = []
        try:
            while True:
                group, is_last = self._next_group()
                outcomes = self._write_group(group)
                self._waiting.difference_update([future for _job, future in group])
                deliver_outcomes(outcomes)
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
        except StoreError as error:
            self._close_session()
            if error.state != LedgerState.UNREACHABLE:  # what was cut is opened again first
                self.health.note_failure(error)
            if error.state == LedgerState.LOCKED:
                return [(future, None, error) for _job, future in group]  # nothing was written
        except Exception:  # noqa: BLE001 - one faulty job must not end the ledger for all others
            self._close_session()
        finally:
            self.health.end_steps()
        # unknown: any of them may be durable, so each is looked up before it is tried again
        return self._commit_each(group)

    def _commit_group(self, group: list[_QueuedJob]) -> list[_Outcome]:
        tx = self._begin()
        outcomes: list[_Outcome] = []
        for job, future in group:
            if _is_given_up(future):
                continue
            try:
                outcomes.append((future, job.run(tx), None))
            except StoreError:
                raise
            except DevFlowError as refusal:
                outcomes.append((future, None, refusal))
        self._commit(tx)
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
            tx = self._begin()
            if job.key is not None and tx.find_seq(job.key) is not None:
                value = job.recover(tx)
            else:
                value = job.run(tx)
            self._commit(tx)
        except StoreError as error:
            self._give_up_session(error)
            return (future, None, error), None if error.state is None else error
        except DevFlowError as refusal:
            self._rollback()
            return (future, None, refusal), None
        except Exception as fault:  # noqa: BLE001 - it is told to its own caller
            self._close_session()
            error = StoreError(f"The ledger could not carry this out: {type(fault).__name__}.")
            error.__cause__ = fault
            return (future, None, error), None
        finally:
            self.health.end_steps()
        return (future, value, None), None

    def _begin(self) -> Transaction:
        """A transaction in the ledger that this one has been all along.

        Raises:
            LedgerUnavailable, LedgerCorrupt: it is gone, locked, damaged or another one.
        """
        self.health.start_step(BEGIN)
        session = self._open_session()
        session.begin()
        session.look(is_ahead=True)
        self.health.start_step(WORK)
        tx = Transaction(session, self._now_us())
        number, digest = self._head
        if tx.seq < number or (tx.seq == number and tx.hash != digest):
            raise replaced_error(number)
        return tx

    def _commit(self, tx: Transaction) -> None:
        """Make it durable; a look tells that it is so in the ledger that others find."""
        tx.finish()
        session = self._open_session()
        self.health.start_step(COMMIT)
        session.commit()
        session.look()
        self._head = (tx.seq, tx.hash)
        self._engine.on_commit(f"{tx.seq}:{tx.hash.hex()}")
        self.health.note_commit(is_proof=tx.is_proof)

    def _rollback(self) -> None:
        if self._session is not None:
            self._session.rollback()

    def _open_session(self) -> Session:
        if self._session is None:
            number, digest = self._head
            self._session = self._engine.open_writer()
            if number:
                require_row(self._session, f"{number}:{digest.hex()}")
        return self._session

    def _give_up_session(self, error: StoreError) -> None:
        self._close_session()
        self.health.note_failure(error)

    def _waits_for_lock(self) -> bool:
        session = self._session
        return session is not None and session.waits_for_lock

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


def _is_given_up(future: asyncio.Future[Any]) -> bool:
    """Whether its caller was told an error already; one that was cancelled still counts on it."""
    return future.done() and not future.cancelled()


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue  # its caller was cancelled
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
