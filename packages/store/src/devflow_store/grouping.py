"""Sums over many requests, made by the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from devflow_core.errors import InvalidRequest
from devflow_core.summary import GroupBy, Histogram, Summary
from devflow_core.usage import Usage

from devflow_store.engine import Value
from devflow_store.reading import Selection, Source
from devflow_store.records import to_us

_DAY_S = 86_400
_KEYS = {
    "model": "l.model",
    "provider": "l.provider",
    "task": "l.task",
    "session": "l.session",
    "project": "l.project",
    "branch": "l.branch",
    "agent": "l.agent",
    "key": "l.client_key",
    "node": "l.node",
    "error": "l.error",
    "day": "s.day",
}
"""What may be grouped by, and the column it is: names in SQL come from here alone."""
_SUMS = (
    "is_final",
    "is_cache_hit",
    "cost_pico",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
)


def groups(source: Source, by: GroupBy, selection: Selection) -> dict[str, Summary]:
    """A summary for each value of `by`; the key `""` holds what is not known.

    Args:
        source: a reading connection.
        by: what to group by; an error is counted at the attempt that decided.
        selection: which requests, by the time each attempt was started, in whole seconds.

    Raises:
        InvalidRequest: there is no such grouping.
    """
    if by not in _KEYS:
        raise InvalidRequest(f"{by!r} is no grouping; use one of {', '.join(_KEYS)}.")
    where, values = _where(selection)
    found: dict[str, Summary] = {}
    for row in source.execute(_sums_sql(by, where), values):
        key = _key(by, row[0])
        found[key] = found.get(key, Summary()) + _summary(row)
    for name in ("ttft", "total"):
        for key, counts in _histograms(source, by, name, (where, values)).items():
            found[key] = replace(found[key], **{name: Histogram(counts=counts)})
    return found


def _sums_sql(by: str, where: str) -> str:
    inner = ", ".join(f"SUM({column}) AS {column}" for column in _SUMS)
    outer = ", ".join(f"SUM(s.{column})" for column in _SUMS)
    return (
        f"SELECT {_KEYS[by]}, l.error, SUM(s.attempts), SUM(s.estimated_pico), {outer} "  # noqa: S608 - constants
        f"FROM (SELECT labels, {_day(by)} AS day, "
        "SUM(CASE WHEN number > 0 THEN 1 ELSE 0 END) AS attempts, "
        f"SUM(CASE WHEN cost_status = 1 THEN cost_pico ELSE 0 END) AS estimated_pico, {inner} "
        f"FROM calls WHERE {where} GROUP BY 1, 2) s JOIN labels l ON l.id = s.labels "
        f"GROUP BY {_KEYS[by]}, l.error"
    )


def _histograms(
    source: Source, by: str, name: str, condition: tuple[str, list[Value]]
) -> dict[str, dict[int, int]]:
    where, values = condition
    rows = source.execute(
        f"SELECT {_KEYS[by]}, s.bucket, SUM(s.n) FROM (SELECT labels, {_day(by)} AS day, "  # noqa: S608 - constants
        f"{name}_bucket AS bucket, COUNT(*) AS n FROM calls "
        f"WHERE {where} AND {name}_bucket IS NOT NULL GROUP BY 1, 2, 3) s "
        f"JOIN labels l ON l.id = s.labels GROUP BY {_KEYS[by]}, s.bucket",
        values,
    )
    found: dict[str, dict[int, int]] = {}
    for value, bucket, count in rows:
        found.setdefault(_key(by, value), {})[int(bucket)] = int(count)
    return found


def _summary(row: tuple[Any, ...]) -> Summary:
    """One row of the sums; PostgreSQL gives its sums as decimals."""
    _value, error, attempts, estimated_pico, requests, hits, cost_pico, *tokens = row
    read = [int(count) for count in tokens]
    return Summary(
        requests=int(requests),
        attempts=int(attempts),
        errors={error: int(requests)} if error and requests else {},
        cache_hits=int(hits),
        usage=Usage(
            input_tokens=read[0],
            cache_read_tokens=read[1],
            cache_write_tokens=read[2],
            cache_write_1h_tokens=read[3],
            output_tokens=read[4],
            reasoning_tokens=read[5],
        ),
        cost_pico=int(cost_pico),
        estimated_pico=int(estimated_pico),
    )


def _day(by: str) -> str:
    return f"at_s / {_DAY_S}" if by == "day" else "0"


def _key(by: str, value: Any) -> str:
    if by != "day":
        return str(value)
    return (date(1970, 1, 1) + timedelta(days=int(value))).isoformat()


def _where(selection: Selection) -> tuple[str, list[Value]]:
    parts, values = ["1 = 1"], list[Value]()
    for condition, at in (("at_s >= ?", selection.since), ("at_s < ?", selection.until)):
        if at is not None:
            parts.append(condition)
            values.append(_whole_s(at))
    for column, label in (("session", selection.session_id), ("project", selection.project)):
        if label is not None:
            parts.append(f"labels IN (SELECT id FROM labels WHERE {column} = ?)")  # noqa: S608
            values.append(label)
    return " AND ".join(parts), values


def _whole_s(at: datetime) -> int:
    """Seconds since 1970, rounded up, as the bound of whole seconds."""
    return -(-to_us(at.astimezone(UTC)) // 1_000_000)
