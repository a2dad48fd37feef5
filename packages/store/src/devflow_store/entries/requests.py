"""Finds requests, newest first, page by page: by time, labels, outcome and cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from devflow_core.errors import InvalidRequest
from devflow_core.ledger import LedgerEntry
from devflow_core.usage import to_pico

from devflow_store.chain.records import RowKind, to_us
from devflow_store.database.engine import SqlValue
from devflow_store.entries.day_sums import DAY_US, count_unsummed
from devflow_store.entries.queries import Source, load_newest

MAX_PAGE = 1_000
"""The most requests of one page."""
_WALKED = 8_000
"""The newest requests that are looked at one by one before the sums say on which days to look."""
_BEYOND = 2**62
"""Microseconds, numbers and amounts beyond every one that is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """Selects the requests that match every field that is set.

    Labels, model and provider are those of the attempt that decided the outcome.
    """

    since: datetime | None = None
    """The start of the period in which the request arrived, inclusive."""
    until: datetime | None = None
    """The end of the period in which the request arrived, exclusive."""
    model: str | None = None
    provider: str | None = None
    client_key: str | None = None
    """The name of the client key."""
    project: str | None = None
    session: str | None = None
    outcome: str | None = None
    """`succeeded`, `failed` (or cancelled), or an error code."""
    min_usd: Decimal | None = None
    """The lowest cost of all attempts together, in USD, inclusive."""
    max_usd: Decimal | None = None
    """The highest cost of all attempts together, in USD, inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPage:
    """Requests, newest first."""

    entries: tuple[LedgerEntry, ...]
    cursor: str | None
    """Continues after the last of them; None if there are no more."""


_WITHIN = (
    f"c.kind = {RowKind.ENTRY:d} AND c.at_us >= ? AND c.at_us <= ? "
    "AND (c.at_us, c.seq) >= (?, ?) AND (c.at_us, c.seq) < (?, ?) AND c.body IS NOT NULL"
)
_NEWEST = "ORDER BY c.at_us DESC, c.seq DESC LIMIT ?"
_Place = tuple[int, int]
"""When a request arrived, in microseconds since 1970, and its row in the chain."""


def find_requests(
    source: Source, chosen: RequestFilter, *, limit: int, cursor: str | None = None
) -> RequestPage:
    """Return a page of requests, with later corrections applied; erased ones are left out.

    Args:
        source: a reading connection.
        chosen: which requests.
        limit: the most requests of the page, up to `MAX_PAGE`.
        cursor: as of the page before; None: the first page.

    Raises:
        InvalidRequest: the limit is out of range, or the cursor is not one of a page.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"limit: {limit} is not within 1 and {MAX_PAGE}.")
    found: list[_Place] = []
    for place in _walk(source, chosen, _read_cursor(cursor), limit + 1):
        found.append(place)
        if len(found) > limit:
            break
    shown = found[:limit]
    entries = load_newest(source, [seq for _at_us, seq in shown])
    is_last = len(found) <= limit
    return RequestPage(
        entries=tuple(entries), cursor=None if is_last else f"{shown[-1][0]}.{shown[-1][1]}"
    )


def _read_cursor(cursor: str | None) -> _Place:
    at, _, seq = (cursor or f"{_BEYOND}.{_BEYOND}").partition(".")
    if not (at.isdecimal() and seq.isdecimal() and len(at) < 20 and len(seq) < 20):
        raise InvalidRequest(f"cursor: {cursor!r} is not the cursor of a page.")
    return int(at), int(seq)


def _walk(source: Source, chosen: RequestFilter, before: _Place, count: int) -> Iterator[_Place]:
    """Yield the places of matching requests before one, latest first.

    First each of the newest requests is looked at; then only those whose labels match, of the days
    on which such were used.
    """
    since_us = to_us(chosen.since) if chosen.since else -_BEYOND
    until_us = to_us(chosen.until) if chosen.until else _BEYOND
    before = min(before, (until_us, -1))
    rows = source.execute(
        "SELECT at_us, seq FROM chain WHERE "  # noqa: S608 - constants
        f"kind = {RowKind.ENTRY:d} AND at_us >= ? AND at_us <= ? AND (at_us, seq) < (?, ?) "
        "ORDER BY at_us DESC, seq DESC LIMIT 1 OFFSET ?",
        (since_us, before[0], *before, max(_WALKED, count_unsummed(source)) - 1),
    )
    last: _Place = (rows[0][0], rows[0][1]) if rows else (since_us, -1)
    yield from _look_at_each(source, chosen, (last, before), count)
    if not rows:
        return
    for first_us in _list_likely_times(source, chosen, last[0], count):
        first = (max(first_us, since_us), -1)
        yield from _look_by_labels(source, chosen, (first, last), count)
        last = first
        if first_us <= since_us:
            return


def _look_at_each(
    source: Source, chosen: RequestFilter, within: tuple[_Place, _Place], count: int
) -> list[_Place]:
    """Return the matching places from the first one, inclusive, up to the second, exclusive."""
    conditions, values = _conditions(chosen)
    return source.execute(
        f"SELECT c.at_us, c.seq FROM chain c WHERE {_WITHIN} "  # noqa: S608 - constants
        "AND EXISTS (SELECT 1 FROM calls k JOIN labels l ON l.id = k.labels "
        f"WHERE k.seq = c.seq AND k.is_final = 1{conditions}) {_NEWEST}",
        (*_values_of(within), *values, count),
    )


def _look_by_labels(
    source: Source, chosen: RequestFilter, within: tuple[_Place, _Place], count: int
) -> list[_Place]:
    """Return the same, found by the sums of days and the calls that are not in them."""
    conditions, values = _conditions(chosen)
    (first_us, _), (before_us, _) = within
    # a call begins on the day on which its request arrived, or shortly after midnight
    days = (max(first_us, 0) // DAY_US, before_us // DAY_US + 1)
    # CROSS JOIN keeps SQLite from another order, which would read every call
    summed = (
        "SELECT k.seq AS seq FROM labels l CROSS JOIN day_sums d CROSS JOIN calls k "  # noqa: S608 - constants
        "WHERE d.labels = l.id AND d.day >= ? AND d.day <= ? AND k.labels = d.labels "
        f"AND k.seq BETWEEN d.first_seq AND d.last_seq AND k.is_final = 1{conditions}"
    )
    later = (
        "SELECT k.seq FROM calls k JOIN labels l ON l.id = k.labels "  # noqa: S608 - constants
        f"WHERE k.seq > (SELECT seq FROM summed) AND k.is_final = 1{conditions}"
    )
    return source.execute(
        f"SELECT DISTINCT c.at_us, c.seq FROM ({summed} UNION ALL {later}) f "  # noqa: S608 - constants
        f"JOIN chain c ON c.seq = f.seq WHERE {_WITHIN} {_NEWEST}",
        (*days, *values, *values, *_values_of(within), count),
    )


def _values_of(within: tuple[_Place, _Place]) -> tuple[SqlValue, ...]:
    first, before = within
    return (first[0], before[0], *first, *before)


def _list_likely_times(
    source: Source, chosen: RequestFilter, before_us: int, count: int
) -> Iterator[int]:
    """Yield times, latest first, in microseconds; `count` or more matches are likely in between."""
    conditions, values = _conditions(chosen, with_cost=False)
    rows = source.execute(
        "SELECT d.day, SUM(d.requests) FROM labels l CROSS JOIN day_sums d "  # noqa: S608 - constants
        f"WHERE d.labels = l.id AND d.day <= ? AND d.requests > 0{conditions} "
        "GROUP BY d.day ORDER BY d.day DESC",
        (before_us // DAY_US + 1, *values),
    )
    likely = 0
    for day, requests in rows:
        likely += int(requests)
        if likely >= count:
            yield (int(day) - 1) * DAY_US
            likely = 0
    yield -_BEYOND


def _conditions(
    chosen: RequestFilter, *, with_cost: bool = True
) -> tuple[str, tuple[SqlValue, ...]]:
    """Return conditions for labels `l` and a call `k`, after AND each, and their values."""
    labels = {
        "model": chosen.model,
        "provider": chosen.provider,
        "client_key": chosen.client_key,
        "project": chosen.project,
        "session": chosen.session,
    }
    given: list[tuple[str, SqlValue]] = [
        (f"l.{name} = ?", value) for name, value in labels.items() if value is not None
    ]
    if chosen.outcome is not None:
        sign = "<>" if chosen.outcome == "failed" else "="
        code = "" if chosen.outcome in ("succeeded", "failed") else chosen.outcome
        given.append((f"l.error {sign} ?", code))
    cost = "(SELECT SUM(a.cost_pico) FROM calls a WHERE a.seq = k.seq)"
    for sign, amount in ((">=", chosen.min_usd), ("<=", chosen.max_usd)):
        if with_cost and amount is not None:
            given.append((f"{cost} {sign} ?", to_pico(amount)))
    return "".join(f" AND {sql}" for sql, _value in given), tuple(value for _sql, value in given)
