"""Adds the checks of answers that the command line asks for, and says how they come out."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from devflow_core.request import ChatRequest
    from devflow_core.routing import CheckStep
    from devflow_core.settings import Settings

    from devflow_cli.run import Run

MAX_SHOWN_LINES = 8
"""The last lines of a command's output that are shown."""


def add_checks(
    run: Run, settings: Settings, request: ChatRequest, command: str | None
) -> ChatRequest:
    """Return the request with its checks: of `--verify`, or of the mode `auto:verified`.

    Args:
        run: where to say how each answer fared.
        settings: the checks of the mode.
        request: what is asked.
        command: the command line of `--verify`; None: none was given.

    Raises:
        typer.BadParameter: the command line has an open quote, or is empty.
    """
    from devflow_core.verification import VERIFIED_MODE
    from devflow_gateway.wiring import read_checks
    from devflow_routing import RoutingPolicy

    is_mode = RoutingPolicy(aliases=settings.aliases).resolve(request.model) == VERIFIED_MODE
    if command is None and not is_mode:
        return request
    checks = replace(
        read_checks(settings),
        command=settings.verify if command is None else _split(command),
        on_step=None if run.as_json else partial(_tell, run),
    )
    return replace(request, verification=checks)


def _split(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise typer.BadParameter(f"{error}", param_hint="--verify") from None
    if not words:
        raise typer.BadParameter("give a command, as in 'pytest -q'", param_hint="--verify")
    return words


def _tell(run: Run, step: CheckStep, detail: str) -> None:
    told = f"{step.outcome} by {step.check}: {step.reason}" if step.check else step.reason
    run.remark(f"Check    {step.model}: {told}")
    if detail and step.outcome != "accepted":
        for line in detail.splitlines()[-MAX_SHOWN_LINES:]:
            run.remark(f"         {line}")
