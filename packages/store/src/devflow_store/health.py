"""Holds the health of a ledger: its state, as the writer finds it, and counters for metrics."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from enum import StrEnum
from operator import attrgetter
from threading import Lock
from typing import NamedTuple

import structlog
from devflow_core.errors import LedgerCorrupt, StoreError

RETRY_AFTER_S = 1.0
"""Seconds after which a client should retry; the ledger has been tried again by then."""
COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets for commit times."""


class LedgerState(StrEnum):
    """Whether the ledger can be written, and if not, why; docs/ledger.md explains each state."""

    READY = "ready"
    LOCKED = "locked"
    """Another process holds the writers' lock."""
    FULL = "full"
    """The disk or the user's quota is full."""
    READ_ONLY = "read_only"
    VANISHED = "vanished"
    """The file, its log, its folder or its tables are gone."""
    REPLACED = "replaced"
    """Another ledger, or an older copy, is in its place."""
    DAMAGED = "damaged"
    """Shrunk, zeroed, or different from what was written."""
    UNREACHABLE = "unreachable"
    """The server does not answer, or the disk fails."""
    SILENT = "silent"
    """A write has not returned, for an unknown reason."""


class Step(NamedTuple):
    """A step of the writer, with the time that it may take."""

    name: str
    reported_after_s: float
    """Seconds after which the ledger is reported as not ready."""
    refused_after_s: float
    """Seconds after which new writes are refused, and waiting callers get an error."""


# A state has to be reported within a second: 0.4 s of waiting, 0.1 s until the watch looks, and as
# much again for a busy machine. Below 5 s, 32 writers that take turns at PostgreSQL were sent away.
BEGIN = Step("begin", 0.4, 5.0)
"""Opening the connection and getting the lock."""
WORK = Step("work", 10.0, 10.0)
"""Running statements: erasing a year of rows takes long, and is not a fault."""
COMMIT = Step("commit", 0.4, 5.0)
"""Writing to the disk."""


_get_reported_after_s = attrgetter("reported_after_s")
_get_refused_after_s = attrgetter("refused_after_s")


class LedgerUnavailable(StoreError):
    """The ledger cannot be used at present; trying the next job at once is useless."""

    def __init__(self, message: str, state: LedgerState) -> None:
        super().__init__(message, retry_after_s=RETRY_AFTER_S)
        self.state = state


class LedgerHealth:
    """The state of a ledger as its writer finds it; reading it costs nothing.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._problem: tuple[LedgerState, str] | None = None
        self._is_corrupt = False
        """Whether the problem is one that waiting cannot end."""
        self._step: tuple[Step, float] | None = None
        self._logged = LedgerState.READY
        self._lock = Lock()
        self.waits_for_lock: Callable[[], bool] = lambda: False
        """Returns whether the writer is waiting for another process."""
        self.proven_at_s = clock()
        """When a row was last known to have reached the disk, on the monotonic clock."""
        self.commits = 0
        self.commit_s = 0.0
        """The total time of all commits, in seconds."""
        self.bucket_bounds_s = COMMIT_BUCKETS_S
        self.commit_buckets = [0] * (len(COMMIT_BUCKETS_S) + 1)
        """Commits per bucket of `COMMIT_BUCKETS_S`, not cumulative; the last is for longer ones."""
        self.failures: dict[LedgerState, int] = dict.fromkeys(LedgerState, 0)
        """The number of writes that found each state."""

    def current(self) -> tuple[LedgerState, str]:
        """Return the state now, and a sentence about it, which is empty if all is well."""
        return self._problem or self._find_wait(_get_reported_after_s) or (LedgerState.READY, "")

    def refusal(self, *, is_read: bool = False) -> StoreError | None:
        """Return why nothing may be written now; None if it may be tried.

        Args:
            is_read: whether the job only reads, which a full disk does not prevent.
        """
        if self._problem is None and self._step is None:
            return None
        problem = self._problem or self._find_wait(_get_refused_after_s)
        if problem is None or (is_read and problem[0] is LedgerState.FULL):
            return None
        state, message = problem
        if self._problem is None or not self._is_corrupt:
            return LedgerUnavailable(message, state)
        error = LedgerCorrupt(message)
        error.state = state
        return error

    def is_stuck(self) -> bool:
        """Return whether the step under way has taken longer than its `refused_after_s`."""
        return self._find_wait(_get_refused_after_s) is not None

    def start_step(self, step: Step) -> None:
        """Note that the writer begins a step now."""
        self._step = (step, self._clock())

    def end_steps(self) -> None:
        """Note that the writer is idle."""
        self._step = None

    def note_commit(self, *, is_proof: bool) -> None:
        """Note a durable commit.

        Args:
            is_proof: whether it wrote anything, which proves that writing works.
        """
        now_s = self._clock()
        taken_s = now_s - self._step[1] if self._step else 0.0
        self.commits += 1
        self.commit_s += taken_s
        self.commit_buckets[bisect_left(COMMIT_BUCKETS_S, taken_s)] += 1
        if is_proof:
            self.proven_at_s, self._problem = now_s, None
            if self._logged is not LedgerState.READY:
                self.log_change()

    def note_failure(self, error: StoreError) -> None:
        """Note a failed write, if its error names a state of the ledger."""
        if error.state is None:
            return
        state = LedgerState(error.state)
        self.failures[state] += 1
        self._problem, self._is_corrupt = (state, error.message), isinstance(error, LedgerCorrupt)
        self.log_change()

    def log_change(self) -> None:
        """Log the state if it differs from the one logged last."""
        with self._lock:
            state, message = self.current()
            former, self._logged = self._logged, state
        if state is former:
            return
        log = structlog.get_logger("devflow.ledger")
        if state is LedgerState.READY:
            log.warning("ledger_ready", after=former.value)
        else:
            log.error("ledger_not_ready", state=state.value, reason=message, after=former.value)

    def _find_wait(self, limit_s: Callable[[Step], float]) -> tuple[LedgerState, str] | None:
        """Return the state that follows from waiting longer than a step's limit; None otherwise."""
        step = self._step
        if step is None or (waited_s := self._clock() - step[1]) < limit_s(step[0]):
            return None
        if step[0] is BEGIN and self.waits_for_lock():
            held = f"Another process has held the lock of the ledger for {waited_s:.1f} s."
            return LedgerState.LOCKED, f"{held} It goes on by itself once that is over."
        return LedgerState.SILENT, f"The ledger has not answered for {waited_s:.1f} s."
