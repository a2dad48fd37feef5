"""Shortens the documents of `--json` to what programs read; `--json=full` prints them whole.

No key that is promised disappears: lists become shorter, and a number says how many are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_LEAN_CANDIDATES = 5
"""The chosen model and the next ones: an automatic route asks four, one stands for the rest."""
_FULL_ONLY = ("features", "domains")
"""Keys of what a decision was made from: it is long, and only replays need it."""


def lean_route(route: Mapping[str, Any]) -> dict[str, Any]:
    """Return a route (`route_as_json`) with the best candidates only, and without its inputs.

    `left_out` is the number of candidates that are missing, eligible or not.
    """
    candidates: Sequence[Mapping[str, Any]] = route["candidates"]
    near = [one for one in candidates if one["excluded"] is None][:MAX_LEAN_CANDIDATES]
    task = {key: value for key, value in route["task"].items() if key not in _FULL_ONLY}
    rest = {key: value for key, value in route.items() if key not in _FULL_ONLY}
    if found := route.get("alternatives"):
        rest["alternatives"] = {key: found[key] for key in ("next_better", "next_cheaper")}
    return {**rest, "task": task, "candidates": near, "left_out": len(candidates) - len(near)}


def lean_completion(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finished call (`completion_document`) with a lean route and no text of the context.

    What could have been chosen instead is left to `explain`. Pieces of the context keep their kind,
    their tokens, and their place in the transcript.
    """
    context = document["context"]
    pieces = [
        {key: value for key, value in piece.items() if key != "text"} for piece in context["pieces"]
    ]
    route = lean_route(document["route"])
    route.pop("alternatives", None)
    return {
        **document,
        "route": route,
        "context": {**context, "pieces": pieces},
    }
