"""`devflow serve`: runs the HTTP gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devflow_cli.app import app
from devflow_cli.deadline import writing_quietly
from devflow_cli.run import Run, command

if TYPE_CHECKING:
    from devflow_server import Announcement


@command(app)
def serve(
    run: Run,
    host: Annotated[str | None, typer.Option(help="[default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free port. [default: 8420]")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share port and ledger.")
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Use the stand-in instead of a provider.")
    ] = False,
    no_key: Annotated[
        bool,
        typer.Option("--no-key", help="Require no client key; only for a single user on loopback."),
    ] = False,
) -> None:
    """Serve chat completions, messages and responses to existing clients."""
    import devflow_server

    settings = run.settings(
        host=host, port=port, workers=workers, require_key=False if no_key else None
    )
    _remark_unknown_variables(run)
    # first, so that a missing key is reported before anything is started
    if not sandbox:
        settings.require_keys()

    def announce(ready: Announcement) -> None:
        with writing_quietly():  # serve even if the reader of our output is gone
            show(ready)

    def show(ready: Announcement) -> None:
        if run.as_json:
            run.emit({"url": ready.url, "first_key": ready.first_key})
            return
        run.say(f"DevFlow serves at {ready.url}   (Ctrl-C stops it)\n")
        if ready.first_key:
            run.say(f"Your first client key, shown only now: {ready.first_key}\n")
        # the first key is shown once; later runs cannot know the user's keys
        key = ready.first_key or "YOUR_CLIENT_KEY"
        run.say("Claude Code   devflow claude")
        run.say(f"OpenAI SDK    OPENAI_BASE_URL={ready.url}/v1 OPENAI_API_KEY={key}")
        run.say(f"Anthropic SDK ANTHROPIC_BASE_URL={ready.url} ANTHROPIC_AUTH_TOKEN={key}")
        run.say(f"Description   {ready.url}/docs")

    if sandbox:
        from devflow_cli.sandbox_process import run_sandbox

        with run_sandbox() as process:
            apart = process.apply_to(settings, run.data_dir)
            run.remark(f"The stand-in answers. Its ledger is apart from yours: {apart.data_dir}")
            devflow_server.serve(apart, announce=announce)
        return
    devflow_server.serve(settings, announce=announce)


def _remark_unknown_variables(run: Run) -> None:
    """Name the variables that look like settings and are none, such as a mistyped limit."""
    from devflow_core.environment import list_variables
    from devflow_core.unknown_variables import find_unknown_variables

    if found := find_unknown_variables(list_variables()):
        run.remark(f"devflow: no setting is read from {', '.join(map(str, found))}.")
