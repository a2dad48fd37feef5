"""Builds the writes of every request, as jobs for the writer: begin, close, confirm."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from devflow_core.errors import NotFound
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.usage import to_pico

from devflow_store.budgets.alerts import Alert
from devflow_store.budgets.reservations import BudgetReservations
from devflow_store.chain.origin import LedgerOrigin, OriginGuard
from devflow_store.chain.records import (
    Correction,
    RowKind,
    StartRecord,
    decode_start,
    encode_record,
    to_us,
)
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.database.insert import Insert
from devflow_store.entries import queries
from devflow_store.entries.call_rows import replace_calls, write_calls
from devflow_store.entries.day_sums import replacing
from devflow_store.entries.doubts import find_doubts

PROCESS_LOST = "process_lost"
"""The error code of an entry whose process died; its cost is the worst case until reconciled."""

Alerts = tuple[Alert, ...]
"""The alerts that a job has caused; empty if none."""
_OPEN_ATTEMPTS = Insert("open_attempts", ("attempt_id", "entry_id", "seq", "owner"))


class EntryRecorder:
    """Writes entries to the chain, the reports' table and the budgets.

    Args:
        reservations: the budgets' reservations.
        owner: the id of this process among those that share the ledger.
        origin: the upstream of all calls, which the first one notes; None: they may go anywhere.
    """

    def __init__(
        self, reservations: BudgetReservations, owner: str, origin: LedgerOrigin | None = None
    ) -> None:
        self.reservations = reservations
        self._owner = owner
        self._guard = OriginGuard(origin)

    def begin(
        self,
        start: AttemptStart,
        ended: tuple[Attempt, ...],
        check: Callable[[Transaction], None] | None = None,
    ) -> WriteJob[None]:
        """Return the job that writes the start of an attempt, with its reservation.

        The job raises what `BudgetReservations.reserve`, `OriginGuard.check` and `check` raise;
        then nothing is written.

        Args:
            start: the attempt.
            ended: earlier attempts of the same request that have ended.
            check: raises if the attempt may not be sent after all.

        Raises:
            InvalidRequest: a label cannot be encoded.
        """
        body = encode_record(StartRecord(start=start, ended=ended))
        at_us = to_us(start.started_at)

        def run(tx: Transaction) -> None:
            if not self._guard.is_noted:
                self._guard.check(tx)
            if check is not None:
                check(tx)
            if ended:
                self.reservations.release_unused(tx, start.entry_id, ended)
            self.reservations.reserve(tx, start, at_us)
            if not self._guard.is_noted:
                self._guard.note(tx)
            seq = tx.append(RowKind.START, start.attempt_id, body, at_us=at_us)
            row = (start.attempt_id, start.entry_id, seq, self._owner)
            tx.insert(_OPEN_ATTEMPTS, row)

        return WriteJob(run, start.attempt_id)

    def close(self, entry: LedgerEntry) -> WriteJob[Alerts]:
        """Return the job that writes the entry of a request and settles its budgets.

        Its result is the alerts due. An entry that was written before is left unchanged, unless it
        was written off as lost: then this one replaces it.

        Raises:
            InvalidRequest: a label cannot be encoded.
        """
        body = encode_record(entry)

        def run(tx: Transaction) -> Alerts:
            return self.write_entry(tx, entry, body)

        def recover(tx: Transaction) -> Alerts:
            found = queries.find_entry(tx, entry.entry_id)
            if (
                found is None
                or found[1].error_code != PROCESS_LOST
                or entry.error_code == PROCESS_LOST
            ):
                return ()
            return self._replace_lost(tx, *found, entry)

        return WriteJob(run, entry.entry_id, recover)

    def write_entry(self, tx: Transaction, entry: LedgerEntry, body: bytes) -> Alerts:
        """Append an entry, write everything derived from it, and return the alerts due."""
        seq = tx.append(RowKind.ENTRY, entry.entry_id, body, at_us=to_us(entry.started_at))
        write_calls(tx, seq, entry)
        tx.delete("open_attempts", "entry_id", entry.entry_id)
        return (*self.reservations.settle(tx, entry), *find_doubts(entry))

    def confirm(self, correction: Correction) -> WriteJob[Alerts]:
        """Return the job that writes the final cost of an attempt; its result is the alerts due.

        The job raises `NotFound` if no closed request has this attempt, and writes nothing if
        nothing would change.
        """
        body = encode_record(correction)

        def run(tx: Transaction) -> Alerts:
            tx.flush()
            seq, old = _find_entry(tx, correction.attempt_id)
            new = queries.apply_correction(old, correction)
            if new == old:
                return ()
            tx.append(RowKind.CORRECTION, f"{correction.attempt_id}/{tx.seq + 1}", body, ref=seq)
            known = {one.attempt_id for one in find_doubts(old)}
            doubts = (one for one in find_doubts(new) if one.attempt_id not in known)
            return (*self._apply_change(tx, seq, old, new), *doubts)

        return WriteJob(run)

    def _replace_lost(
        self, tx: Transaction, seq: int, old: LedgerEntry, new: LedgerEntry
    ) -> Alerts:
        """Replace the entry of a request that was written off as lost but has ended after all."""
        tx.append(RowKind.REPLACEMENT, f"{new.entry_id}/true", encode_record(new), ref=seq)
        return (*self._apply_change(tx, seq, old, new), *find_doubts(new))

    def _apply_change(
        self, tx: Transaction, seq: int, old: LedgerEntry, new: LedgerEntry
    ) -> Alerts:
        with replacing(tx, seq):
            replace_calls(tx, seq, old, new)
        touched = set[tuple[str, str, int]]()
        for entry, sign in ((old, -1), (new, 1)):
            for attempt in entry.attempts:
                touched |= self.reservations.charge(
                    tx, entry, attempt, sign * to_pico(attempt.cost_usd)
                )
        return self.reservations.collect_alerts(touched)


def build_lost_entry(starts: list[StartRecord]) -> LedgerEntry:
    """Return the entry of a request whose process died, from the starts of its attempts.

    Every attempt without an end counts as billed at its worst case (0 if that is unknown), until it
    is reconciled.
    """
    first, last = starts[0].start, starts[-1].start
    ended = {attempt.attempt_id: attempt for one in starts for attempt in one.ended}
    return LedgerEntry(
        entry_id=first.entry_id,
        started_at=first.started_at,
        requested_model=first.model,
        outcome="failed",
        attempts=tuple(
            ended.get(one.start.attempt_id) or _build_lost_attempt(one.start) for one in starts
        ),
        task_type=last.task_type,
        complexity="",
        attribution=last.attribution,
        error_code=PROCESS_LOST,
    )


def _build_lost_attempt(start: AttemptStart) -> Attempt:
    return Attempt(
        attempt_id=start.attempt_id,
        number=start.number,
        model=start.model,
        started_at=start.started_at,
        outcome="failed",
        cost_status="estimated",
        cost_usd=start.reserved_usd or Decimal(0),
        error_code=PROCESS_LOST,
        key_id=start.key_id,
        reserved_usd=start.reserved_usd,
    )


def _find_entry(tx: Transaction, attempt_id: str) -> tuple[int, LedgerEntry]:
    rows = tx.execute(
        "SELECT body FROM chain WHERE key = ? AND kind = ? AND body IS NOT NULL",
        (attempt_id, RowKind.START),
    )
    entry_id = decode_start(rows[0][0]).start.entry_id if rows else attempt_id
    found = queries.find_entry(tx, entry_id)
    if found is None:
        raise NotFound(f"The ledger has no closed request with the attempt {attempt_id}.")
    return found
