"""Prints a snapshot of what happens right now: rates, running calls, budgets, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devflow_core.usage import format_usd

from devflow_cli.views.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devflow_cli.run import Run

COLUMNS = ("model", "task", "project", "attempt", "for_s", "cost_usd", "left_usd", "error", "at")
"""The names that `--columns` takes, over all tables."""


def print_snapshot(run: Run, snapshot: Mapping[str, Any]) -> None:
    """Print a snapshot (`take_snapshot`); a table without rows is left out."""
    rate, server = snapshot["rate"], snapshot["server"]
    where = "no server" if server is None else f"server {server['url']}"
    if server is not None and not server["is_ready"]:
        where += " (not ready)"
    run.say(f"DevFlow  {snapshot['at']}  {where}")
    run.say(
        f"{len(snapshot['running'])} running  {rate['requests_per_min']:g} requests/min "
        f" {format_usd(rate['cost_usd_per_min'])}/min  (over 5 min)",
    )
    _print_part(
        run,
        "Running",
        {
            "model": "Model", "task": "Task", "project": "Project", "attempt": ">Try",
            "for_s": ">For s", "reserved_usd": "$At most",
        },
        snapshot["running"],
        ("attempt", "task", "reserved_usd", "project"),
    )  # fmt: skip
    _print_part(
        run,
        "Last 5 minutes",
        {
            "model": "Model", "requests_per_min": ">Per min", "errors": ">Errors",
            "cost_usd_per_min": "$Per min", "cost_usd": "$Cost",
        },
        rate["models"],
        ("requests_per_min", "cost_usd", "errors"),
    )  # fmt: skip
    _print_part(
        run,
        "Budgets near their limit",
        {
            "id": "Budget", "scope": "Scope", "subject": "Of", "window": "Window",
            "used": ">Used", "left_usd": "$Left", "limit_usd": "$Limit",
        },
        [{**one, "used": f"{one['used_share']:.0%}"} for one in snapshot["budgets"]],
        ("window", "limit_usd", "scope", "subject"),
    )  # fmt: skip
    _print_part(
        run,
        "Latest errors",
        {"at": "At", "model": "Model", "error": "Error", "entry_id": "Entry"},
        [{**one, "at": one["at"][11:19]} for one in snapshot["errors"]],
        ("entry_id", "at"),
    )


def _print_part(
    run: Run, title: str, columns: dict[str, str], rows: list[dict[str, Any]], drop: tuple[str, ...]
) -> None:
    if rows:
        run.say(f"\n{title}")
        print_table(run, columns, rows, drop=drop, beside=COLUMNS)
