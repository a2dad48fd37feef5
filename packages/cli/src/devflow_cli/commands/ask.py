"""`devflow ask`: one request through the whole pipeline."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from devflow_cli.main import app
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_core.chat import ChatRequest
    from devflow_core.routing import SelectionCriteria


@command(app)
async def ask(
    run: Run,
    prompt: Annotated[str, typer.Argument(help="What to ask; '-' reads standard input.")],
    session: Annotated[
        str | None,
        typer.Option(help="A Claude Code session (id, path or 'latest') whose context goes along."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A model id, an alias, auto, auto:cheap, auto:fast or auto:best.")
    ] = "auto",
    cost_priority: Annotated[
        float | None, typer.Option(min=0, max=1, help="How much a saved dollar counts.")
    ] = None,
    performance_priority: Annotated[
        float | None, typer.Option(min=0, max=1, help="How much a saved second counts.")
    ] = None,
    max_cost: Annotated[
        str | None, typer.Option(help="Refuse a model whose worst case is above this, in USD.")
    ] = None,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Show the reply when it is whole.")
    ] = False,
) -> None:
    """Ask one question: the model is chosen, the reply shown, its cost booked."""
    from devflow_core.chat import ChatRequest
    from devflow_openrouter.routing import as_json as route_json
    from devflow_server import wiring

    from devflow_cli.answers import answer, document
    from devflow_cli.sources import find_session

    settings = run.settings()
    settings.require_keys()
    request = ChatRequest.from_text(_prompt(prompt), model=model)
    request = with_wishes(request, cost_priority, performance_priority, max_cost)
    context = find_session(settings, session) if session else None
    async with wiring.open_gateway(settings) as gateway:
        reply = await answer(
            run, gateway, request, session=context, is_streamed=not (no_stream or run.as_json)
        )
    if run.as_json:
        run.emit(document(reply, route_json(reply.route)))


def with_wishes(
    request: ChatRequest,
    cost_priority: float | None,
    performance_priority: float | None,
    max_cost: str | None,
) -> ChatRequest:
    """The request with what the command line says about cost and speed."""
    if max_cost is not None:
        try:
            request = replace(request, max_cost_usd=Decimal(max_cost))
        except InvalidOperation:
            raise typer.BadParameter(
                f"{max_cost!r} is no amount in USD", param_hint="--max-cost"
            ) from None
    return replace(request, criteria=wishes(cost_priority, performance_priority))


def wishes(
    cost_priority: float | None, performance_priority: float | None
) -> SelectionCriteria | None:
    """Criteria from the command line; None leaves them to the settings."""
    from devflow_core.routing import SelectionCriteria

    if cost_priority is None and performance_priority is None:
        return None
    wished = SelectionCriteria()
    if cost_priority is not None:
        wished = replace(wished, cost_priority=cost_priority)
    if performance_priority is not None:
        wished = replace(wished, performance_priority=performance_priority)
    return wished


def _prompt(prompt: str) -> str:
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise typer.BadParameter("there is nothing to ask", param_hint="PROMPT")
    return text
