"""Prints a report on a terminal: stacked bars of days, the table, savings, recommendations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devflow_cli.views.bars import draw_stacked_bars
from devflow_cli.views.tables import print_table, say_sentence

if TYPE_CHECKING:
    from devflow_analytics import Report

    from devflow_cli.run import Run

DROP = (
    "reasoning", "total p95", "first p95", "cache write", "cache read", "cache hits", "total p50",
    "first p50", "saved", "output", "input", "errors", "requests",
)  # fmt: skip
"""The columns that a narrow terminal does without, the least important first."""


def print_report(run: Run, report: Report) -> None:
    """Print a report's rows with total, savings and recommendations.

    Rows by day and one more dimension are drawn as stacked bars, too, if this is a terminal.
    """
    from devflow_analytics import to_table
    from devflow_analytics.formats.text import describe_savings

    made = to_table(report)
    run.say(made.title)
    if len(report.dimensions) > 1 and report.dimensions[0] == "day" and run.console.is_terminal:
        for line in draw_stacked_bars(report.nested, run.console.width):
            run.console.print(line)
    headings = {
        name: name if at < made.dimensions else f"{'$' if name in ('cost', 'saved') else '>'}{name}"
        for at, name in enumerate(made.columns)
    }
    rows = [dict(zip(made.columns, row, strict=True)) for row in made.rows]
    total = dict(zip(made.columns, made.total, strict=True))
    print_table(run, headings, rows, total=total, drop=DROP)
    if doubts := report.total.doubts:
        say_sentence(
            run,
            f"{doubts} reported {'cost is' if doubts == 1 else 'costs are'} impossible: "
            "`devflow ledger reconcile` lists them; so does the column cost_doubt of an export.",
        )
    say_sentence(run, describe_savings(report))
    for one in report.recommendations:
        say_sentence(run, f"→ {one.text}")
