"""Draws the table of all figures, with what the page's script sorts and filters by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from devflow_analytics.formats.text import Table, describe_dimensions, to_table
from devflow_analytics.html.cards import draw_card
from devflow_analytics.html.markup import Markup, element
from devflow_analytics.report import Report

_EXACT = {
    "requests": "requests",
    "errors": "errors",
    "input": "input_tokens",
    "cache read": "cache_read_tokens",
    "cache write": "cache_write_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
    "cache hits": "prompt_cache_hit_rate",
    "first p50": "ttft_p50_s",
    "first p95": "ttft_p95_s",
    "total p50": "total_p50_s",
    "total p95": "total_p95_s",
    "cost": "cost_usd",
    "saved": "saved_usd",
}
"""The field of a JSON row with the exact figure of each column; others are sorted as text."""
_MONEY = frozenset({"cost", "saved"})
"""Columns that stand first, after the names."""


def draw_figures(report: Report) -> Markup:
    """Draw the table; without the script it is a whole table, in the order of the report."""
    table = _with_money_first(to_table(report))
    document = report.as_json()
    head = element(
        "tr",
        *(
            element("th", column, scope="col", **_kind(column, number < table.dimensions))
            for number, column in enumerate(table.columns)
        ),
    )
    exact = [list(_read_exact(table.columns, row)) for row in document["rows"]]
    rows = (
        _draw_row(row, values, table.dimensions)
        for row, values in zip(table.rows, exact, strict=True)
    )
    total = _draw_row(table.total, [None] * len(table.total), table.dimensions)
    return draw_card(
        f"All figures by {describe_dimensions(report)}",
        "",
        element(
            "div",
            element(
                "table",
                element("thead", head),
                element("tbody", *rows),
                element("tfoot", total),
                class_="figures",
            ),
            class_="wide",
        ),
    )


def _with_money_first(table: Table) -> Table:
    """Return the table with its amounts beside the names, where a narrow window shows them."""
    order = list(range(len(table.columns)))
    order.sort(key=lambda at: (at >= table.dimensions, table.columns[at] not in _MONEY))

    def arrange(cells: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cells[at] for at in order)

    return replace(
        table,
        columns=arrange(table.columns),
        rows=tuple(map(arrange, table.rows)),
        total=arrange(table.total),
    )


def _kind(column: str, is_name: bool) -> dict[str, str]:
    return {"class_": "name"} if is_name else {"data_field": _EXACT.get(column, "")}


def _read_exact(columns: tuple[str, ...], row: Mapping[str, Any]) -> Iterator[object]:
    for column in columns:
        yield row.get(_EXACT.get(column, ""))


def _draw_row(cells: tuple[str, ...], exact: list[object], dimensions: int) -> Markup:
    names = (element("th", cell, scope="row", class_="name") for cell in cells[:dimensions])
    numbers = (
        element("td", cell, **({} if value is None else {"data_value": str(value)}))
        for cell, value in zip(cells[dimensions:], exact[dimensions:], strict=True)
    )
    return element("tr", *names, *numbers)
