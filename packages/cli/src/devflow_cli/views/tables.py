"""Prints tables for people, from the same documents that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from devflow_core.usage import usd_text

from devflow_cli.run import strip_control_chars

if TYPE_CHECKING:
    from devflow_analytics import Report

    from devflow_cli.run import Run

Row = Mapping[str, Any]
MIN_WIDTH = 16
"""The least width of the shrinking column."""
UNBOUNDED_WIDTH = 10_000
"""Wider than any table: Rich would otherwise squeeze its smallest columns to nothing."""
WIDE_TERMINAL = 130
"""The columns from which on a report shows every figure; below, only `NARROW_COLUMNS`."""
MEDIUM_TERMINAL = 100
"""The columns from which on an explanation shows every term of a score."""
NARROW_COLUMNS = frozenset({"requests", "errors", "input", "output", "first p50", "cost"})


def print_table(run: Run, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Print rows as a table.

    Args:
        run: where to print.
        columns: headings by key of the row; a heading that begins with `>` is right-aligned.
        rows: values are formatted as text; characters that control a terminal are removed.
    """
    _print_cells(
        run,
        list(columns.values()),
        [[format_cell(row.get(key)) for key in columns] for row in rows],
    )


def format_cell(value: object) -> str:
    """Format a value as a cell without control characters; empty for None.

    Thousands are grouped, floats below 1,000 have three significant digits, and a time is month,
    day, hour and minute.
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        case Decimal():
            return usd_text(value)
        case datetime():
            return f"{value:%m-%d %H:%M}"
        case _:
            return strip_control_chars(str(value)).replace("\n", " ")


def _print_cells(
    run: Run, headings: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] = ()
) -> None:
    """Print cells as a table; on a narrow terminal, the last text column shrinks."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    names = [heading.removeprefix(">") for heading in headings]
    widths = [max(len(row[at]) for row in (*rows, names)) for at in range(len(names))]
    texts = [at for at, heading in enumerate(headings) if not heading.startswith(">")]
    # numbers must stay legible, and the last text is usually the longest (a title, a reason)
    gives_way = texts[-1]
    taken = sum(widths) - widths[gives_way] + 3 * len(names)
    widths[gives_way] = min(widths[gives_way], max(MIN_WIDTH, run.console.width - taken))
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(names):
        justify = "left" if at in texts else "right"
        made.add_column(name, justify=justify, no_wrap=True, min_width=widths[at])
    for row in rows:
        made.add_row(
            *(Text(_truncate(value, width)) for value, width in zip(row, widths, strict=True))
        )
    if total:
        made.add_section()
        made.add_row(*(Text(value, style="bold") for value in total))
    # measured without bounds, then fixed: Rich must not wrap or squeeze what was cut above
    made.width = run.console.measure(
        made, options=run.console.options.update(width=UNBOUNDED_WIDTH)
    ).maximum
    run.console.print(made)


def _truncate(value: str, width: int) -> str:
    return value if len(value) <= width else value[: width - 1] + "…"


def print_budgets(run: Run, documents: Sequence[Row]) -> None:
    """Print budgets, given as JSON objects, as a table."""
    columns = {
        "id": "Budget, in USD",
        "limit_usd": ">Limit",
        "spent_usd": ">Spent",
        "reserved_usd": ">Reserved",
        "left_usd": ">Left",
        "window_end": "Renews",
    }
    print_table(run, columns, documents)


def print_reconciliation(run: Run, document: Row) -> None:
    """Print a reconciliation, given as `Reconciliation.as_json`, in sentences and lists."""
    run.say(f"Ours        {document['ours_usd']} USD")
    run.say(f"Provider    {document['theirs_usd']} USD")
    run.say(f"Difference  {document['difference_usd']} USD, {document['pending']} still pending")
    counts = (document["confirmed"], document["settled_by_total"], document["observed"])
    if any(counts):
        by_id, by_total, by_sight = counts
        run.say(
            f"Settled     {by_id} by the provider's own figure, {by_total} by its totals, "
            f"{by_sight} by our own observation, as the provider gives no figure"
        )
    for title, key in (
        ("Billed, but unknown to us", "orphans"),
        ("Ours, but not billed", "ghosts"),
        ("Reported costs that are impossible", "doubts"),
    ):
        rows: Sequence[Row] = document[key]
        if rows:
            run.say(f"\n{title}:")
            print_table(run, {name: name.replace("_", " ") for name in rows[0]}, rows)


def print_explanation(run: Run, document: Row, *, max_rows: int = 15) -> None:
    """Print a route: the task, the candidates with their terms, and the exclusions.

    Args:
        run: where to print.
        document: the route, as `route_as_json` gives it.
        max_rows: eligible candidates that are shown; of the others, only the number.
    """
    task = document["task"]
    reasons = "; ".join(task["reasons"])
    run.say(f"Task      {task['type']}, {task['complexity']} ({task['confidence']:.2f}) {reasons}")
    candidates: Sequence[Row] = document["candidates"]
    able = [one for one in candidates if one["excluded"] is None]
    for one in able:
        _print_substitutes(run, one)
    rows = [_candidate_row(one) for one in able]
    columns = {
        "mark": "",
        "model": "Model",
        "score": ">Score",
        "quality": ">Quality",
        "cost": ">Cost USD",
        "latency_s": ">Seconds",
        "reason": "Why",
    }
    if run.console.width < MEDIUM_TERMINAL:
        del columns["quality"], columns["latency_s"]
    print_table(run, columns, rows[:max_rows])
    if len(rows) > max_rows:
        run.say(f"… and {len(rows) - max_rows} more eligible ones (--json shows all).")
    out = [one for one in candidates if one["excluded"] is not None]
    if out:
        run.say(f"\nLeft out ({len(out)}):")
        for reason, models in _group_by_reason(out):
            shown = ", ".join(models[:4]) + (f" and {len(models) - 4} more" if models[4:] else "")
            run.say(f"  {reason}: {shown}")


def _candidate_row(candidate: Row) -> Row:
    """Return a candidate's row; the cost of leaving a warm cache is shown beside the cost."""
    terms: Row = candidate["terms"] or {}
    cost, switch = terms.get("cost_usd"), terms.get("switch_cost_usd")
    return {
        **candidate,
        **terms,
        "mark": "→" if candidate["chosen"] else "",
        "cost": "unknown"
        if cost is None
        else f"{float(cost):.6f}"
        + (f" +{float(switch):.6f}" if switch and float(switch) > 0 else ""),
    }


def _print_substitutes(run: Run, candidate: Row) -> None:
    """Say which unknown name a candidate stands in for, and of which media it gets notes."""
    if unknown_name := candidate.get("stands_in_for"):
        run.say(
            f"Name      {unknown_name} is not in the catalogue: {candidate['model']}, the newest of"
            " its family, is asked in its place"
        )
    if media := candidate.get("unreadable_media"):
        run.say(f"Media     {candidate['model']} gets notes in the place of: {', '.join(media)}")


def _group_by_reason(excluded: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Group models by the reason for their exclusion, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for one in excluded:
        groups.setdefault(one["excluded"], []).append(one["model"])
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def print_report(run: Run, report: Report) -> None:
    """Print a report's rows with total, savings and recommendations."""
    from devflow_analytics import to_table

    made = to_table(report)
    is_wide = run.console.width >= WIDE_TERMINAL
    shown = [
        at
        for at, name in enumerate(made.columns)
        if at < made.dimensions or is_wide or name in NARROW_COLUMNS
    ]
    headings = [f"{'>' * (at >= made.dimensions)}{made.columns[at]}" for at in shown]
    rows = [[row[at] for at in shown] for row in made.rows]
    run.say(made.title)
    _print_cells(run, headings, rows, [made.total[at] for at in shown])
    document = report.as_json()
    if doubts := document["total"]["cost_doubts"]:
        run.say(
            f"{doubts} reported {'cost is' if doubts == 1 else 'costs are'} impossible: "
            "`devflow ledger reconcile` lists them; so does the column cost_doubt of an export."
        )
    savings = document["savings"]
    if savings.get("saved_usd") is not None:
        run.say(
            f"Saved {savings['saved_usd']} USD against {savings['baseline_model']}, "
            f"which would have cost {savings['baseline_cost_usd']} USD."
        )
    for one in document["recommendations"]:
        run.say(f"→ {one['text']}")
