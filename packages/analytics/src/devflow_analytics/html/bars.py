"""Draws one bar for each group of a report: savings, cache use, latency, errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from devflow_core.summary import Histogram, Summary
from devflow_core.usage import format_usd

from devflow_analytics.formats.figures import (
    format_count,
    format_key,
    format_percent,
    format_seconds,
    format_tokens,
)
from devflow_analytics.formats.text import describe_savings
from devflow_analytics.html import charts
from devflow_analytics.html.cards import draw_card, draw_legend, format_rate
from devflow_analytics.html.charts import BarSegment, Point
from devflow_analytics.html.markup import Markup, element
from devflow_analytics.report import KEY_SEPARATOR, Report, cache_hit_rate

MAX_BARS = 12
"""The most bars of a plot; the table below has all rows."""
_QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def draw_savings(report: Report) -> Markup:
    """Draw what each group saved or lost against the baseline."""
    rows = _name_rows(report)
    saved = {key: one.saved_usd for key, row in rows.items() if (one := report.savings_of(row))}
    max_value = float(max((abs(one) for one in saved.values()), default=0))
    return _bar_card(
        {key: row for key, row in rows.items() if key in saved},
        "Saved and lost",
        describe_savings(report),
        lambda key, _: (
            charts.diverging_bar(
                Point(label=key, value=float(saved[key]), text=format_usd(saved[key])), max_value
            ),
            format_usd(saved[key]),
        ),
    )


def draw_cache_use(report: Report) -> Markup:
    """Draw where the input tokens of each group came from."""
    rows = {key: row for key, row in _name_rows(report).items() if row.usage.prompt_tokens}
    legend = draw_legend(
        ("read", "read from the cache"), ("write", "written to it"), ("fresh", "neither")
    )
    return _bar_card(
        rows,
        "Where the input came from",
        legend,
        lambda _, row: (charts.stacked_bar(_input_parts(row)), format_rate(cache_hit_rate(row))),
    )


def _input_parts(row: Summary) -> list[BarSegment]:
    usage = row.usage
    named = (
        ("read", "read from the cache", usage.cache_read_tokens),
        ("write", "written to it", usage.cache_write_tokens),
        ("fresh", "neither", usage.input_tokens),
    )
    return [
        BarSegment(value=number, style=style, text=f"{name}: {format_tokens(number)} tokens")
        for style, name, number in named
    ]


def draw_latency(report: Report) -> Markup:
    """Draw how long whole replies took, as quantiles of each group."""
    rows = {key: row for key, row in _name_rows(report).items() if row.total.count}
    max_s = max((row.total.quantile_s(0.99) or 0.0 for row in rows.values()), default=0.0)
    legend = draw_legend(*((f"dot{n}", name) for n, (_, name) in enumerate(_QUANTILES)))
    return _bar_card(
        rows,
        "Time to the whole reply",
        legend,
        lambda _, row: (
            charts.quantile_range(_quantiles(row.total), max_s),
            format_seconds(row.total.quantile_s(0.5)),
        ),
    )


def _quantiles(times: Histogram) -> list[Point]:
    found = [(name, times.quantile_s(share) or 0.0) for share, name in _QUANTILES]
    return [Point(label=name, value=at_s, text=format_seconds(at_s)) for name, at_s in found]


def draw_errors(report: Report) -> list[Markup]:
    """Draw how often each error occurred; nothing if none did."""
    errors = dict(sorted(report.total.errors.items(), key=lambda one: -one[1])[:MAX_BARS])
    if not errors:
        return []
    max_value = max(errors.values())
    rows = (
        draw_bar_row(
            code,
            charts.bar(Point(label=code, value=number, text=format_count(number)), max_value),
            f"{format_count(number)} ({format_percent(number / report.total.requests)})",
        )
        for code, number in errors.items()
    )
    note = f"{format_count(report.total.failed)} of {format_count(report.total.requests)} requests."
    return [draw_card("Failed and cancelled", note, element("table", *rows, class_="bars"))]


def _name_rows(report: Report) -> dict[str, Summary]:
    """Return the groups by their names for people."""
    found: dict[str, Summary] = {}
    for key, row in report.groups.items():
        name = KEY_SEPARATOR.join(map(format_key, key))
        found[name] = found.get(name, Summary()) + row
    return found


def _bar_card(
    rows: Mapping[str, Summary],
    title: str,
    note: str,
    draw: Callable[[str, Summary], tuple[Markup, str]],
) -> Markup:
    shown = list(rows.items())[:MAX_BARS]
    lines = (draw_bar_row(key, *draw(key, row)) for key, row in shown)
    more = len(rows) - len(shown)
    remainder = [element("p", f"{more} more in the table below.", class_="muted")] if more else []
    return draw_card(title, note, element("table", *lines, class_="bars"), *remainder)


def draw_bar_row(name: str, drawing: Markup, text: str) -> Markup:
    """Draw a row of a chart: a name, its drawing, and a figure."""
    return element(
        "tr",
        element("th", name, scope="row", title=name),
        element("td", drawing),
        element("td", text, class_="number"),
    )
