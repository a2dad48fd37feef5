"""Tracks which processes are alive, and settles what dead ones left open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from devflow_store.chain.records import StartRecord, decode_start, encode_entry
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.idempotency import settle_claims
from devflow_store.processes import describe_this_process, has_ended
from devflow_store.recorder import Alerts, EntryRecorder, build_lost_entry

BEATS_PER_LEASE = 5
"""The signs of life per lease; a process that missed all but one of them is dead."""
_MAX_GAP_BEATS = 1.5
"""The most that one look adds to a silence: a process that was itself held up did not watch."""
_BEAT = (
    "INSERT INTO owners (owner, beats, process) VALUES (?, 1, ?) "
    "ON CONFLICT (owner) DO UPDATE SET beats = owners.beats + 1"
)
_GONE_OWNERS = (
    "SELECT owner FROM (SELECT owner FROM open_attempts UNION "
    "SELECT owner FROM idempotency WHERE state = 'in flight') AS busy "
    "WHERE owner NOT IN (SELECT owner FROM owners)"
)


@dataclass(slots=True)
class _Watched:
    """Another process, as seen by this one."""

    beats: int
    silent_s: float = 0.0


class ProcessLeases:
    """Gives this process's signs of life, and settles what dead processes left open.

    A sign of life is a growing number, never a time: how long another process has been silent is
    measured here, by a monotonic clock. A process on this machine that has ended is known
    to be dead at once. A process that was only slow loses nothing: its own close replaces what was
    written for it.

    Args:
        owner: the id of this process.
        recorder: writes the entries of dead processes.
        lease_s: a process counts as dead after at most this long without a sign, in seconds.
        clock: monotonic seconds.
        process: as from `describe_this_process`; None determines it at the first sign.
    """

    def __init__(
        self,
        owner: str,
        recorder: EntryRecorder,
        *,
        lease_s: float,
        clock: Callable[[], float] = time.monotonic,
        process: str | None = None,
    ) -> None:
        self.interval_s = lease_s / BEATS_PER_LEASE
        """Seconds between two writes of `renew`."""
        self._owner = owner
        self._recorder = recorder
        self._clock = clock
        self._process = process
        self._watched: dict[str, _Watched] = {}
        self._looked_s = clock()

    def renew(self, *, is_leaving: bool = False) -> WriteJob[Alerts]:
        """Return a job that gives a sign of life and settles what dead processes left open.

        The job's result is the alerts of the entries written for them.

        Args:
            is_leaving: whether this process is ending; its open attempts are settled at once.
        """
        if self._process is None:
            self._process = describe_this_process()
        own = self._process

        def run(tx: Transaction) -> Alerts:
            tx.flush()
            if is_leaving:
                tx.execute("DELETE FROM owners WHERE owner = ?", (self._owner,))
            else:
                tx.execute(_BEAT, (self._owner, own))
            for owner in self._find_dead(tx, own):
                tx.execute("DELETE FROM owners WHERE owner = ?", (owner,))
            alerts: Alerts = ()
            for (owner,) in tx.execute(_GONE_OWNERS):
                settle_claims(tx, owner)
                for starts in _read_open(tx, owner):
                    entry = build_lost_entry(starts)
                    alerts += self._recorder.write_entry(tx, entry, encode_entry(entry))
            return alerts

        return WriteJob(run)

    def _find_dead(self, tx: Transaction, own: str) -> Iterator[str]:
        now_s = self._clock()
        gap_s = min(now_s - self._looked_s, _MAX_GAP_BEATS * self.interval_s)
        self._looked_s = now_s
        before, self._watched = self._watched, {}
        for owner, beats, process in tx.execute("SELECT owner, beats, process FROM owners"):
            if owner == self._owner:
                continue
            one = before.get(owner)
            if one is None or one.beats != beats:
                one = _Watched(beats)
            else:
                one.silent_s += gap_s
            self._watched[owner] = one
            is_silent = one.silent_s >= (BEATS_PER_LEASE - 1) * self.interval_s
            if is_silent or has_ended(process, own):
                yield owner


def _read_open(tx: Transaction, owner: str) -> Iterator[list[StartRecord]]:
    """Yield the starts of each open request of an owner, in the order they were made."""
    rows = tx.execute(
        "SELECT a.entry_id, c.body FROM open_attempts a JOIN chain c ON c.seq = a.seq "
        "WHERE a.owner = ? ORDER BY a.seq",
        (owner,),
    )
    by_entry: dict[str, list[StartRecord]] = {}
    for entry_id, body in rows:
        by_entry.setdefault(entry_id, []).append(decode_start(body))
    yield from by_entry.values()
