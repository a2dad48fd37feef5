"""`devflow handoff`: a Claude Code session goes on at another model."""

from __future__ import annotations

from typing import Annotated

import typer

from devflow_cli.main import app
from devflow_cli.run import Run, command


@command(app)
async def handoff(
    run: Run,
    session: Annotated[
        str, typer.Argument(help="A session id, a path to a transcript, or 'latest'.")
    ] = "latest",
    to: Annotated[str, typer.Option(help="The model to go on at.")] = "auto",
    prompt: Annotated[
        str | None, typer.Option(help="What to do next; else the session's last wish.")
    ] = None,
    write_back: Annotated[
        bool,
        typer.Option("--write-back", help="Leave a new session that `claude --resume` opens."),
    ] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Show the reply when it is whole.")
    ] = False,
) -> None:
    """Let a Claude Code session go on at another model, with what matters of it.

    The old transcript is never touched. With --write-back the reply comes home as a new session.
    """
    from devflow_openrouter import route_document
    from devflow_server import wiring

    from devflow_cli.answers import answer, document

    settings = run.settings()
    settings.require_keys()
    found = wiring.open_session(settings, session)
    async with wiring.open_gateway(settings) as gateway:
        prepared = wiring.prepare_handoff(gateway, found, model=to, prompt=prompt)
        for line in prepared.report:
            run.remark(line)
        reply = await answer(
            run, gateway, prepared.request, is_streamed=not (no_stream or run.as_json)
        )
    shown = document(reply, route_document(reply.route))
    shown["handoff"] = prepared.document
    if write_back:
        resume = wiring.write_back(found, reply, prompt=prepared.prompt)
        shown["resume"] = resume
        run.say(f"\nTake it back with:  {resume['command']}")
    if run.as_json:
        run.emit(shown)
