"""Adds up calls by group within the database, so that a report reads few rows.

Whole days are read from their sums (`day_sums`). What is later than those, and the parts of days at
the ends of a period, is read from the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from devflow_core.dimensions import DIMENSION_BY_NAME, GROUPINGS, GroupBy
from devflow_core.errors import InvalidRequest
from devflow_core.summary import Histogram, Summary
from devflow_core.usage import Usage

from devflow_store.chain.times import to_us
from devflow_store.database.engine import SqlValue
from devflow_store.entries.call_rows import TOKEN_COLUMNS
from devflow_store.entries.day_sums import (
    BUCKETS,
    DAY_US,
    SUMS,
    count_unsummed,
    unpack_histogram,
)
from devflow_store.entries.queries import Source

_GROUP_COLUMNS = {
    name: f"l.{column}" if (column := DIMENSION_BY_NAME[name].column) else "s.day"
    for name in GROUPINGS
}
"""The column of each grouping; names in SQL come only from here."""
_MAX_LOOKED_UP = 50_000
"""The most rows of the chain behind the sums whose calls are looked up one by one.

Of more, as in a ledger of an earlier version, the whole table is read in its order.
"""
_NO_USAGE, _NO_TIMES = Usage(), Histogram()

GroupKey = tuple[str, ...]
"""One value for each grouping, in the order they were asked for."""
Period = tuple[datetime | None, datetime | None]
"""The start (inclusive) and end (exclusive) of a period; None leaves a side open."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """A part of SQL that follows FROM, with the values of its conditions."""

    sql: str
    values: tuple[SqlValue, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sources:
    """The rows that hold a period: sums of whole days, and the calls that are not in them."""

    days: _Rows
    calls: tuple[_Rows, ...]


def aggregate(
    source: Source, by: Sequence[GroupBy], period: Period, *, with_times: bool = True
) -> dict[GroupKey, Summary]:
    """Return a summary for each combination of `by`; "" stands for an unknown value.

    Args:
        source: a reading connection.
        by: the groupings; a request's error is counted at its final attempt.
        period: start (inclusive) and end (exclusive) for when the calls began; None is open.
        with_times: whether to fill the histograms; leaving them empty saves half of the time.

    Returns:
        Summaries by key. A key has its values in the order of `by`; days are ISO dates in UTC.

    Raises:
        InvalidRequest: `by` is empty, or there is no such grouping.
    """
    unknown = [name for name in by if name not in _GROUP_COLUMNS]
    if unknown or not by:
        given = ", ".join(unknown) or "An empty list"
        raise InvalidRequest(f"{given} is not a grouping; use some of {', '.join(_GROUP_COLUMNS)}.")
    parts = _split(period, is_long=count_unsummed(source) > _MAX_LOOKED_UP)
    found: dict[GroupKey, Summary] = {}
    for row in source.execute(*_sums_query(by, parts)):
        key, summary = _group_key(by, row), _summary_from_row(row[len(by) :])
        found[key] = found[key] + summary if key in found else summary
    if with_times:
        for key, histograms in _read_times(source, by, parts).items():
            if key in found:  # a group whose first call was written in between is left out
                found[key] = replace(found[key], **histograms)
    return found


def _split(period: Period, *, is_long: bool) -> _Sources:
    """Return where the figures of a period are.

    Args:
        period: as of `aggregate`.
        is_long: whether the calls behind the sums are so many that an index would not help.
    """
    since, until = (None if at is None else to_us(at) for at in period)
    # a sign before a column keeps SQLite from using its index
    seq = "c.seq + 0" if is_long else "c.seq"
    conditions, values = _between("c.at_us", since, until)
    later = _Rows(
        f"calls c WHERE {seq} > (SELECT seq FROM summed){conditions}",  # noqa: S608 - constants
        values,
    )
    first = None if since is None else -(-since // DAY_US)
    last = None if until is None else until // DAY_US
    cut = {at // DAY_US for at in (since, until) if at is not None and at % DAY_US}
    in_days, day_values = _between("d.day", first, last)
    days = _Rows(f"day_sums d WHERE 1 = 1{in_days}", day_values)
    if not cut:
        return _Sources(days, (later,))
    edges = _Rows(
        "(SELECT labels, day, first_seq, last_seq FROM day_sums "  # noqa: S608 - constants
        f"WHERE day IN ({', '.join('?' * len(cut))})) d "
        "JOIN calls c ON c.labels = d.labels AND c.seq BETWEEN d.first_seq AND d.last_seq "
        f"WHERE c.at_us / {DAY_US} = d.day AND c.seq <= (SELECT seq FROM summed){conditions}",
        (*sorted(cut), *values),
    )
    return _Sources(days, (later, edges))


def _between(column: str, since: int | None, until: int | None) -> tuple[str, tuple[SqlValue, ...]]:
    """Return conditions for a column, each with AND before it, and their values."""
    given = [(f" AND {column} {sign} ?", at) for sign, at in ((">=", since), ("<", until))]
    known = [(sql, at) for sql, at in given if at is not None]
    return "".join(sql for sql, _at in known), tuple(at for _sql, at in known)


def _sums_query(by: Sequence[str], parts: _Sources) -> tuple[str, list[SqlValue]]:
    """Return one statement, so that all parts are of one moment, and its values."""
    columns = ", ".join(f"d.{name} AS {name}" for name in SUMS)
    sums = ", ".join(f"SUM({read})" for read in SUMS.values())
    selects = [f"SELECT d.labels AS labels, d.day AS day, {columns} FROM {parts.days.sql}"]  # noqa: S608 - constants
    day = f"c.at_us / {DAY_US}"
    selects += [
        f"SELECT c.labels, {day}, {sums} FROM {part.sql} GROUP BY c.labels, {day}"  # noqa: S608 - constants
        for part in parts.calls
    ]
    keys = ", ".join(_GROUP_COLUMNS[name] for name in by)
    outer = ", ".join(f"SUM(s.{name})" for name in SUMS)
    sql = (
        f"SELECT {keys}, l.error, {outer} FROM ({' UNION ALL '.join(selects)}) s "  # noqa: S608 - constants
        f"JOIN labels l ON l.id = s.labels GROUP BY {keys}, l.error"
    )
    return sql, [value for part in (parts.days, *parts.calls) for value in part.values]


def _read_times(
    source: Source, by: Sequence[str], parts: _Sources
) -> dict[GroupKey, dict[str, Histogram]]:
    packed: list[dict[GroupKey, list[bytes]]] = [{} for _ in BUCKETS]
    counted: list[dict[GroupKey, dict[int, int]]] = [{} for _ in BUCKETS]
    for row in source.execute(*_times_query(by, parts)):
        key = _group_key(by, row)
        which, bucket, count, *histograms = row[len(by) :]
        if which is None:  # the sums of a day
            for lists, one in zip(packed, histograms, strict=True):
                lists.setdefault(key, []).append(one)
        else:
            counts = counted[int(which)].setdefault(key, {})
            counts[bucket] = counts.get(bucket, 0) + int(count)
    found: dict[GroupKey, dict[str, Histogram]] = {}
    for name, lists, more in zip(BUCKETS, packed, counted, strict=True):
        for key in lists.keys() | more.keys():
            kept = Histogram(counts=unpack_histogram(b"".join(lists.get(key, ()))))
            later = more.get(key)
            histogram = kept + Histogram(counts=later) if later else kept
            found.setdefault(key, {})[name] = histogram
    return found


def _times_query(by: Sequence[str], parts: _Sources) -> tuple[str, list[SqlValue]]:
    """Return a statement for packed histograms of days, and for buckets of calls with counts."""
    keys = ", ".join(_GROUP_COLUMNS[name] for name in by)
    selects = [
        f"SELECT d.labels AS labels, d.day AS day, NULL AS which, NULL AS bucket, NULL AS calls, "  # noqa: S608 - constants
        f"d.ttft AS ttft, d.total AS total FROM {parts.days.sql}"
    ]
    values = list(parts.days.values)
    for which, name in enumerate(BUCKETS):
        for part in parts.calls:
            selects.append(
                f"SELECT c.labels, c.at_us / {DAY_US}, {which}, c.{name}_bucket, COUNT(*), "  # noqa: S608 - constants
                f"NULL, NULL FROM {part.sql} AND c.{name}_bucket IS NOT NULL "
                f"GROUP BY c.labels, c.at_us / {DAY_US}, c.{name}_bucket"
            )
            values += part.values
    sql = (
        f"SELECT {keys}, s.which, s.bucket, s.calls, s.ttft, s.total "  # noqa: S608 - constants
        f"FROM ({' UNION ALL '.join(selects)}) s JOIN labels l ON l.id = s.labels"
    )
    return sql, values


def _summary_from_row(row: tuple[Any, ...]) -> Summary:
    """Return a summary from one row of sums, which PostgreSQL returns as decimals."""
    error = row[0]
    requests, hits, attempts, estimated, doubts, cost, *tokens = [int(one) for one in row[1:]]
    count = len(TOKEN_COLUMNS)
    retry_pico, *retry_tokens = tokens[count:]
    return Summary(
        requests=requests,
        attempts=attempts,
        errors={error: requests} if error and requests else {},
        cache_hits=hits,
        usage=_to_usage(tokens[:count]),
        cost_pico=cost,
        estimated_pico=estimated,
        doubts=doubts,
        retry_pico=retry_pico,
        retry_usage=_to_usage(retry_tokens) if any(retry_tokens) else _NO_USAGE,
        ttft=_NO_TIMES,  # shared: making them anew would take a third of the time
        total=_NO_TIMES,
    )


def _to_usage(tokens: Sequence[int]) -> Usage:
    """Return the counts, given in the order of `TOKEN_COLUMNS`."""
    given, read, written, written_1h, output, reasoning = tokens
    return Usage(
        input_tokens=given,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )


def _group_key(by: Sequence[str], row: tuple[Any, ...]) -> GroupKey:
    key = row[: len(by)]
    if "day" not in by:
        return key
    return tuple(
        _iso_date(value) if name == "day" else value for name, value in zip(by, key, strict=True)
    )


@lru_cache(maxsize=1024)
def _iso_date(days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
