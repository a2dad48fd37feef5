"""`devflow costs`: shows what Claude Code sessions on this machine cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_project
from devflow_cli.run import Run, command
from devflow_cli.times import ALLOWED, MACHINE_ZONE, parse_period

if TYPE_CHECKING:
    from devflow_claude_code import CostBlock, CostGroup


class View(StrEnum):
    """What costs are shown by."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    SESSION = "session"
    BLOCKS = "blocks"
    MODEL = "model"
    PROJECT = "project"
    BRANCH = "branch"
    AGENT = "agent"


class Weekday(StrEnum):
    """A day that weeks may begin on."""

    SUNDAY = "sunday"
    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"


_ALLOCATIONS_TO_COLLECT = 50_000
"""New objects after which Python looks for cycles; its default is 700."""
_HEADINGS = {View.DAILY: "Day", View.WEEKLY: "Week of", View.MONTHLY: "Month"}


@command(app, has_table=True)
def costs(
    run: Run,
    view: Annotated[View, typer.Argument(help="What to show.")] = View.DAILY,
    since: Annotated[
        str | None, typer.Option(help=f"From then on: {ALLOWED}.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Up to the beginning of the same, exclusive.")
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            help="Only this project: a folder, or the name of one.",
            show_default=False,
            autocompletion=complete_project,
        ),
    ] = None,
    breakdown: Annotated[
        bool, typer.Option("--breakdown", "-b", help="Show each model in a row of its own.")
    ] = False,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone",
            "-z",
            help="The time zone in which days begin, such as Europe/Berlin.  [default: this"
            " machine's]",
            show_default=False,
        ),
    ] = None,
    week_begins: Annotated[
        Weekday, typer.Option("--start-of-week", "-w", help="The first day of a week.")
    ] = Weekday.SUNDAY,
    active: Annotated[
        bool, typer.Option("--active", "-a", help="Of blocks, show only the one in progress.")
    ] = False,
) -> None:
    """Show what Claude Code sessions on this machine cost, from their transcripts and the ledger.

    A reply that went through DevFlow counts once, as it was booked; others at list price. Nothing
    is asked of any network.
    """
    import gc

    from devflow_claude_code import find_blocks, group_costs, total_of

    from devflow_cli.session_costs import read_costs

    # hundreds of thousands of small values, none of them in a cycle: a fifth of the time otherwise
    gc.set_threshold(_ALLOCATIONS_TO_COLLECT)
    zone = _read_zone(timezone)
    settings = run.settings()
    period = parse_period(settings, since, until, zone=zone)
    items = read_costs(run, settings, period, project)
    total = total_of(items)
    if view is View.BLOCKS:
        found = find_blocks(items, datetime.now(UTC))
        blocks = [one for one in found if one.is_active or not active]
        if found and not blocks:
            began = f"{found[-1].starts_at.astimezone(zone):%Y-%m-%d %H:%M}"
            run.remark(f"No block is in progress. The latest began at {began}.")
        rows: list[dict[str, Any]] = [one.as_json() for one in blocks]
    else:
        blocks = []
        groups = group_costs(items, view.value, zone=zone, week_begins=week_begins.value)
        rows = [one.as_json() for one in groups]
    if run.as_json:
        shown = {"view": view.value, "time_zone": str(zone)}
        run.emit({**shown, "rows": rows, "total": total.as_json()})
    elif not items:
        run.say("Claude Code sessions cost nothing in this period, as far as transcripts tell.")
    elif rows:
        _print(run, view, rows, blocks, total, zone=zone, with_models=breakdown)


def _read_zone(name: str | None) -> tzinfo:
    """Return the time zone of a name; this machine's for None.

    Raises:
        typer.BadParameter: there is no such zone.
    """
    from zoneinfo import ZoneInfo

    if name is None:
        return MACHINE_ZONE
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise typer.BadParameter(
            f"{name!r} is not a time zone, such as UTC or Europe/Berlin", param_hint="--timezone"
        ) from None


def _print(
    run: Run,
    view: View,
    rows: Sequence[dict[str, Any]],
    blocks: Sequence[CostBlock],
    total: CostGroup,
    *,
    zone: tzinfo,
    with_models: bool,
) -> None:
    from devflow_cli.views import costs

    if view is View.BLOCKS:
        costs.print_blocks(run, blocks, zone)
    else:
        costs.print_groups(run, _HEADINGS.get(view, view.value.title()), rows, with_models)
    costs.print_total(run, total)
