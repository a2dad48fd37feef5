"""`devflow handoff`: continues a Claude Code session with another model."""

from __future__ import annotations

from typing import Annotated

import typer

from devflow_cli.app import app
from devflow_cli.completion import complete_model, complete_session
from devflow_cli.options import FloorOption, ProjectFolder
from devflow_cli.run import Run, command


@command(app)
async def handoff(
    run: Run,
    session: Annotated[
        str,
        typer.Argument(
            help="A session id, the path of a transcript, or 'latest' of the project.",
            autocompletion=complete_session,
        ),
    ] = "latest",
    project: ProjectFolder = None,
    to: Annotated[
        str, typer.Option(help="The model that takes over.", autocompletion=complete_model)
    ] = "auto",
    floor: FloorOption = None,
    prompt: Annotated[
        str | None, typer.Option(help="What to do next; by default, continue where it stopped.")
    ] = None,
    write_back: Annotated[
        bool,
        typer.Option("--write-back", help="Write a new session for `claude --resume`."),
    ] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Show the reply only when it is complete.")
    ] = False,
) -> None:
    """Continue a Claude Code session with another model, given the history or a brief of it.

    The old transcript is never changed. With --write-back, the reply returns as a new session.
    """
    from devflow_claude_code import hand_off
    from devflow_claude_code.handoff.request import DEFAULT_PROMPT
    from devflow_gateway import wiring
    from devflow_gateway.handoff import HandedOff, find_handoff_target
    from devflow_routing import route_as_json

    from devflow_cli.lookup import describe_session, find_session
    from devflow_cli.options import apply_options
    from devflow_cli.views.lean import lean_completion
    from devflow_cli.views.reply import ask_and_show, completion_document

    settings = run.settings()
    settings.require_keys()
    found = find_session(settings, session, project)
    async with wiring.open_gateway(settings) as gateway:
        target = find_handoff_target(to, gateway.catalogue.current, settings.aliases)
        prepared = hand_off(found, prompt or DEFAULT_PROMPT, target=target)
        # said before anything of the session is sent
        run.remark(describe_session(found))
        run.remark(prepared.report.describe())
        request = apply_options(prepared.request, None, None, None, floor)
        reply = await ask_and_show(
            run, gateway, request, is_streamed=not (no_stream or run.as_json)
        )
    shown = completion_document(reply, route_as_json(reply.route))
    shown["handoff"] = prepared.report.as_json()
    if write_back:
        written = HandedOff(
            reply=reply, handoff=prepared, session=found, config_dir=settings.claude_dir
        ).write_back()
        shown["resume"] = written.as_json()
        run.say(f"\nResume it with:  {written.shell_command}")
    if run.as_json:
        run.emit(shown, lean_completion)
