"""Prints budgets and reconciliations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from devflow_cli.views.tables import Row, print_table

if TYPE_CHECKING:
    from devflow_cli.run import Run


def print_budgets(run: Run, documents: Sequence[Row]) -> None:
    """Print budgets, given as JSON objects, as a table."""
    columns = {
        "id": "Budget",
        "scope": "Scope",
        "value": "Of",
        "limit_usd": "$Limit",
        "window": "Window",
        "spent_usd": "$Spent",
        "reserved_usd": "$Reserved",
        "left_usd": "$Left",
        "window_end": "Renews",
    }
    drop = ("window_end", "reserved_usd", "scope", "window", "spent_usd")
    # a budget of each ("*") has a row for everyone who has spent
    rows = [{**one, "value": one["subject"] or one["value"]} for one in documents]
    print_table(run, columns, rows, drop=drop)


def print_reconciliation(run: Run, document: Row) -> None:
    """Print a reconciliation, given as `Reconciliation.as_json`, in sentences and lists.

    Amounts are exact: a difference in the last digit has to show.
    """
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
    lists: list[tuple[str, Sequence[Row]]] = [
        ("Billed, but unknown to us", document["orphans"]),
        ("Ours, but not billed", document["ghosts"]),
        ("Reported costs that are impossible", document["doubts"]),
    ]
    names = {name for _, rows in lists for row in rows[:1] for name in row}
    for title, rows in lists:
        if rows:
            run.say(f"\n{title}:")
            headings = {name: name.replace("_", " ") for name in rows[0]}
            print_table(run, headings, rows, beside=names)
