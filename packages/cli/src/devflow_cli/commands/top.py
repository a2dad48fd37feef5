"""`devflow top`: shows what happens right now."""

from __future__ import annotations

from typing import Annotated

import typer

from devflow_cli.app import app
from devflow_cli.run import Run, command


@command(app, has_table=True)
def top(
    run: Run,
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    every: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")
    ] = 2.0,
) -> None:
    """Show running calls, rates, cost per minute, budgets near their limit and errors, live.

    Ctrl-C ends it. With --json, one snapshot is printed.
    """
    from devflow_cli.live import refresh, take_snapshot
    from devflow_cli.lookup import has_ledger
    from devflow_cli.views.top import print_snapshot

    settings = run.settings()
    has_ledger(run, settings)
    if run.as_json:
        run.emit(take_snapshot(settings))
    elif once:
        print_snapshot(run, take_snapshot(settings))
    else:
        refresh(run, lambda: print_snapshot(run, take_snapshot(settings)), every)
