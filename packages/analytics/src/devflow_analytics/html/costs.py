"""Draws where the money went: by day, and by group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

from devflow_core.summary import Groups, Summary
from devflow_core.usage import format_usd, from_pico

from devflow_analytics.formats.figures import format_key
from devflow_analytics.formats.text import describe_dimensions
from devflow_analytics.html import charts
from devflow_analytics.html.bars import MAX_BARS, draw_bar_row
from devflow_analytics.html.cards import draw_card, draw_legend
from devflow_analytics.html.charts import BarSegment, StackedColumn
from devflow_analytics.html.markup import Markup, element
from devflow_analytics.report import Report

MAX_DAYS = 92
"""The most days in the plot over time: about the last three months."""
MIN_DAYS = 14
"""The fewest days in the plot, so that a single one does not fill it."""
MAX_COLOURS = 6
"""Keys with a colour of their own; the others share one."""
OTHERS = "others"
"""The name of the keys that share a colour."""


class _Colours:
    """The classes of the most expensive keys; the others share the last one.

    Args:
        groups: sums by outer and inner key; the colours are those of the inner ones.
    """

    def __init__(self, groups: Groups) -> None:
        spent: dict[str, int] = {}
        for key, row in groups.items():
            spent[key[-1]] = spent.get(key[-1], 0) + row.cost_pico
        ranked = sorted(spent, key=lambda name: (-spent[name], name))
        # a single further key gets its own name rather than that of a group of one
        own = ranked if len(ranked) == MAX_COLOURS + 1 else ranked[:MAX_COLOURS]
        self._styles = {name: f"s{number}" for number, name in enumerate(own)}
        self._has_others = len(ranked) > len(own)

    def stack(self, rows: Mapping[str, Summary]) -> list[BarSegment]:
        """Return the segments of a bar, in the order of the legend; free keys are left out."""
        costs = {name: rows[name].cost_pico for name in self._styles if name in rows}
        rest = sum(row.cost_pico for name, row in rows.items() if name not in self._styles)
        named = [(self._styles[name], format_key(name), cost) for name, cost in costs.items()]
        return [
            BarSegment(
                value=cost / 1e12, style=style, text=f"{name}: {format_usd(from_pico(cost))}"
            )
            for style, name, cost in (*named, (f"s{MAX_COLOURS}", OTHERS, rest))
            if cost > 0
        ]

    def draw_legend(self) -> Markup:
        named = [(style, format_key(name)) for name, style in self._styles.items()]
        rest = [(f"s{MAX_COLOURS}", OTHERS)] if self._has_others else []
        return draw_legend(*named, *rest)


def draw_days(report: Report) -> list[Markup]:
    """Draw the cost of each day, stacked by `Report.daily_by`; nothing without days."""
    if not report.daily:
        return []
    colours = _Colours(report.daily)
    columns = [
        StackedColumn(
            label=day[5:],
            title=f"{day}: {format_usd(from_pico(_sum_cost(rows.values())))}",
            segments=tuple(colours.stack(rows)),
        )
        for day, rows in _fill_days(_nest(report.daily)).items()
    ]
    title = f"Cost by day and {report.daily_by}"
    return [_card_of(title, colours.draw_legend(), charts.column_chart(columns))]


def draw_groups(report: Report) -> list[Markup]:
    """Draw the cost of each group, with two dimensions stacked by the inner one.

    Nothing for a report by day, which `draw_days` shows.
    """
    if report.dimensions[0] == "day":
        return []
    is_stacked = len(report.dimensions) > 1
    nested = report.nested
    colours = _Colours(report.groups)
    totals = {key: _sum_cost(rows.values()) for key, rows in nested.items()}
    top = max(totals.values(), default=0) / 1e12
    shown = list(nested.items())[:MAX_BARS]
    lines = (
        draw_bar_row(
            format_key(key),
            charts.stacked_bar(
                colours.stack(rows)
                if is_stacked
                else [
                    BarSegment(
                        value=totals[key] / 1e12,
                        style="bar",
                        text=f"{format_key(key)}: {format_usd(from_pico(totals[key]))}",
                    )
                ],
                top,
            ),
            format_usd(from_pico(totals[key])),
        )
        for key, rows in shown
    )
    more = len(nested) - len(shown)
    left = [element("p", f"{more} more in the table below.", class_="muted")] if more else []
    title = f"Cost by {describe_dimensions(report)}"
    legend = colours.draw_legend() if is_stacked else Markup("")
    return [_card_of(title, legend, element("table", *lines, class_="bars"), *left)]


def _card_of(title: str, legend: Markup, *content: Markup) -> Markup:
    return draw_card(title, legend, *content)


def _sum_cost(rows: Iterable[Summary]) -> int:
    return sum(row.cost_pico for row in rows)


def _nest(daily: Groups) -> dict[str, dict[str, Summary]]:
    found: dict[str, dict[str, Summary]] = {}
    for (day, name), row in daily.items():
        found.setdefault(day, {})[name] = row
    return found


def _fill_days(days: Mapping[str, Mapping[str, Summary]]) -> dict[str, Mapping[str, Summary]]:
    """Add the days without requests, so that the time axis is even."""
    # ISO dates sort as text
    last = date.fromisoformat(max(days))
    first = max(date.fromisoformat(min(days)), last - timedelta(days=MAX_DAYS - 1))
    first = min(first, last - timedelta(days=MIN_DAYS - 1))
    names = [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]
    return {name: days.get(name, {}) for name in names}
