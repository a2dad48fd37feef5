"""Folds the keyword arguments that every method of a gateway takes into the request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from devflow_core.attribution import Attribution
from devflow_core.errors import InvalidRequest
from devflow_core.masking import mask
from devflow_core.repository import describe_folder
from devflow_core.request import ChatRequest
from devflow_core.routing import SelectionCriteria
from devflow_core.verification import Verification

MAX_TAGS = 16
"""The most tags that a request may have, its own and those of the call together."""
MAX_TAG_CHARACTERS = 128
"""The greatest length of a tag's name, and of its value."""
_TAG_NAME = re.compile(r"[\w.:/@+~-]+")

UsdAmount = Decimal | float | str
"""An amount of money in USD; a float counts as the number that it is printed as."""


def apply_arguments(
    request: ChatRequest,
    *,
    criteria: SelectionCriteria | None = None,
    max_cost_usd: UsdAmount | None = None,
    project: str | Path | None = None,
    tags: Mapping[str, str] | None = None,
    verification: Verification | None = None,
) -> ChatRequest:
    """Return the request with the arguments of a call; those that are None leave it as it is.

    Args:
        request: what is asked.
        criteria: preferences for the choice; what is None in them keeps the request's.
        max_cost_usd: the most that the request may cost in the worst case, in USD.
        project: the project to book on: an existing folder, whose git repository is meant, or a
            name.
        tags: short labels to book with it, added to the request's own: at most 16 together, each
            name of letters, digits and `_.:/@+~-`, names and values of at most 128 characters.
        verification: the checks that an answer has to pass, in place of the request's own.

    Raises:
        InvalidRequest: the amount is not one, the folder does not exist, or a tag is not allowed.
    """
    if criteria is not None:
        request = replace(request, criteria=criteria.over(request.criteria))
    if max_cost_usd is not None:
        request = replace(request, max_cost_usd=read_usd(max_cost_usd, "max_cost_usd"))
    if verification is not None:
        request = replace(request, verification=verification)
    if project is not None or tags:
        labels = request.attribution
        if project is not None:
            labels = _label_project(labels, project)
        if tags:
            labels = replace(labels, tags=_merge_tags(labels.tags, tags))
        request = replace(request, attribution=labels)
    return request


def read_usd(amount: UsdAmount, name: str) -> Decimal:
    """Return an amount in USD exactly.

    Args:
        amount: a number, or the text of one.
        name: what the message calls it.

    Raises:
        InvalidRequest: it is not a finite number, or is below 0.
    """
    try:
        value = amount if isinstance(amount, Decimal) else Decimal(str(amount))
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or value < 0:
        raise InvalidRequest(f"{name}: give an amount in USD of 0 or more, such as 0.05.")
    return value


def _label_project(labels: Attribution, project: str | Path) -> Attribution:
    """Return the labels of another project, whose branch and commit replace the former ones.

    Raises:
        InvalidRequest: the project is given as a path, and there is no such folder.
    """
    folder = Path(project).expanduser()
    if folder.is_dir():
        found = describe_folder(folder)
        return replace(labels, project=found.project, branch=found.branch, commit=found.commit)
    # meant as a folder, so a typo must not become a project of that name
    if isinstance(project, Path) or project.startswith(("/", ".", "~")):
        raise InvalidRequest(f"project: there is no folder {project}.")
    return replace(labels, project=project, branch=None, commit=None)


def _merge_tags(own: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    """Return a request's tags with those of a call, which replace tags of the same name.

    Raises:
        InvalidRequest: they are too many, or one of the call's is not short and plain.
    """
    if len({*own, *given}) > MAX_TAGS:
        of = f"; the request has {len(own)} already" if own else ""
        raise InvalidRequest(f"tags: give at most {MAX_TAGS} of them{of}.")
    _check_tags(given)
    return {**own, **given}


def _check_tags(tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        texts = (name, value)
        is_text = all(isinstance(one, str) for one in texts)
        if not is_text or any(len(one) > MAX_TAG_CHARACTERS for one in texts):
            raise InvalidRequest(
                f"tags: names and values are texts of at most {MAX_TAG_CHARACTERS} characters."
            )
        if not _TAG_NAME.fullmatch(name) or not value.isprintable():
            raise InvalidRequest(
                "tags: a name has letters, digits and _.:/@+~- only, a value nothing invisible."
            )
        if mask(name) != name or mask(value) != value:
            raise InvalidRequest("tags: one of them looks like a key; the ledger keeps none.")
