"""`devflow handoff`: a Claude Code session goes on at another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devflow_cli.main import app
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_claude_code import Target
    from devflow_openrouter.models import Catalogue


@command(app)
async def handoff(
    run: Run,
    session: Annotated[
        str, typer.Argument(help="A session id, a path to a transcript, or 'latest'.")
    ] = "latest",
    to: Annotated[str, typer.Option(help="The model to go on at.")] = "auto",
    prompt: Annotated[
        str | None, typer.Option(help="What to do next; else to go on where it stopped.")
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
    from devflow_claude_code import Reply
    from devflow_claude_code import write_back as write_session
    from devflow_claude_code.handoff import DEFAULT_PROMPT
    from devflow_core.chat import Message
    from devflow_openrouter.routing import as_json as route_json
    from devflow_server import wiring

    from devflow_cli.answers import answer, document
    from devflow_cli.sources import find_session

    settings = run.settings()
    settings.require_keys()
    found = find_session(settings, session)
    prepared = found.handoff(
        prompt or DEFAULT_PROMPT, target=target(to, wiring.catalogue(settings))
    )
    run.remark(prepared.report.sentence())
    async with wiring.open_gateway(settings) as gateway:
        reply = await answer(
            run, gateway, prepared.request, is_streamed=not (no_stream or run.as_json)
        )
    shown = document(reply, route_json(reply.route))
    shown["handoff"] = prepared.report.as_json()
    if write_back:
        answered = (Message(role="assistant", parts=reply.parts),)
        written = write_session(
            found,
            Reply(prompt=prepared.prompt, messages=answered, model=reply.model, usage=reply.usage),
            config_dir=settings.claude_dir,
        )
        shown["resume"] = written.as_json()
        run.say(f"\nTake it back with:  {written.command}")
    if run.as_json:
        run.emit(shown)


def target(model: str, known: Catalogue) -> Target:
    """What the model to hand over to can take; where the router chooses, it sees to that."""
    from devflow_claude_code import Target
    from devflow_openrouter.models import Capability

    config = None if model.startswith("auto") else known.find(model)
    if config is None:
        return Target(model=model)
    return Target(
        model=model,
        window_tokens=config.context_length,
        takes_images=Capability.IMAGES in config.capabilities,
    )
