"""Defines the Typer application that every command registers with."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

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
        sys.stdout.write(f"devflow {metadata.version('devflow-gateway-cli')}\n")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """The right model for each request, its cost to the cent, and a way back to Claude Code."""
