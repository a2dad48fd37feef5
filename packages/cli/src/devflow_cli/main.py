"""The `devflow` command: registers every command and runs the one that was asked for."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
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


def _show_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"devflow {metadata.version('devflow-cli')}\n")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and leave."
        ),
    ] = False,
) -> None:
    """The right model for each request, its cost to the cent, and a way back to Claude Code."""


def run() -> None:
    """The entry point of the installed command; ends the process with the exit status."""
    import_module("devflow_cli.commands")  # importing registers the commands
    sys.exit(guard(lambda: app(standalone_mode=True)))
