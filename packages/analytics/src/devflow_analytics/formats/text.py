"""Writes a report as a table, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from devflow_core.safe_text import escape_formula, replace_control_characters
from devflow_core.usage import format_usd

from devflow_analytics.formats.figures import (
    COLUMNS,
    format_key,
    format_percent,
    format_period,
)
from devflow_analytics.report import Report

# Every character with a meaning in Markdown: keys come from callers, and must not become markup.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~!&])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A report as rows of plain text. Cells hold no control characters; markup is not escaped."""

    title: str
    columns: tuple[str, ...]
    """First the dimensions, then the figures of every report."""
    dimensions: int
    """How many of the columns are dimensions."""
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...]


def to_table(report: Report) -> Table:
    """Return the report as a table; its renderer has to escape its own markup."""
    return Table(
        title=f"By {describe_dimensions(report)}, {format_period(report)}",
        columns=(*report.dimensions, *(column.heading for column in COLUMNS)),
        dimensions=len(report.dimensions),
        rows=tuple(
            (
                *(replace_control_characters(format_key(one)) for one in key),
                *(column.format_cell(report, row) for column in COLUMNS),
            )
            for key, row in report.groups.items()
        ),
        total=(
            "total",
            *("" for _ in report.dimensions[1:]),
            *(column.format_cell(report, report.total) for column in COLUMNS),
        ),
    )


def to_csv(report: Report) -> str:
    """Return one CSV line per group, with the names and exact figures of the JSON form.

    Keys that a spreadsheet would run as a formula get a leading apostrophe; numbers stay as they
    are, even negative ones. There is no total row: sums over the columns give it.
    """
    document = report.as_json()
    # nested, so it has no column
    columns = [key for key in document["total"] if key != "errors_by_code"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*report.dimensions, *columns])
    for row in document["rows"]:
        keys = (escape_formula(one) for one in row["keys"].values())
        writer.writerow([*keys, *(row[column] for column in columns)])
    return out.getvalue()


def to_markdown(report: Report) -> str:
    """Return a Markdown page: the table, the savings and the recommendations."""
    table = to_table(report)
    lines = [
        f"# Cost and usage by {describe_dimensions(report)}",
        "",
        f"{format_period(report)}. All times are UTC, all amounts are US dollars.",
        "",
        _table_line(table.columns),
        _table_line(
            tuple("---" if at < table.dimensions else "---:" for at in range(len(table.columns)))
        ),
        *(
            _table_line((*map(_escape_markdown, row[: table.dimensions]), *row[table.dimensions :]))
            for row in table.rows
        ),
        _table_line(tuple(f"**{cell}**" if cell else "" for cell in table.total)),
        "",
        *_savings_lines(report),
        *_recommendation_lines(report),
    ]
    return "\n".join(lines).rstrip() + "\n"


def describe_dimensions(report: Report) -> str:
    """Describe what the rows are: `model`, or `project and model`."""
    return " and ".join(report.dimensions)


def describe_savings(report: Report) -> str:
    """Describe what was saved or lost against the baseline, and how that is counted.

    Without a baseline, the sentence says so.
    """
    saved = report.savings_of(report.total)
    if saved is None:
        if report.baseline_model is None:
            return "No savings: no baseline model is set."
        return f"No savings: no price for {report.baseline_model} is known."
    verb = "saved" if saved.saved_usd >= 0 else "lost"
    share = abs(saved.saved_usd) / saved.baseline_cost_usd if saved.baseline_cost_usd else 0
    return (
        f"{format_usd(abs(saved.saved_usd))} {verb} ({format_percent(float(share))}) against "
        f"{saved.baseline_model}, where the same tokens with the same prompt cache would have "
        f"cost {format_usd(saved.baseline_cost_usd)}."
    )


def _escape_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _table_line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _savings_lines(report: Report) -> list[str]:
    return ["## Savings", "", _escape_markdown(describe_savings(report)), ""]


def _recommendation_lines(report: Report) -> list[str]:
    if not report.recommendations:
        return []
    items = (
        f"- **{format_usd(one.saves_usd)}** "
        f"{_escape_markdown(replace_control_characters(one.text))}"
        for one in report.recommendations
    )
    return ["## Recommendations", "", "They overlap, so they do not add up.", "", *items]
