"""Supervises several workers: owns their socket, replaces those that die, and ends all in order."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from socket import socket
from types import FrameType

import structlog
from devflow_core.errors import DevFlowError
from devflow_core.processes import HANG_UP, signals_to_heed
from devflow_core.settings import Settings

from devflow_server.peers import PeerSockets, open_mailboxes

RunWorker = Callable[[Settings, socket, int, Connection, PeerSockets | None], None]
"""Runs a worker in its own process, from start to end; see `devflow_server.workers.run_worker`."""

_LOOK_S = 1.0
"""Seconds between two looks for dead workers to replace, while nothing wakes the supervisor."""
_FIRST_RESTART_DELAY_S = 1.0
"""Seconds after which a dead worker is replaced.

They double with each start in a row that failed before the worker took requests.
"""
# whoever repairs the cause should not have to wait longer
_MAX_RESTART_DELAY_S = 30.0
MAX_FAILED_STARTS = 5
"""Failed starts of all workers together, before any took requests, that end the supervisor."""
_MORE_THAN_DRAIN_S = 12.0
"""Seconds beyond their drain time that workers may take before they are killed.

The last write to a ledger may wait 10 s for another process.
"""


class WorkersFailed(DevFlowError):
    """No worker ever became ready; the message holds the last one's reason."""

    code = "workers_failed"


# The life of one of the workers' places:
#
#   from       to         when
#   starting   ready      the worker says so on its pipe: failed starts are forgotten
#   starting   dead       its process ended: one more failed start; its reason is kept
#   ready      dead       its process ended: not a failed start
#   dead       starting   `restart_at_s` has come: 1 s after the first failed start, then doubled
#   any        ending     a signal came: SIGTERM, then the drain time, then SIGKILL
#
# While no worker has ever been ready, MAX_FAILED_STARTS dead ones end the supervisor: what fails
# every time (an unreadable ledger, say) is for a person to repair.


@dataclass(slots=True)
class _Worker:
    """One of the workers' places, and the process that has it now."""

    process: BaseProcess
    said: Connection
    """The pipe on which the worker reports that it takes requests, or why it cannot."""
    is_ready: bool = False
    failed_starts: int = 0
    """Failed starts of this place in a row."""
    restart_at_s: float | None = None
    """When a dead worker is replaced, on the monotonic clock; None while it lives."""


class Supervisor:
    """Keeps the workers running until a signal asks for the end.

    Args:
        settings: the workers' settings.
        bound: the socket that they share; closed when the end begins, so that no client connects
            to a gateway that will not answer.
        run_worker: runs a worker; importable by name, since processes are spawned.
    """

    def __init__(self, settings: Settings, bound: socket, run_worker: RunWorker) -> None:
        self._settings = settings
        self._bound = bound
        self._run_worker = run_worker
        self._signals = 0
        self._was_ready = False
        self._failed_starts = 0
        self._reason = "it said nothing; see above"
        # a fork would copy threads and locks in an unknown state
        self._context = multiprocessing.get_context("spawn")
        self._woken, self._wake = self._context.Pipe(duplex=False)
        self._workers: dict[int, _Worker] = {}
        # kept open, so that a worker's successor has its mailbox
        self._mailboxes = open_mailboxes(settings.workers)
        self._log = structlog.get_logger("devflow.workers")

    def start(self) -> None:
        """Install signal handlers, and start every worker; `supervise` has to follow."""
        for number in signals_to_heed():
            signal.signal(number, self._on_signal)
        for number in range(self._settings.workers):
            self._workers[number] = self._spawn(number)

    def supervise(self) -> None:
        """Replace workers that die; return when all have ended after a signal.

        Raises:
            WorkersFailed: no worker has ever taken requests, after `MAX_FAILED_STARTS` tries.
        """
        try:
            while not self._signals and not self._has_given_up:
                wait(self._watched(), timeout=_LOOK_S)
                self._look()
        finally:
            self._end()
        if self._has_given_up:
            raise WorkersFailed(
                f"No worker could begin to take requests; the last of {self._failed_starts} tries:"
                f" {self._reason}."
            )

    @property
    def _has_given_up(self) -> bool:
        return not self._was_ready and self._failed_starts >= MAX_FAILED_STARTS

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Begin to shut down at the first signal, and kill the workers at the second."""
        # a closing terminal may send SIGHUP several times; only the first one counts
        if self._signals and number in HANG_UP:
            return
        self._signals += 1
        # `wait` does not return for a signal, so the handler makes its pipe readable
        self._wake.send_bytes(b"!")
        if self._signals > 1:
            for worker in self._workers.values():
                worker.process.kill()

    def _watched(self) -> list[int | Connection]:
        watched: list[int | Connection] = [self._woken]
        for one in self._workers.values():
            if one.restart_at_s is None:
                watched.append(one.process.sentinel)
                if not one.is_ready:
                    watched.append(one.said)
        return watched

    def _look(self) -> None:
        now_s = time.monotonic()
        for number, worker in tuple(self._workers.items()):
            if self._signals:
                return
            self._listen(worker)
            if worker.restart_at_s is not None:
                if now_s >= worker.restart_at_s:
                    fresh = self._workers[number] = self._spawn(number)
                    # kept, so that the delay continues to double
                    fresh.failed_starts = worker.failed_starts
            elif not worker.process.is_alive():
                self._schedule_restart(number, worker, now_s)

    def _listen(self, worker: _Worker) -> None:
        with suppress(EOFError, OSError):
            if not worker.is_ready and worker.said.poll():
                reason: str = worker.said.recv()
                if reason:
                    self._reason = reason.rstrip(".")
                else:
                    worker.is_ready = self._was_ready = True
                    worker.failed_starts = 0

    def _schedule_restart(self, number: int, worker: _Worker, now_s: float) -> None:
        """Log that a worker has died, and set when it is replaced."""
        if not worker.is_ready:
            worker.failed_starts += 1
            self._failed_starts += 1
        # the inner cap only keeps the power small
        delay_s = _FIRST_RESTART_DELAY_S * 2.0 ** min(max(0, worker.failed_starts - 1), 16)
        worker.restart_at_s = now_s + min(delay_s, _MAX_RESTART_DELAY_S)
        worker.said.close()
        self._log.error(
            "worker_died",
            worker=number,
            status=worker.process.exitcode,
            was_ready=worker.is_ready,
            reason=None if worker.is_ready else self._reason,
            restart_in_s=round(worker.restart_at_s - now_s, 1),
        )

    def _end(self) -> None:
        """Stop accepting, let the workers drain, and kill those that hang."""
        self._bound.close()
        until_s = time.monotonic() + self._settings.drain_timeout_s + _MORE_THAN_DRAIN_S
        # all are asked at once, so that they drain at the same time
        for worker in self._workers.values():
            worker.process.terminate()
        for number, worker in self._workers.items():
            worker.process.join(max(0.0, until_s - time.monotonic()))
            if worker.process.is_alive():
                self._log.error("worker_hangs", worker=number)
                worker.process.kill()
                worker.process.join()

    def _spawn(self, number: int) -> _Worker:
        said, says = self._context.Pipe(duplex=False)
        peers = self._mailboxes[number] if self._mailboxes else None
        process = self._context.Process(
            target=self._run_worker,
            args=(self._settings, self._bound, number, says, peers),
            name=f"devflow-{number}",
        )
        process.start()
        # the worker has its own end; while ours is open, its death would not close the pipe
        says.close()
        return _Worker(process, said)
