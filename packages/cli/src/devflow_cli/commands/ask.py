"""`devflow ask`: sends one request through the whole pipeline."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_model, complete_project, complete_session
from devflow_cli.options import FloorOption
from devflow_cli.run import Run, command


@command(app)
async def ask(
    run: Run,
    prompt: Annotated[str, typer.Argument(help="What to ask; '-' reads standard input.")],
    session: Annotated[
        str | None,
        typer.Option(
            help="A Claude Code session to add as context: an id, a path, or 'latest'.",
            autocompletion=complete_session,
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            help="The project to book on: a folder or a name.  [default: the working directory]",
            show_default=False,
            autocompletion=complete_project,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="A model id, an alias, auto, auto:cheap, auto:fast, auto:best, auto:verified.",
            autocompletion=complete_model,
        ),
    ] = "auto",
    cost_priority: Annotated[
        float | None, typer.Option(min=0, max=1, help="How much a lower cost counts.")
    ] = None,
    performance_priority: Annotated[
        float | None, typer.Option(min=0, max=1, help="How much a shorter wait counts.")
    ] = None,
    floor: FloorOption = None,
    max_cost: Annotated[
        str | None, typer.Option(help="Refuse a model whose worst case is above this, in USD.")
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            help="Check the answer with a command, as in 'pytest -q'; if it fails, ask the next"
            " better model."
        ),
    ] = None,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Show the reply only when it is complete.")
    ] = False,
) -> None:
    """Ask one question: choose a model, show its reply, book the cost."""
    from devflow_core.request import ChatRequest
    from devflow_gateway import wiring
    from devflow_routing import route_as_json

    from devflow_cli.lookup import describe_session, find_session
    from devflow_cli.options import apply_options, read_project
    from devflow_cli.verifying import add_checks
    from devflow_cli.views.lean import lean_completion
    from devflow_cli.views.reply import ask_and_show, completion_document

    settings = run.settings()
    # before the prompt is read, which may wait for someone to type it
    settings.require_keys()
    request = ChatRequest.from_text(_read_prompt(prompt), model=model)
    request = apply_options(request, cost_priority, performance_priority, max_cost, floor)
    folder, labels = read_project(project)
    request = add_checks(run, settings, replace(request, attribution=labels), verify)
    context = find_session(settings, session, folder) if session else None
    # said on stderr before anything of the session is sent
    if context is not None:
        run.remark(describe_session(context))
    async with wiring.open_gateway(settings) as gateway:
        reply = await ask_and_show(
            run, gateway, request, session=context, is_streamed=not (no_stream or run.as_json)
        )
    if run.as_json:
        run.emit(completion_document(reply, route_as_json(reply.route)), lean_completion)


def _read_prompt(prompt: str) -> str:
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise typer.BadParameter("the prompt is empty", param_hint="PROMPT")
    return text
