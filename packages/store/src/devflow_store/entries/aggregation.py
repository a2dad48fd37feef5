"""Adds up calls by group within the database, so that a report reads few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from devflow_core.dimensions import DIMENSION_BY_NAME, GROUPINGS, GroupBy
from devflow_core.errors import InvalidRequest
from devflow_core.summary import Histogram, Summary
from devflow_core.usage import Usage

from devflow_store.chain.times import to_us
from devflow_store.database.engine import SqlValue
from devflow_store.entries.queries import Source

_DAY_US = 86_400_000_000
_GROUP_COLUMNS = {
    name: f"l.{column}" if (column := DIMENSION_BY_NAME[name].column) else "s.day"
    for name in GROUPINGS
}
"""The column of each grouping; names in SQL come only from here."""
_TOKENS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_RETRY_COLUMNS = ("cost_pico", *_TOKENS)
_SUMS = {
    "requests": "is_final",
    "hits": "is_cache_hit",
    "attempts": "CASE WHEN number > 0 THEN 1 ELSE 0 END",
    "estimated_pico": "CASE WHEN cost_status IN (1, 3, 5) THEN cost_pico ELSE 0 END",
    "doubts": "CASE WHEN cost_status IN (4, 5) THEN 1 ELSE 0 END",
    "cost_pico": "cost_pico",
    **{name: name for name in _TOKENS},
    # grouping by is_final instead would have the database sort every call
    **{
        f"retry_{name}": f"CASE WHEN is_final = 1 THEN 0 ELSE {name} END" for name in _RETRY_COLUMNS
    },
}
"""The sums of a report, each with the SQL that computes it from a call."""

GroupKey = tuple[str, ...]
"""One value for each grouping, in the order they were asked for."""
Period = tuple[datetime | None, datetime | None]
"""The start (inclusive) and end (exclusive) of a period; None leaves a side open."""


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
    where, values = _where(period)
    found: dict[GroupKey, Summary] = {}
    for row in source.execute(_sums_sql(by, where), values):
        key = _group_key(by, row)
        found[key] = found.get(key, Summary()) + _summary_from_row(row[len(by) :])
    for name in ("ttft", "total") if with_times else ():
        counts: dict[GroupKey, dict[int, int]] = {}
        for row in source.execute(_times_sql(by, name, where), values):
            number, count = row[len(by) :]
            counts.setdefault(_group_key(by, row), {})[int(number)] = int(count)
        for key, ours in counts.items():
            found[key] = replace(found[key], **{name: Histogram(counts=ours)})
    return found


def _sums_sql(by: Sequence[str], where: str) -> str:
    inner = ", ".join(f"SUM({read}) AS {name}" for name, read in _SUMS.items())
    outer = ", ".join(f"SUM(s.{name})" for name in _SUMS)
    keys = _key_columns(by)
    return (
        f"SELECT {keys}, l.error, {outer} "  # noqa: S608 - constants
        f"FROM (SELECT labels, {_day_column(by)} AS day, {inner} "
        f"FROM calls WHERE {where} GROUP BY {_inner_columns(by)}) s "
        f"JOIN labels l ON l.id = s.labels GROUP BY {keys}, l.error"
    )


def _times_sql(by: Sequence[str], name: str, where: str) -> str:
    keys = _key_columns(by)
    return (
        f"SELECT {keys}, s.bucket, SUM(s.calls) "  # noqa: S608 - constants
        f"FROM (SELECT labels, {_day_column(by)} AS day, {name}_bucket AS bucket, "
        f"COUNT(*) AS calls FROM calls WHERE {where} AND {name}_bucket IS NOT NULL "
        f"GROUP BY {_inner_columns(by)}, 3) s "
        f"JOIN labels l ON l.id = s.labels GROUP BY {keys}, s.bucket"
    )


def _key_columns(by: Sequence[str]) -> str:
    return ", ".join(_GROUP_COLUMNS[name] for name in by)


def _inner_columns(by: Sequence[str]) -> str:
    """Return the columns of the inner grouping: the table is ordered by labels."""
    return "labels, 2" if "day" in by else "labels"


def _summary_from_row(row: tuple[Any, ...]) -> Summary:
    """Return a summary from one row of sums, which PostgreSQL returns as decimals."""
    error, *numbers = row
    sums = dict(zip(_SUMS, (int(one) for one in numbers), strict=True))
    requests = sums["requests"]
    return Summary(
        requests=requests,
        attempts=sums["attempts"],
        errors={error: requests} if error and requests else {},
        cache_hits=sums["hits"],
        usage=Usage(**{name: sums[name] for name in _TOKENS}),
        cost_pico=sums["cost_pico"],
        estimated_pico=sums["estimated_pico"],
        doubts=sums["doubts"],
        retry_pico=sums["retry_cost_pico"],
        retry_usage=Usage(**{name: sums[f"retry_{name}"] for name in _TOKENS}),
    )


def _day_column(by: Sequence[str]) -> str:
    return f"at_us / {_DAY_US}" if "day" in by else "0"


def _group_key(by: Sequence[str], row: tuple[Any, ...]) -> GroupKey:
    return tuple(
        _iso_date(value) if name == "day" else str(value)
        for name, value in zip(by, row[: len(by)], strict=True)
    )


def _iso_date(days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=int(days))).isoformat()


def _where(period: Period) -> tuple[str, list[SqlValue]]:
    conditions, values = ["1 = 1"], list[SqlValue]()
    for condition, at in zip(("at_us >= ?", "at_us < ?"), period, strict=True):
        if at is not None:
            conditions.append(condition)
            values.append(to_us(at))
    return " AND ".join(conditions), values
