"""Keeps the sums of each day and its labels, so that a report reads few rows.

They follow the table of calls in groups, up to a mark: writing a request does not touch them. What
changes a call behind the mark moves its figures in the same transaction.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.database.engine import Session, SqlValue
from devflow_store.database.insert import Insert
from devflow_store.entries.call_rows import TOKEN_COLUMNS
from devflow_store.entries.queries import Source

DAY_US = 86_400_000_000
SUMS_SINCE = 4
"""The schema version from which on there are sums."""
_RETRY_COLUMNS = ("cost_pico", *TOKEN_COLUMNS)
SUMS = {
    "requests": "is_final",
    "hits": "is_cache_hit",
    "attempts": "CASE WHEN number > 0 THEN 1 ELSE 0 END",
    "estimated_pico": "CASE WHEN cost_status IN (1, 3, 5) THEN cost_pico ELSE 0 END",
    "doubts": "CASE WHEN cost_status IN (4, 5) THEN 1 ELSE 0 END",
    "cost_pico": "cost_pico",
    **{name: name for name in TOKEN_COLUMNS},
    **{
        f"retry_{name}": f"CASE WHEN is_final = 1 THEN 0 ELSE {name} END" for name in _RETRY_COLUMNS
    },
}
"""The sums of a report, each with the SQL that computes it from a call."""
BUCKETS = ("ttft", "total")
"""The histograms; the bucket of a call is in the column with `_bucket` at its end."""
MAX_STEP = 4_000
"""The most rows of the chain that one transaction adds, in some ten milliseconds."""
_CHECKED_LABELS = 500
"""The labels whose sums are compared at once; more would need more memory."""
_MAX_ASKED = 256
"""The sums that one query asks for."""

_PAIR = struct.Struct("<BI")
_BOUNDS = ("first_seq", "last_seq", "max_pico")
_COLUMNS = ("labels", "day", *_BOUNDS, "calls", *SUMS, *BUCKETS)
_ROWS = Insert("day_sums", _COLUMNS, key=("labels", "day"), replaced=_COLUMNS[2:])
_READ_SUMS = ", ".join(f"SUM({read})" for read in SUMS.values())

_Place = tuple[int, int]
"""The labels and the day of sums, in days since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """The sums of calls; with the sign -1 added, they take the calls away again."""

    bounds: tuple[int, int, int] = (2**62, 0, 0)
    """The first and the last row of the chain, and the highest cost; they may be wider."""
    numbers: tuple[int, ...] = (0,) * (1 + len(SUMS))
    """How many calls there are, then the figures in the order of `SUMS`."""
    histograms: tuple[Mapping[int, int], ...] = ({}, {})

    @property
    def first(self) -> int:
        """The first row of the chain that a call may be of."""
        return self.bounds[0]

    def plus(self, other: _Sums, sign: int) -> _Sums:
        (first, last, most), (first2, last2, most2) = self.bounds, other.bounds
        return _Sums(
            bounds=(min(first, first2), max(last, last2), max(most, most2)),
            numbers=tuple([a + sign * b for a, b in zip(self.numbers, other.numbers, strict=True)]),
            histograms=tuple(
                _plus(a, b, sign) for a, b in zip(self.histograms, other.histograms, strict=True)
            ),
        )


def build_step_job(max_waiting: int = 0) -> WriteJob[bool]:
    """Return a job that adds the next calls to the sums; its result is whether to repeat it.

    Args:
        max_waiting: the rows of the chain that may be left; with so few the job does nothing.
    """

    def run(tx: Transaction) -> bool:
        mark = _read_mark(tx)
        if tx.seq - mark <= max_waiting:
            return False
        tx.flush()
        until = min(mark + MAX_STEP, tx.seq)
        _apply(tx, _read_calls(tx, "seq > ? AND seq <= ?", (mark, until)), 1)
        tx.execute("UPDATE summed SET seq = ?", (until,))
        return tx.seq - until > max_waiting

    return WriteJob(run)


def count_unsummed(source: Source) -> int:
    """Return how many rows of the chain the sums do not know yet."""
    rows = source.execute("SELECT (SELECT MAX(seq) FROM chain), seq FROM summed")
    ((head, mark),) = rows
    return (head or 0) - mark


def pack_histogram(counts: Mapping[int, int]) -> bytes:
    """Return a histogram's buckets, with how often each occurs, in order."""
    return b"".join([_PAIR.pack(*one) for one in sorted(counts.items())])


def unpack_histogram(packed: bytes) -> dict[int, int]:
    """Return the counts by bucket of one histogram, or the sum of several put one after another."""
    counts: dict[int, int] = {}
    for number, count in _PAIR.iter_unpack(packed):
        counts[number] = counts.get(number, 0) + count
    return counts


@contextmanager
def replacing(tx: Transaction, seq: int) -> Generator[None]:
    """Keep the sums right while the block replaces the calls of row `seq` of the chain."""
    tx.flush()
    is_summed = seq <= _read_mark(tx)
    before = _read_calls(tx, "seq = ?", (seq,)) if is_summed else {}
    yield
    if is_summed:
        tx.flush()
        _apply(tx, before, -1)
        _apply(tx, _read_calls(tx, "seq = ?", (seq,)), 1)


def relabel(tx: Transaction, old: int, new: int, until_us: int) -> None:
    """Move the figures of the calls that began before a time from some labels to others.

    The calls themselves must still have their old labels.

    Args:
        tx: the transaction that changes the calls as well.
        old: the id of their labels.
        new: the id that they get.
        until_us: in microseconds since 1970.
    """
    values = (old, until_us, _read_mark(tx))
    before = _read_calls(tx, "labels = ? AND at_us < ? AND seq <= ?", values)
    _apply(tx, before, -1)
    _apply(tx, {(new, day): sums for (_old, day), sums in before.items()}, 1)


def find_wrong_sums(session: Session) -> tuple[str, int] | None:
    """Return what is wrong with the sums, and the row of the chain it concerns; None if nothing is.

    The calls are taken as right. The session has to read one state, as after `freeze`.
    """
    since, last = -(2**63), 2**63 - 1
    while since <= last:
        ids = session.execute(
            "SELECT id FROM labels WHERE id >= ? ORDER BY id LIMIT ?", (since, _CHECKED_LABELS)
        )
        until = ids[-1][0] if len(ids) == _CHECKED_LABELS else last
        if fault := _compare(session, since, until):
            return fault
        since = until + 1
    return None


def _compare(session: Session, since: int, until: int) -> tuple[str, int] | None:
    """Compare the sums of a range of labels with their calls."""
    values = (since, until)
    rows = session.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM day_sums WHERE labels BETWEEN ? AND ?",  # noqa: S608 - constants
        values,
    )
    kept = {(labels, day): _from_row(row) for labels, day, *row in rows}
    true = _read_calls(
        session, "labels BETWEEN ? AND ? AND seq <= (SELECT seq FROM summed)", values
    )
    for place in sorted(kept.keys() | true.keys()):
        one, other = kept.get(place, _Sums()), true.get(place, _Sums())
        # the bounds of calls that were replaced stay as wide as they were
        if one != replace(other, bounds=one.plus(other, 1).bounds):
            return "the sums of reports are not those of its calls", min(one.first, other.first)
    return None


def _read_mark(source: Source) -> int:
    return int(source.execute("SELECT seq FROM summed")[0][0])


def _read_calls(source: Source, where: str, values: Sequence[SqlValue]) -> dict[_Place, _Sums]:
    """Return the sums of the calls that a condition selects."""
    day = f"at_us / {DAY_US}"
    rows = source.execute(
        f"SELECT labels, {day}, MIN(seq), MAX(seq), MAX(cost_pico), COUNT(*), {_READ_SUMS} "  # noqa: S608 - constants
        f"FROM calls WHERE {where} GROUP BY labels, {day}",
        values,
    )
    histograms: list[dict[_Place, dict[int, int]]] = []
    for name in BUCKETS:
        found: dict[_Place, dict[int, int]] = {}
        for labels, on, bucket, count in source.execute(
            f"SELECT labels, {day}, {name}_bucket, COUNT(*) FROM calls "  # noqa: S608 - constants
            f"WHERE {where} AND {name}_bucket IS NOT NULL GROUP BY labels, {day}, {name}_bucket",
            values,
        ):
            found.setdefault((labels, on), {})[bucket] = count
        histograms.append(found)
    return {
        (labels, on): _Sums(
            bounds=(first, last, most),
            numbers=tuple([int(one) for one in numbers]),
            histograms=tuple([one.get((labels, on), {}) for one in histograms]),
        )
        for labels, on, first, last, most, *numbers in rows
    }


def _apply(tx: Transaction, changes: Mapping[_Place, _Sums], sign: int) -> None:
    kept = _read_kept(tx, changes)
    for place, change in changes.items():
        sums = kept.get(place, _Sums()).plus(change, sign)
        if sums.numbers[0]:
            packed = (pack_histogram(one) for one in sums.histograms)
            tx.insert(_ROWS, (*place, *sums.bounds, *sums.numbers, *packed))
        else:
            tx.execute("DELETE FROM day_sums WHERE labels = ? AND day = ?", place)
    tx.flush()


def _read_kept(tx: Transaction, places: Iterable[_Place]) -> dict[_Place, _Sums]:
    """Return those of the sums that exist already."""
    by_day: dict[int, list[int]] = {}
    for labels, day in places:
        by_day.setdefault(day, []).append(labels)
    found: dict[_Place, _Sums] = {}
    for day, ids in by_day.items():
        for at in range(0, len(ids), _MAX_ASKED):
            some = ids[at : at + _MAX_ASKED]
            rows = tx.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM day_sums "  # noqa: S608 - constants
                f"WHERE day = ? AND labels IN ({', '.join('?' * len(some))})",
                (day, *some),
            )
            found.update(((labels, on), _from_row(row)) for labels, on, *row in rows)
    return found


def _from_row(row: Sequence[SqlValue]) -> _Sums:
    first, last, most, *numbers, ttft, total = row
    return _Sums(
        bounds=(first, last, most),  # type: ignore[arg-type]
        numbers=tuple(numbers),  # type: ignore[arg-type]
        histograms=(unpack_histogram(bytes(ttft)), unpack_histogram(bytes(total))),  # type: ignore[arg-type]
    )


def _plus(counts: Mapping[int, int], others: Mapping[int, int], sign: int) -> dict[int, int]:
    found = dict(counts)
    for number, count in others.items():
        found[number] = found.get(number, 0) + sign * count
    return {number: count for number, count in found.items() if count}
