"""Numbers as a person reads them, and the columns that every written form of a report shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from devflow_core.summary import Summary
from devflow_core.usage import from_pico

from devflow_analytics.report import Report, cache_hit_rate

UNKNOWN = "–"
"""Stands where nothing was measured."""
NOT_KNOWN = "(not known)"
"""Stands for the key of a group whose requests did not say."""


def usd(amount: Decimal) -> str:
    """`$12.35`, `-$0.0042`: cents from a dollar on, four digits below, two digits that count."""
    size, sign = abs(amount), "-" if amount < 0 else ""
    places = 2 if size >= 1 or size == 0 else max(4, 1 - size.adjusted())
    rounded = size.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    return f"{sign}${rounded:,f}"


def percent(share: float) -> str:
    """`37.5 %`; no digit after the point at 0 and at 100."""
    digits = 0 if share in (0.0, 1.0) else 1
    return f"{share * 100:.{digits}f} %"


def count(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"


def tokens(number: int) -> str:
    """`950`, `12.3k`, `4.56M`."""
    if number < 1_000:
        return str(number)
    if number < 1_000_000:
        return f"{number / 1_000:.1f}k"
    return f"{number / 1_000_000:.2f}M" if number < 1_000_000_000 else f"{number / 1e9:.2f}G"


def seconds(duration_s: float | None) -> str:
    """`340 ms`, `2.41 s`, `93 s`."""
    if duration_s is None:
        return UNKNOWN
    if duration_s < 1:
        return f"{duration_s * 1000:.0f} ms"
    return f"{duration_s:.2f} s" if duration_s < 10 else f"{duration_s:.0f} s"


def _share(share: float | None) -> str:
    return UNKNOWN if share is None else percent(share)


def _saved(report: Report, row: Summary) -> str:
    saved = report.savings_of(row)
    return usd(saved.saved_usd) if saved else UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table: its head, and what a row shows there."""

    head: str
    cell: Callable[[Report, Summary], str]


COLUMNS = (
    Column(head="requests", cell=lambda _, row: count(row.requests)),
    Column(head="errors", cell=lambda _, row: count(row.failed)),
    Column(head="input", cell=lambda _, row: tokens(row.usage.input_tokens)),
    Column(head="cache read", cell=lambda _, row: tokens(row.usage.cache_read_tokens)),
    Column(head="cache write", cell=lambda _, row: tokens(row.usage.cache_write_tokens)),
    Column(head="output", cell=lambda _, row: tokens(row.usage.output_tokens)),
    Column(head="reasoning", cell=lambda _, row: tokens(row.usage.reasoning_tokens)),
    Column(head="cache hits", cell=lambda _, row: _share(cache_hit_rate(row))),
    Column(head="first p50", cell=lambda _, row: seconds(row.ttft.quantile_s(0.5))),
    Column(head="first p95", cell=lambda _, row: seconds(row.ttft.quantile_s(0.95))),
    Column(head="total p50", cell=lambda _, row: seconds(row.total.quantile_s(0.5))),
    Column(head="total p95", cell=lambda _, row: seconds(row.total.quantile_s(0.95))),
    Column(head="cost", cell=lambda _, row: usd(from_pico(row.cost_pico))),
    Column(head="saved", cell=_saved),
)
"""After the key; "cache" is the provider's prompt cache."""


def label(key: str) -> str:
    """A group's key, or what stands for a key that is not known."""
    return key or NOT_KNOWN


def period(report: Report) -> str:
    """The time that a report is of, with its time zone."""
    since = report.since.strftime("%Y-%m-%d %H:%M") if report.since else "the beginning"
    until = (report.until or report.made_at).strftime("%Y-%m-%d %H:%M")
    return f"{since} to {until} UTC"
