"""Parses options that several commands share: criteria, amounts, dimensions, projects.

An invalid value raises `typer.BadParameter`, which ends the command with status 2.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from devflow_core.attribution import Attribution
    from devflow_core.dimensions import GroupBy
    from devflow_core.request import ChatRequest
    from devflow_core.routing import SelectionCriteria

ProjectFolder = Annotated[
    Path | None,
    typer.Option(
        "--project",
        file_okay=False,
        show_default=False,
        help="The project's folder.  [default: the working directory]",
    ),
]
"""The option for a project's folder; None is the working directory."""
UnlistedModels = Annotated[
    bool, typer.Option("--unlisted", help="Accept a model that the catalogue does not list.")
]
"""The option for models that are still to come, without which a model's name is checked."""


def read_amount(text: str, option: str) -> Decimal:
    """Return the amount in USD that an option gives.

    Raises:
        typer.BadParameter: the text is not an amount; the message names `option`.
    """
    from devflow_core.usage import parse_amount

    amount = parse_amount(text)
    if amount is None:
        raise typer.BadParameter(f"{text!r} is not an amount in USD", param_hint=option)
    return amount


def apply_options(
    request: ChatRequest,
    cost_priority: float | None,
    performance_priority: float | None,
    max_cost: str | None,
    quality_floor: float | None = None,
) -> ChatRequest:
    """Return the request with the command line's options for cost, speed and quality.

    Args:
        request: the request without them.
        cost_priority: see `SelectionCriteria`.
        performance_priority: see `SelectionCriteria`. If both are None, the settings' apply; if
            one is, the default of `SelectionCriteria`.
        max_cost: an amount in USD; None sets no limit.
        quality_floor: see `SelectionCriteria`; None leaves it to the settings.

    Raises:
        typer.BadParameter: `max_cost` is not an amount.
    """
    if max_cost is not None:
        request = replace(request, max_cost_usd=read_amount(max_cost, "--max-cost"))
    criteria = parse_criteria(cost_priority, performance_priority, quality_floor)
    return (
        request if criteria is None else replace(request, criteria=criteria.over(request.criteria))
    )


FloorOption = Annotated[
    float | None,
    typer.Option(
        "--floor",
        min=0,
        max=1,
        help="The least quality that `auto` settles for, as a share of the session's model's, or"
        " of the best one's where no session is given.",
    ),
]
"""The `--floor` of all commands in which a model is chosen."""


def read_project(project: str | None) -> tuple[Path | None, Attribution]:
    """Return a project's folder and the labels of its work; for a mere name, the folder is None.

    With None, the folder is None and the labels are empty: the gateway then uses the working
    directory.

    Raises:
        typer.BadParameter: the text is a path, and there is no such folder.
    """
    from devflow_core.attribution import Attribution
    from devflow_core.repository import describe_folder

    if project is None:
        return None, Attribution()
    folder = Path(project).expanduser()
    if folder.is_dir():
        return folder, describe_folder(folder)
    # meant as a folder, so a typo must not become a project of that name
    if project.startswith(("/", ".", "~")):
        raise typer.BadParameter(f"there is no folder {project!r}", param_hint="--project")
    return None, Attribution(project=project)


def parse_dimensions(by: str) -> tuple[GroupBy, ...]:
    """Return the dimensions of a report, given as `model` or `project,model`.

    Raises:
        typer.BadParameter: one is unknown, or they are not one or two different ones.
    """
    from devflow_core.dimensions import read_dimensions
    from devflow_core.errors import InvalidRequest

    try:
        return read_dimensions(by)
    except InvalidRequest as error:
        raise typer.BadParameter(str(error).removeprefix("by: "), param_hint="--by") from None


def parse_criteria(
    cost_priority: float | None,
    performance_priority: float | None,
    quality_floor: float | None = None,
) -> SelectionCriteria | None:
    """Return the criteria of the command line; None, for the settings', if both are None.

    One that is None gets the default of `SelectionCriteria`.
    """
    from devflow_core.routing import SelectionCriteria

    given = (cost_priority, performance_priority, quality_floor)
    if all(one is None for one in given):
        return None
    return SelectionCriteria(
        cost_priority=cost_priority,
        performance_priority=performance_priority,
        quality_floor=quality_floor,
    )
