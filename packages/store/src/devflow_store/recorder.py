"""The writes of every request, as jobs for the writer: begin, close, confirm."""

from __future__ import annotations

from decimal import Decimal

from devflow_core.errors import NotFound
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.usage import to_pico

from devflow_store.budgets.budget import BudgetAlert
from devflow_store.budgets.reservations import Desk
from devflow_store.chain.records import Begun, Correction, Kind, decode_begun, encode, to_us
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import Job
from devflow_store.entries import reading
from devflow_store.entries.call_rows import replace_calls, write_calls

LOST = "process_lost"
"""Error code of an entry whose process died: closed at the reserved maximum, to be reconciled."""

Alerts = tuple[BudgetAlert, ...]
_OPEN_COLUMNS = ("attempt_id", "entry_id", "seq", "owner")


class Bookkeeping:
    """Writes to the chain, and with it to the reports' table and to the budgets.

    Args:
        desk: the budgets.
        owner: the id of this process among those that share the ledger.
    """

    def __init__(self, desk: Desk, owner: str) -> None:
        self.desk = desk
        self._owner = owner

    def begin(self, start: AttemptStart, ended: tuple[Attempt, ...]) -> Job[None]:
        """The row of an attempt that is about to be sent, with its reservation."""
        body = encode(Begun(start=start, ended=ended))
        at_us = to_us(start.started_at)

        def run(tx: Transaction) -> None:
            if ended:
                self.desk.shrink(tx, start.entry_id, ended)
            self.desk.reserve(tx, start)
            seq = tx.append(Kind.START, start.attempt_id, body, at_us=at_us)
            row = (start.attempt_id, start.entry_id, seq, self._owner)
            tx.insert("open_attempts", _OPEN_COLUMNS, row)

        return Job(run, start.attempt_id)

    def close(self, entry: LedgerEntry) -> Job[Alerts]:
        """The entry of a request, with the end of each attempt and the settled budgets."""
        body = encode(entry)

        def run(tx: Transaction) -> Alerts:
            return self.write(tx, entry, body)

        def known(tx: Transaction) -> Alerts:
            found = reading.located(tx, entry.entry_id)
            if found is None or found[1].error_code != LOST or entry.error_code == LOST:
                return ()
            return self._replace(tx, *found, entry)

        return Job(run, entry.entry_id, known)

    def write(self, tx: Transaction, entry: LedgerEntry, body: bytes) -> Alerts:
        """Append an entry and everything that follows from it."""
        seq = tx.append(Kind.ENTRY, entry.entry_id, body, at_us=to_us(entry.started_at))
        write_calls(tx, seq, entry)
        tx.delete("open_attempts", "entry_id", entry.entry_id)
        return self.desk.settle(tx, entry)

    def confirm(self, correction: Correction) -> Job[Alerts]:
        """What an attempt has cost after all.

        Raises:
            NotFound: no closed request has such an attempt.
        """
        body = encode(correction)

        def run(tx: Transaction) -> Alerts:
            tx.flush()
            seq, old = _entry_of(tx, correction.attempt_id)
            new = reading.corrected(old, correction)
            if new == old:
                return ()
            tx.append(Kind.CORRECTION, f"{correction.attempt_id}/{tx.seq + 1}", body, ref=seq)
            return self._change(tx, seq, old, new)

        return Job(run)

    def _replace(self, tx: Transaction, seq: int, old: LedgerEntry, new: LedgerEntry) -> Alerts:
        """A request that was given up as lost has ended after all."""
        tx.append(Kind.REPLACEMENT, f"{new.entry_id}/true", encode(new), ref=seq)
        return self._change(tx, seq, old, new)

    def _change(self, tx: Transaction, seq: int, old: LedgerEntry, new: LedgerEntry) -> Alerts:
        replace_calls(tx, seq, old, new)
        touched = set[tuple[str, str, int]]()
        for entry, sign in ((old, -1), (new, 1)):
            for attempt in entry.attempts:
                touched |= self.desk.book(tx, entry, attempt, sign * to_pico(attempt.cost_usd))
        return self.desk.alerts(touched)


def lost_entry(begun: list[Begun]) -> LedgerEntry:
    """The entry of a request whose process died, from the starts of its attempts.

    Every attempt without an end counts as billed at the reserved maximum, until it is reconciled.
    """
    first, last = begun[0].start, begun[-1].start
    ended = {attempt.attempt_id: attempt for one in begun for attempt in one.ended}
    return LedgerEntry(
        entry_id=first.entry_id,
        started_at=first.started_at,
        requested_model=first.model,
        outcome="failed",
        attempts=tuple(
            ended.get(one.start.attempt_id) or _lost_attempt(one.start) for one in begun
        ),
        task_type=last.task_type,
        complexity="",
        attribution=last.attribution,
        error_code=LOST,
    )


def _lost_attempt(start: AttemptStart) -> Attempt:
    return Attempt(
        attempt_id=start.attempt_id,
        number=start.number,
        model=start.model,
        started_at=start.started_at,
        outcome="failed",
        cost_status="estimated",
        cost_usd=start.reserved_usd or Decimal(0),
        error_code=LOST,
        key_id=start.key_id,
        reserved_usd=start.reserved_usd,
    )


def _entry_of(tx: Transaction, attempt_id: str) -> tuple[int, LedgerEntry]:
    rows = tx.execute(
        "SELECT body FROM chain WHERE key = ? AND kind = ? AND body IS NOT NULL",
        (attempt_id, Kind.START),
    )
    entry_id = decode_begun(rows[0][0]).start.entry_id if rows else attempt_id
    found = reading.located(tx, entry_id)
    if found is None:
        raise NotFound(f"The ledger has no closed request with the attempt {attempt_id}.")
    return found
