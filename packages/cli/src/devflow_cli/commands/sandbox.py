"""`devflow sandbox`: the OpenRouter stand-in alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from devflow_cli.app import app
from devflow_cli.deadline import writing_quietly
from devflow_cli.run import Run, command


@command(app)
async def sandbox(
    run: Run,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free port.")] = 0,
    faults: Annotated[
        Path | None, typer.Option(help="A script of faults.", show_default=False)
    ] = None,
    script: Annotated[
        Path | None, typer.Option(help="A script of replies, turn by turn.", show_default=False)
    ] = None,
) -> None:
    """Run a stand-in for OpenRouter on this machine until Ctrl-C or SIGTERM.

    It speaks the same wire, charges the same prices in a book of its own (GET /sandbox/bill) and
    fails on order (PUT /sandbox/faults). It costs nothing and knows nothing.
    """
    from devflow_sandbox import Sandbox, serve

    def announce(ready: Sandbox) -> None:
        with writing_quietly():
            show(ready)

    def show(ready: Sandbox) -> None:
        if run.as_json:
            run.emit({"base_url": ready.base_url, "api_key": ready.api_key})
            return
        run.say("The OpenRouter stand-in is ready. In another terminal:\n")
        run.say(f"  export OPENROUTER_BASE_URL={ready.base_url}")
        run.say(f"  export OPENROUTER_API_KEY={ready.api_key}\n")
        run.say(f"Its bill: {ready.url}/sandbox/bill   (Ctrl-C ends it)")

    await serve(Sandbox(host=host, port=port, faults=faults, script=script), announce)
