"""The two writes of every request, as jobs for the writer."""

from __future__ import annotations

from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry

from devflow_store.records import Begun, Kind, encode, to_us
from devflow_store.transaction import Transaction
from devflow_store.writer import Job


def begin_job(start: AttemptStart, ended: tuple[Attempt, ...]) -> Job[None]:
    """The row of an attempt that is about to be sent."""
    body = encode(Begun(start=start, ended=ended))
    at_us = to_us(start.started_at)

    def run(tx: Transaction) -> None:
        tx.append(Kind.START, start.attempt_id, body, at_us=at_us)

    return Job(run, start.attempt_id)


def close_job(entry: LedgerEntry) -> Job[None]:
    """The entry of a request, with the end of each of its attempts."""
    body = encode(entry)
    at_us = to_us(entry.started_at)

    def run(tx: Transaction) -> None:
        tx.append(Kind.ENTRY, entry.entry_id, body, at_us=at_us)

    return Job(run, entry.entry_id)
