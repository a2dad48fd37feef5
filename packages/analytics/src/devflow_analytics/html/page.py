"""Renders a report as one page: no script, nothing to load, for light and dark mode."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from importlib import resources

from devflow_core.summary import Histogram, Summary
from devflow_core.usage import format_usd, from_pico

from devflow_analytics.formats import figures
from devflow_analytics.formats.figures import (
    format_count,
    format_key,
    format_percent,
    format_seconds,
    format_tokens,
)
from devflow_analytics.formats.text import describe_dimensions, describe_savings, to_table
from devflow_analytics.html import charts
from devflow_analytics.html.charts import BarSegment, Point
from devflow_analytics.html.markup import Markup, element, join
from devflow_analytics.report import Report, cache_hit_rate, format_time

MAX_BARS = 12
"""Bars per plot; the table below has all rows."""
MAX_DAYS = 92
"""Days in the plot over time: the last three months."""
_QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def to_html(report: Report) -> str:
    """Return the page, to be written as UTF-8.

    The plot over time needs a report made with `with_days=True`, and is left out otherwise.
    """
    style = (resources.files("devflow_analytics.html") / "page.css").read_text(encoding="utf-8")
    policy = _content_security_policy(style)
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        # A report holds keys from callers. They are escaped, and the policy is the second line of
        # defence.
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        element("title", f"DevFlow: cost and usage by {describe_dimensions(report)}"),
        Markup(f"<style>{style}</style>"),
    )
    body = element("body", element("main", *_sections(report)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _content_security_policy(style: str) -> str:
    """Allow only this style sheet: nothing is loaded, run or sent."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _sections(report: Report) -> list[Markup]:
    return [
        element(
            "header",
            element("h1", "Cost and usage"),
            element("p", figures.format_period(report), class_="muted"),
        ),
        _tiles(report),
        *_daily_costs(report),
        *_recommendations(report),
        element("div", _cost_bars(report), _savings_bars(report), class_="pair"),
        element("div", _cache_bars(report), _latency_bars(report), class_="pair"),
        *_error_bars(report),
        _table(report),
        _footer(report),
    ]


def _tiles(report: Report) -> Markup:
    total = report.total
    rate = cache_hit_rate(total)
    saved = report.savings_of(total)
    succeeded = 1 - total.failed / total.requests if total.requests else None
    tiles = [
        ("cost", format_usd(from_pico(total.cost_pico)), _cost_note(total)),
        ("saved", format_usd(saved.saved_usd), f"against {saved.baseline_model}")
        if saved
        else None,
        ("requests", format_count(total.requests), f"{_format_rate(succeeded)} succeeded"),
        (
            "tokens",
            format_tokens(total.usage.total_tokens),
            f"{format_tokens(total.usage.completion_tokens)} out",
        ),
        ("prompt cache", _format_rate(rate), "of the input read from it"),
        (
            "first token",
            format_seconds(total.ttft.quantile_s(0.5)),
            f"p95 {format_seconds(total.ttft.quantile_s(0.95))}",
        ),
    ]
    return element("div", *(_tile(*one) for one in tiles if one), class_="tiles")


def _tile(name: str, figure: str, note: str) -> Markup:
    return element(
        "div",
        element("div", name, class_="name"),
        element("div", figure, class_="figure"),
        element("div", note, class_="muted"),
        class_="tile",
    )


def _cost_note(total: Summary) -> str:
    if not total.estimated_pico:
        return "as the provider reported it"
    return f"{format_usd(from_pico(total.estimated_pico))} of it estimated"


def _format_rate(share: float | None) -> str:
    return figures.UNKNOWN if share is None else format_percent(share)


def _recommendations(report: Report) -> list[Markup]:
    if not report.recommendations:
        return []
    items = (
        element(
            "li",
            element("strong", format_usd(one.saves_usd)),
            " ",
            one.text,
        )
        for one in report.recommendations
    )
    note = "What would have saved money in this time. They overlap, so they do not add up."
    return [_card("Recommendations", note, element("ul", *items, class_="advice"))]


def _daily_costs(report: Report) -> list[Markup]:
    if not report.days:
        return []
    points = [
        Point(
            label=day[5:],
            value=row.cost_pico / 1e12,
            text=f"{format_usd(from_pico(row.cost_pico))}",
        )
        for day, row in _fill_days(report.days).items()
    ]
    return [_card("Cost by day", "Days in UTC.", charts.column_chart(points, tick="${:g}"))]


def _fill_days(days: Mapping[str, Summary]) -> dict[str, Summary]:
    """Add the days without requests, so that the time axis is even."""
    # ISO dates sort as text
    last = date.fromisoformat(max(days))
    first = max(date.fromisoformat(min(days)), last - timedelta(days=MAX_DAYS - 1))
    names = [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]
    return {name: days.get(name, Summary()) for name in names}


def _cost_bars(report: Report) -> Markup:
    max_value = max((row.cost_pico for row in report.rows.values()), default=0)
    return _bar_card(
        report.rows,
        f"Cost by {describe_dimensions(report)}",
        "",
        lambda key, row: (
            charts.bar(
                Point(label=key, value=row.cost_pico, text=format_usd(from_pico(row.cost_pico))),
                max_value,
            ),
            format_usd(from_pico(row.cost_pico)),
        ),
    )


def _savings_bars(report: Report) -> Markup:
    saved = {
        key: one.saved_usd for key, row in report.rows.items() if (one := report.savings_of(row))
    }
    max_value = float(max((abs(one) for one in saved.values()), default=0))
    return _bar_card(
        {key: row for key, row in report.rows.items() if key in saved},
        "Saved and lost",
        describe_savings(report),
        lambda key, _: (
            charts.diverging_bar(
                Point(label=key, value=float(saved[key]), text=format_usd(saved[key])), max_value
            ),
            format_usd(saved[key]),
        ),
    )


def _cache_bars(report: Report) -> Markup:
    rows = {key: row for key, row in report.rows.items() if row.usage.prompt_tokens}
    legend = _legend(
        ("read", "read from the cache"), ("write", "written to it"), ("fresh", "neither")
    )
    return _bar_card(
        rows,
        "Where the input came from",
        legend,
        lambda _, row: (charts.stacked_bar(_input_parts(row)), _format_rate(cache_hit_rate(row))),
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


def _latency_bars(report: Report) -> Markup:
    rows = {key: row for key, row in report.rows.items() if row.total.count}
    max_s = max((row.total.quantile_s(0.99) or 0.0 for row in rows.values()), default=0.0)
    legend = _legend(*((f"dot{n}", name) for n, (_, name) in enumerate(_QUANTILES)))
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


def _error_bars(report: Report) -> list[Markup]:
    errors = dict(sorted(report.total.errors.items(), key=lambda one: -one[1])[:MAX_BARS])
    if not errors:
        return []
    max_value = max(errors.values())
    rows = (
        _bar_row(
            code,
            charts.bar(Point(label=code, value=number, text=format_count(number)), max_value),
            f"{format_count(number)} ({format_percent(number / report.total.requests)})",
        )
        for code, number in errors.items()
    )
    note = f"{format_count(report.total.failed)} of {format_count(report.total.requests)} requests."
    return [_card("Failed and cancelled", note, element("table", *rows, class_="bars"))]


def _bar_card(
    rows: Mapping[str, Summary],
    title: str,
    note: str,
    draw: Callable[[str, Summary], tuple[Markup, str]],
) -> Markup:
    shown = list(rows.items())[:MAX_BARS]
    lines = (_bar_row(format_key(key), *draw(key, row)) for key, row in shown)
    more = len(rows) - len(shown)
    remainder = [element("p", f"{more} more in the table below.", class_="muted")] if more else []
    return _card(title, note, element("table", *lines, class_="bars"), *remainder)


def _bar_row(name: str, drawing: Markup, text: str) -> Markup:
    return element(
        "tr",
        element("th", name, scope="row", title=name),
        element("td", drawing),
        element("td", text, class_="number"),
    )


def _legend(*entries: tuple[str, str]) -> Markup:
    return join(
        *(
            element(
                "span",
                element(
                    "svg", element("circle", cx="6", cy="6", r="5", class_=style),
                    width="12", height="12",
                ),
                f" {name}",
                class_="key",
            )
            for style, name in entries
        )
    )  # fmt: skip


def _card(title: str, note: str, *content: Markup) -> Markup:
    notes = [element("p", note, class_="muted")] if note else []
    return element("section", element("h2", title), *notes, *content, class_="card")


def _table(report: Report) -> Markup:
    table = to_table(report)
    head = element("tr", *(element("th", column, scope="col") for column in table.columns))
    rows = (_table_row(row, table.dimensions) for row in table.rows)
    return _card(
        f"All figures by {describe_dimensions(report)}",
        "",
        element(
            "div",
            element(
                "table",
                element("thead", head),
                element("tbody", *rows),
                element("tfoot", _table_row(table.total, table.dimensions)),
                class_="figures",
            ),
            class_="wide",
        ),
    )


def _table_row(cells: tuple[str, ...], dimensions: int) -> Markup:
    names = (element("th", cell, scope="row") for cell in cells[:dimensions])
    numbers = (element("td", cell) for cell in cells[dimensions:])
    return element("tr", *names, *numbers)


def _footer(report: Report) -> Markup:
    return element(
        "footer",
        element(
            "p",
            f"Made {format_time(report.made_at)}. Days and times are UTC, amounts are US dollars. "
            "A request counts at the model that decided it; what earlier attempts cost is at "
            "their own model, and a loss there. Times are off by at most 5 %. This page holds "
            "names and numbers, no text of any prompt or reply.",
            class_="muted",
        ),
    )
