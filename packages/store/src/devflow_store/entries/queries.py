"""Reads entries back, with later corrections applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from devflow_core.estimates import find_confirmed_doubt
from devflow_core.ledger import OBSERVED, RESERVED, Attempt, AttemptStart, LedgerEntry

from devflow_store.chain.records import (
    Correction,
    RowKind,
    decode_correction,
    decode_entry,
    decode_start,
    from_us,
    to_us,
)
from devflow_store.database.engine import Rows, SqlValue

PAGE_ROWS = 1_000
"""The rows per query; between queries a reader holds no transaction while its caller works."""


class Source(Protocol):
    """The connection or transaction that rows are read from."""

    def execute(self, sql: str, values: Sequence[SqlValue] = (), /) -> Rows:
        """Run a statement and return its rows (`Session.execute`)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Selects the entries that match every field that is set."""

    since: datetime | None = None
    """The start of the period in which the request arrived, inclusive."""
    until: datetime | None = None
    """The end of the period in which the request arrived, exclusive."""
    session_id: str | None = None
    project: str | None = None


def read_entries(session: Source, selection: EntryFilter) -> Iterator[LedgerEntry]:
    """Yield matching entries in the order they were written, without erased ones."""
    return (one for _seq, one in read_numbered(session, selection))


def read_numbered(session: Source, selection: EntryFilter) -> Iterator[tuple[int, LedgerEntry]]:
    """Yield the row number and the entry of each match, in the order they were written."""
    last = 0
    while True:
        page = session.execute(
            "SELECT seq, body FROM chain WHERE seq > ? AND kind = ? AND at_us >= ? AND at_us < ? "
            "AND body IS NOT NULL ORDER BY seq LIMIT ?",
            (last, RowKind.ENTRY, *_time_range(selection), PAGE_ROWS),
        )
        if not page:
            return
        for seq, one in _load_current(session, page).items():
            if _matches(one, selection):
                yield seq, one
        last = page[-1][0]


def read_entry(session: Source, entry_id: str) -> LedgerEntry | None:
    """Return one entry; None if there is none with this id, or it was erased."""
    found = find_entry(session, entry_id)
    return found[1] if found else None


def find_entry(session: Source, entry_id: str) -> tuple[int, LedgerEntry] | None:
    """Return the row number and the entry with this id, with later corrections applied.

    None if the id is unknown, or the entry was erased.
    """
    rows = session.execute(
        "SELECT seq, body FROM chain WHERE key = ? AND kind = ? AND body IS NOT NULL",
        (entry_id, RowKind.ENTRY),
    )
    return next(iter(_load_current(session, rows).items())) if rows else None


def apply_correction(entry: LedgerEntry, correction: Correction) -> LedgerEntry:
    """Return the entry with the final cost of one of its attempts.

    The attempt becomes `settled`, or `observed` if the figure is our own. An entry without this
    attempt is returned unchanged.
    """
    attempts = tuple(
        _settle_attempt(attempt, correction)
        if attempt.attempt_id == correction.attempt_id
        else attempt
        for attempt in entry.attempts
    )
    return replace(entry, attempts=attempts)


def _settle_attempt(attempt: Attempt, correction: Correction) -> Attempt:
    is_confirmed = correction.source not in (OBSERVED, RESERVED)
    doubt = find_confirmed_doubt(correction.cost_usd, attempt.reserved_usd)
    return replace(
        attempt,
        cost_status="settled" if is_confirmed else "observed",
        cost_usd=correction.cost_usd,
        cost_text=correction.cost_text,
        cost_source=correction.source,
        cost_doubt=attempt.cost_doubt or doubt,
        observed_usd=None if is_confirmed else attempt.observed_usd,
        usage=correction.usage or attempt.usage,
        is_usage_estimated=attempt.is_usage_estimated and correction.usage is None,
        provider=correction.provider or attempt.provider,
        generation_id=correction.generation_id or attempt.generation_id,
    )


def load_newest(session: Source, numbers: Sequence[int]) -> list[LedgerEntry]:
    """Return the entries of these rows of the chain, in their order; erased ones are left out."""
    if not numbers:
        return []
    rows = session.execute(
        "SELECT seq, body FROM chain "  # noqa: S608 - constants
        f"WHERE seq IN ({', '.join('?' * len(numbers))}) AND body IS NOT NULL ORDER BY seq",
        numbers,
    )
    found = _load_current(session, rows) if rows else {}
    return [found[seq] for seq in numbers if seq in found]


def read_latest(session: Source, since: datetime, limit: int) -> list[LedgerEntry]:
    """Return the latest entries that arrived since a time, at most `limit`, oldest first."""
    rows = session.execute(
        f"SELECT seq FROM chain WHERE kind = {RowKind.ENTRY:d} AND at_us >= ? "  # noqa: S608 - constants
        "ORDER BY at_us DESC, seq DESC LIMIT ?",
        (to_us(since), limit),
    )
    return load_newest(session, [seq for (seq,) in reversed(rows)])


def _load_current(session: Source, page: Rows) -> dict[int, LedgerEntry]:
    """Return the entries of `(seq, body)` rows with corrections applied, by row number."""
    found = {seq: decode_entry(body) for seq, body in page}
    later = session.execute(
        "SELECT ref, kind, body FROM chain WHERE ref BETWEEN ? AND ? AND body IS NOT NULL "
        "ORDER BY seq",
        (page[0][0], page[-1][0]),
    )
    for ref, kind, body in later:
        if ref not in found:
            continue
        if kind == RowKind.REPLACEMENT:
            found[ref] = decode_entry(body)
        else:
            found[ref] = apply_correction(found[ref], decode_correction(body))
    return found


def _matches(entry: LedgerEntry, selection: EntryFilter) -> bool:
    attribution = entry.attribution
    return selection.session_id in (None, attribution.session_id) and selection.project in (
        None,
        attribution.project,
    )


def _time_range(selection: EntryFilter) -> tuple[SqlValue, SqlValue]:
    # 2**62 µs lies beyond every date, and fits in the 64 bits of a column
    since = to_us(selection.since) if selection.since else -(2**62)
    until = to_us(selection.until) if selection.until else 2**62
    return since, until


def read_unconfirmed(source: Source, limit: int) -> list[tuple[LedgerEntry, Attempt]]:
    """Return up to `limit` attempts of estimated cost, each with its entry, oldest first."""
    rows = source.execute(
        "SELECT c.key, k.number FROM calls k JOIN chain c ON c.seq = k.seq "
        "WHERE k.cost_status = 1 AND c.body IS NOT NULL ORDER BY k.at_us LIMIT ?",
        (limit,),
    )
    found: list[tuple[LedgerEntry, Attempt]] = []
    for entry_id, number in rows:
        one = read_entry(source, entry_id)
        attempts = one.attempts if one else ()
        found += [(one, attempt) for attempt in attempts if one and attempt.number == number]
    return found


def read_latest_start(source: Source) -> datetime | None:
    """Return when the latest attempt began, in UTC; None without any."""
    # they are written in about the order in which they begin
    rows = source.execute(
        "SELECT at_us FROM chain WHERE kind = ? ORDER BY seq DESC LIMIT 100", (RowKind.START,)
    )
    return from_us(max(at_us for (at_us,) in rows)) if rows else None


def read_running(source: Source, limit: int) -> list[AttemptStart]:
    """Return the latest attempt of each request that is not closed, the oldest request first.

    Only the `limit` oldest attempts of such requests are looked at.
    """
    rows = source.execute(
        "SELECT c.body FROM open_attempts a JOIN chain c ON c.seq = a.seq ORDER BY a.seq LIMIT ?",
        (limit,),
    )
    starts = (decode_start(bytes(body)).start for (body,) in rows)
    # an attempt that failed stays open with its request
    return list({start.entry_id: start for start in starts}.values())


def read_under_way_since(source: Source) -> datetime | None:
    """Return when the oldest attempt of an open request began, in UTC; None if all are closed."""
    ((at_us,),) = source.execute(
        "SELECT MIN(c.at_us) FROM open_attempts a JOIN chain c ON c.seq = a.seq"
    )
    return None if at_us is None else from_us(at_us)
