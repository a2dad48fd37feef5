"""The `devflow` command: registers every command and runs the one that was asked for."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

from devflow_cli.run import guard

app = typer.Typer(
    name="devflow",
    help="The right model for each request, its cost to the cent, and a way back to Claude Code.",
    no_args_is_help=True,
    # rich's help pages cost 150 ms at every start; tables and progress still use rich
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def version(
    show: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """The right model for each request, its cost to the cent, and a way back to Claude Code."""
    if show:
        sys.stdout.write(f"devflow {metadata.version('devflow-cli')}\n")
        raise typer.Exit


def run() -> None:
    """The entry point of the installed command; ends the process with the exit status."""
    from devflow_cli import commands  # noqa: F401 - importing registers the commands

    sys.exit(guard(lambda: app(standalone_mode=True)))
