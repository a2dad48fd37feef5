"""Prints a snapshot of what happens right now: rates, running calls, budgets, errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devflow_core.usage import format_usd

from devflow_cli.views.tables import print_table

if TYPE_CHECKING:
    from devflow_cli.run import Run


@dataclass(frozen=True, slots=True)
class _Part:
    """A table of the view: headings by key, and which columns a narrow terminal does without."""

    title: str
    columns: Mapping[str, str]
    drop: tuple[str, ...]


_RUNNING = _Part(
    "Running",
    {
        "model": "Model", "task": "Task", "project": "Project", "attempt": ">Try",
        "for_s": ">For s", "reserved_usd": "$At most",
    },
    ("attempt", "task", "reserved_usd", "project"),
)  # fmt: skip
_RATES = _Part(
    "Last 5 minutes",
    {
        "model": "Model", "requests_per_min": ">Per min", "errors": ">Errors",
        "cost_usd_per_min": "$Cost per min", "cost_usd": "$Cost",
    },
    ("requests_per_min", "cost_usd", "errors"),
)  # fmt: skip
_BUDGETS = _Part(
    "Budgets near their limit",
    {
        "id": "Budget", "scope": "Scope", "subject": "Of", "window": "Window",
        "used": ">Used", "left_usd": "$Left", "limit_usd": "$Limit",
    },
    ("window", "limit_usd", "scope", "subject"),
)  # fmt: skip
_ERRORS = _Part(
    "Latest errors",
    {"at": "At", "model": "Model", "error": "Error", "entry_id": "Entry"},
    ("entry_id", "at"),
)
_NAMES = {name for part in (_RUNNING, _RATES, _BUDGETS, _ERRORS) for name in part.columns}
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
        f" {format_usd(rate['cost_usd_per_min'])}/min  (over 5 min)"
    )
    budgets = [{**one, "used": f"{one['used_share']:.0%}"} for one in snapshot["budgets"]]
    errors = [{**one, "at": one["at"][11:19]} for one in snapshot["errors"]]
    for part, rows in (
        (_RUNNING, snapshot["running"]),
        (_RATES, rate["models"]),
        (_BUDGETS, budgets),
        (_ERRORS, errors),
    ):
        if rows:
            run.say(f"\n{part.title}")
            print_table(run, part.columns, rows, drop=part.drop, beside=_NAMES)
