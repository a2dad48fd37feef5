"""`devflow budget`: sets, lists and removes limits per scope and window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from devflow_core.dimensions import BUDGET_SCOPES

from devflow_cli.app import app
from devflow_cli.completion import complete_budget
from devflow_cli.options import UnlistedModels, read_amount, read_project
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_core.settings import Settings
    from devflow_store import BudgetState

_SCOPE_HELP = f"What is limited: global, {', '.join(BUDGET_SCOPES)}."
budget = typer.Typer(help="Limits that are enforced before each call.", no_args_is_help=True)
app.add_typer(budget, name="budget")


@command(budget, "list", has_table=True)
def list_budgets(run: Run) -> None:
    """Show every budget with the amounts spent, reserved and left."""
    from devflow_gateway import wiring

    from devflow_cli.lookup import has_ledger

    settings = run.settings()
    states = wiring.make_store(settings).budget_states() if has_ledger(run, settings) else []
    if run.as_json:
        run.emit({"budgets": [_budget_document(state) for state in states]})
        return
    if not states:
        run.say("No budget is set. `devflow budget set --limit 50` sets a monthly one.")
        return
    from devflow_cli.views.books import print_budgets

    print_budgets(run, [_budget_document(state) for state in states])


@command(budget, "set")
async def set_budget(
    run: Run,
    limit: Annotated[str, typer.Option(help="In USD.")],
    scope: Annotated[str, typer.Option(help=_SCOPE_HELP)] = "global",
    value: Annotated[
        str | None,
        typer.Option(
            help="Which one: a name; for a project also its folder (default: the working"
            " directory). '*' gives each one its own budget."
        ),
    ] = None,
    window: Annotated[
        str, typer.Option(help="request, hour, day, week, month or lifetime.")
    ] = "month",
    time_zone: Annotated[str | None, typer.Option(help="Time zone in which windows begin.")] = None,
    unlisted: UnlistedModels = False,
) -> None:
    """Set a limit; a call whose worst case does not fit is refused before it is made."""
    from devflow_core.usage import format_usd
    from devflow_gateway import wiring
    from devflow_store import Budget

    settings = run.settings()
    limit_usd = read_amount(limit, "--limit")
    if value != "*" and not (scope == "model" and unlisted):
        value = _subject(settings, scope, value)
    wanted: dict[str, Any] = {"scope": scope, "value": value, "window": window}
    async with wiring.make_store(settings) as store:
        saved = await store.budgets.set(
            Budget(**wanted, limit_usd=limit_usd, timezone=time_zone or settings.budget_time_zone)
        )
    if run.as_json:
        run.emit({"id": saved.id})
    else:
        whose = f"{scope} {value or ''}".rstrip()
        run.say(f"Budget {saved.id}: {format_usd(limit_usd)} a {window} for {whose}")


def _subject(settings: Settings, scope: str, value: str | None) -> str | None:
    """Return the name under which calls of a subject are booked, which a budget has to have.

    A project's is the label that its folder stands for; a model's is its id.

    Raises:
        NotFound: there is no such model.
        typer.BadParameter: there is no such folder.
    """
    if scope == "project":
        return read_project(value or ".")[1].project
    if scope == "model" and value:
        from devflow_gateway import wiring

        from devflow_cli.matching import find_model_id

        return find_model_id(wiring.open_catalogue(settings).current, value)
    return value


@command(budget, "remove")
async def remove_budget(
    run: Run,
    budget_id: Annotated[
        str, typer.Argument(help="The id that `budget list` shows.", autocompletion=complete_budget)
    ],
) -> None:
    """Remove a budget."""
    from devflow_gateway import wiring

    from devflow_cli.lookup import require_ledger

    settings = run.settings()
    require_ledger(settings)
    async with wiring.make_store(settings) as store:
        await store.budgets.remove(budget_id)
    if run.as_json:
        run.emit({"removed": budget_id})
    else:
        run.say("Removed.")


def _budget_document(state: BudgetState) -> dict[str, Any]:
    limit = state.budget
    return {
        "id": limit.id,
        "scope": limit.scope,
        "value": limit.value,
        "subject": state.subject,
        "window": limit.window,
        "time_zone": limit.timezone,
        "limit_usd": limit.limit_usd,
        "spent_usd": state.spent_usd,
        "reserved_usd": state.reserved_usd,
        "left_usd": state.left_usd,
        "window_start": state.window_start,
        "window_end": state.window_end,
    }
