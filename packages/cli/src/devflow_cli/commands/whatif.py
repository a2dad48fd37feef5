"""`devflow whatif`: shows what recorded work would have cost with other models."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import typer
from devflow_core.usage import KnownCost, MissingCost

from devflow_cli.app import app
from devflow_cli.completion import complete_session
from devflow_cli.options import ProjectFolder
from devflow_cli.run import Run, command
from devflow_cli.times import parse_period


@command(app, has_table=True)
def whatif(
    run: Run,
    session: Annotated[
        str | None,
        typer.Argument(
            help="A Claude Code session, or 'latest' of the project; else the ledger's rows.",
            autocompletion=complete_session,
        ),
    ] = None,
    project: ProjectFolder = None,
    since: Annotated[
        str | None, typer.Option(help="Only what was recorded since then, such as 30d.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only what was recorded before then.")] = None,
    models: Annotated[
        str | None, typer.Option(help="Models to compare, separated by commas.")
    ] = None,
) -> None:
    """Price recorded work on other models, with the prompt cache simulated."""
    from devflow_cli.lookup import (
        build_whatif_document,
        describe_session,
        find_session,
        has_ledger,
    )
    from devflow_cli.matching import explain_empty_ledger_period, explain_empty_period

    names = tuple(one.strip() for one in models.split(",")) if models else ()
    settings = run.settings()
    found = find_session(settings, session, project) if session else None
    period = parse_period(settings, since, until)
    if found is not None:
        run.remark(describe_session(found))
    else:
        has_ledger(run, settings)
    shown = build_whatif_document(settings, found, period, names)
    if not shown["turns"]:
        if found is None:
            explain_empty_ledger_period(run, settings, period)
        else:
            times = [turn.started_at for turn in found.turns]
            explain_empty_period(
                run, period, lambda: max(times, default=None), what="reply of the session came"
            )
    if run.as_json:
        run.emit(shown)
        return
    _print(run, shown)


def _print(run: Run, shown: dict[str, Any]) -> None:
    from devflow_cli.views.tables import print_table, say_sentence

    columns = {
        "model": "Model",
        "cost_usd": "$Cost",
        "difference_usd": "$Difference",
        "notes": "Notes",
    }
    print_table(
        run,
        columns,
        [
            {**row, "notes": "; ".join(row["notes"]), "cost_usd": row["cost_usd"] or "unknown"}
            for row in shown["models"]
        ],
        drop=("notes", "difference_usd"),
        text=("notes",),
    )
    recorded = shown["recorded"]
    missing = tuple(MissingCost(**one) for one in recorded["missing"])
    say_sentence(run, f"Recorded: {KnownCost(usd=Decimal(recorded['cost_usd']), missing=missing)}")
    for unknown in shown["unknowns"]:
        say_sentence(run, f"Unknown: {unknown}")
