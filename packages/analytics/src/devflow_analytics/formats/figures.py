"""Formats numbers for people, and defines the columns that every form of a report shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devflow_core.summary import Summary
from devflow_core.usage import format_usd, from_pico

from devflow_analytics.report import Report, cache_hit_rate

UNKNOWN = "–"
"""The text shown where nothing was measured."""
UNKNOWN_KEY = "(not known)"
"""The text shown as the key of a group whose requests gave none."""


def format_percent(share: float) -> str:
    """Format a share (0..1) as `37.5 %`; 0 and 1 without decimals."""
    digits = 0 if share in (0.0, 1.0) else 1
    return f"{share * 100:.{digits}f} %"


def format_count(number: int) -> str:
    """Format as `12,345`."""
    return f"{number:,}"


def format_tokens(number: int) -> str:
    """Format as `950`, `12.3k`, `4.56M` or `7.89G`."""
    if number < 1_000:
        return str(number)
    if number < 1_000_000:
        return f"{number / 1_000:.1f}k"
    return f"{number / 1_000_000:.2f}M" if number < 1_000_000_000 else f"{number / 1e9:.2f}G"


def format_seconds(duration_s: float | None) -> str:
    """Format as `340 ms`, `2.41 s` or `93 s`; `UNKNOWN` for None."""
    if duration_s is None:
        return UNKNOWN
    if duration_s < 1:
        return f"{duration_s * 1000:.0f} ms"
    return f"{duration_s:.2f} s" if duration_s < 10 else f"{duration_s:.0f} s"


def _format_share(share: float | None) -> str:
    return UNKNOWN if share is None else format_percent(share)


def _format_saved(report: Report, row: Summary) -> str:
    saved = report.savings_of(row)
    return format_usd(saved.saved_usd) if saved else UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the table: its heading, and how it formats the cell of a row."""

    heading: str
    format_cell: Callable[[Report, Summary], str]


COLUMNS = (
    Column(heading="requests", format_cell=lambda _, row: format_count(row.requests)),
    Column(heading="errors", format_cell=lambda _, row: format_count(row.failed)),
    Column(heading="input", format_cell=lambda _, row: format_tokens(row.usage.input_tokens)),
    Column(
        heading="cache read", format_cell=lambda _, row: format_tokens(row.usage.cache_read_tokens)
    ),
    Column(
        heading="cache write",
        format_cell=lambda _, row: format_tokens(row.usage.cache_write_tokens),
    ),
    Column(heading="output", format_cell=lambda _, row: format_tokens(row.usage.output_tokens)),
    Column(
        heading="reasoning", format_cell=lambda _, row: format_tokens(row.usage.reasoning_tokens)
    ),
    Column(heading="cache hits", format_cell=lambda _, row: _format_share(cache_hit_rate(row))),
    Column(
        heading="first p50", format_cell=lambda _, row: format_seconds(row.ttft.quantile_s(0.5))
    ),
    Column(
        heading="first p95", format_cell=lambda _, row: format_seconds(row.ttft.quantile_s(0.95))
    ),
    Column(
        heading="total p50", format_cell=lambda _, row: format_seconds(row.total.quantile_s(0.5))
    ),
    Column(
        heading="total p95", format_cell=lambda _, row: format_seconds(row.total.quantile_s(0.95))
    ),
    Column(heading="cost", format_cell=lambda _, row: format_usd(from_pico(row.cost_pico))),
    Column(heading="saved", format_cell=_format_saved),
)
"""The columns after the key; "cache" means the provider's prompt cache."""


def format_key(key: str) -> str:
    """Return a group's key, or `UNKNOWN_KEY` if it is empty."""
    return key or UNKNOWN_KEY


def format_period(report: Report) -> str:
    """Return the report's period to the minute, in UTC; without an end, until it was made."""
    since = report.since.strftime("%Y-%m-%d %H:%M") if report.since else "the beginning"
    until = (report.until or report.made_at).strftime("%Y-%m-%d %H:%M")
    return f"{since} to {until} UTC"
