"""Runs the writing thread of the ledger, which puts many queued jobs into one durable commit."""

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
"""The most jobs per transaction; more would hold up other processes."""
MAX_QUEUE = 10_000
"""The most jobs that may wait; more mean that the disk does not keep up, so they are refused."""

T = TypeVar("T")


def _return_none(_tx: Transaction) -> Any:
    return None


@dataclass(slots=True)
class WriteJob(Generic[T]):
    """A job for the writer.

    `run` decides before it writes: if it raises a refusal (`BudgetExceeded`…), it has written
    nothing. `key` is the chain key that it writes, and `recover` returns the result if a commit of
    unknown outcome turns out to have written it.
    """

    run: Callable[[Transaction], T]
    key: str | None = None
    recover: Callable[[Transaction], T] = _return_none
    is_read: bool = False
    """Whether the job only reads, so that it is also run while the disk is full."""


_QueuedJob = tuple[WriteJob[Any], "asyncio.Future[Any]"]
_Outcome = tuple["asyncio.Future[Any]", Any, DevFlowError | None]


# Many jobs share one commit, so one sync of the disk serves up to MAX_GROUP requests. A commit that
# fails leaves its outcome unknown (the rows may be on the disk), and a second try must not write a
# row twice. So after a failure every job is tried on its own, and first looked up by its chain key:
#
#   from      to         when
#   waiting   group      the thread takes all waiting jobs, at most MAX_GROUP, into one transaction
#   group     done       the commit succeeded, and the files are still those under the ledger's name
#   group     refused    `run` raised a refusal before it wrote: only this job's caller gets it
#   group     failed     another process held the lock: nothing was written, no job is tried again
#   group     single     anything else failed: the outcome is unknown
#   single    done       its key is in the chain (`recover`), or its own commit succeeded
#   single    refused    as in a group
#   single    failed     its own transaction failed; if the error names a state of the ledger, all
#                        jobs behind it fail with it, since trying them is useless
#   waiting   given up   `give_up_waiting` failed its future: its job is skipped


class LedgerWriter:
    """Owns the writing connection and its thread.

    Every caller's future is resolved after the commit that holds its job, all futures of one event
    loop with one wake-up.

    Args:
        engine: the database.
        now_us: the time in microseconds since 1970; None: the system's clock.
    """

    def __init__(self, engine: Engine, *, now_us: Callable[[], int] | None = None) -> None:
        self._engine = engine
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._queue: SimpleQueue[_QueuedJob | None] = SimpleQueue()
        self._session: Session | None = None
        self._thread: Thread | None = None
        self._is_closed = True
        self._head: tuple[int, bytes] = (0, GENESIS)
        """The number and hash of the last row that this process knows to be written."""
        self._waiting: set[asyncio.Future[Any]] = set()
        self.health = LedgerHealth()
        self.health.waits_for_lock = self._waits_for_lock

    async def start(self) -> None:
        """Open or create the database and start the thread; `stop` ends it.

        Raises:
            LedgerCorrupt: the ledger is damaged; it is left unchanged.
            StoreError: the database cannot be opened.
        """
        await asyncio.to_thread(self._engine.prepare)
        self._is_closed = False
        self._thread = Thread(target=self._run, name="devflow-ledger", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write the queued jobs, then end the thread and close the connection."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    @property
    def queued(self) -> int:
        """The number of jobs waiting for the writer."""
        return self._queue.qsize()

    def submit(self, job: WriteJob[T], *, is_probe: bool = False) -> asyncio.Future[T]:
        """Queue a job; its future is resolved once the job is durable.

        The future gets the result of `run`, the refusal that `run` raised, or a `StoreError` if the
        job could not be written. A job whose caller was cancelled is still run.

        Args:
            job: the job to run.
            is_probe: whether to try it even if the ledger is known not to work.

        Raises:
            StoreError: the ledger cannot be written, the writer has ended, or too many jobs wait.
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
        """Fail every waiting future; jobs that were not begun are then not run."""
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
        """Wait for a job; return it with those behind it, and whether the writer ends after them.

        There is no job if the writer is asked to end and none waits.
        """
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
        """Fail all waiting futures at the end of the thread, so that no caller waits for ever."""
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
            if error.state != LedgerState.UNREACHABLE:  # a cut connection is first opened again
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
        """Return the outcome of one job, and an error if trying further jobs is useless."""
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
        except Exception as fault:  # noqa: BLE001 - its own caller gets the error
            self._close_session()
            error = StoreError(f"The ledger could not carry this out: {type(fault).__name__}.")
            error.__cause__ = fault
            return (future, None, error), None
        finally:
            self.health.end_steps()
        return (future, value, None), None

    def _begin(self) -> Transaction:
        """Begin a transaction, and check that it is still in the same ledger.

        Raises:
            LedgerUnavailable, LedgerCorrupt: it is missing, locked, damaged or another ledger.
        """
        self.health.start_step(BEGIN)
        is_new = self._session is None
        session = self._open_session()
        session.begin()
        session.look(is_ahead=True)
        number, digest = self._head
        if is_new and number:  # with the lock, so that waiting for its holder is told as that
            require_row(session, f"{number}:{digest.hex()}")
        self.health.start_step(WORK)
        tx = Transaction(session, self._now_us())
        if tx.seq < number or (tx.seq == number and tx.hash != digest):
            raise replaced_error(number)
        return tx

    def _commit(self, tx: Transaction) -> None:
        """Commit, then check that the files written are those under the ledger's name."""
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
            self._session = self._engine.open_writer()
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
    """Resolve futures from any thread, with one wake-up per event loop.

    Each outcome is a future, its result, and its error or None; closed loops are skipped.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].get_loop(), []).append(outcome)
    for loop, ours in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, ours)
        except RuntimeError:
            continue  # the loop is closed, so no caller waits; the rows are durable


def _is_given_up(future: asyncio.Future[Any]) -> bool:
    """Return whether the caller already got an error; a cancelled caller's job is still run."""
    return future.done() and not future.cancelled()


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue  # its caller was cancelled
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
