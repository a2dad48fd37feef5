"""Finds the models that are most likely to be asked, whose endpoints are worth knowing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

from devflow_core.errors import DevFlowError
from devflow_core.request import ChatRequest
from devflow_core.routing import Route, Task, TaskType

from devflow_routing.catalogue import Catalogue
from devflow_routing.policy import MODES, RoutingPolicy, is_pattern


def find_likely_models(
    policy: RoutingPolicy,
    catalogue: Catalogue,
    route: Callable[[ChatRequest, Task], Route],
    *,
    limit: int,
) -> tuple[str, ...]:
    """Return the ids of the models that the settings name, then of those that `auto` chooses.

    Last come those that it would choose at other weights: the frontiers of its decisions.

    Args:
        policy: the user's settings.
        catalogue: the models.
        route: makes the decisions, one for each kind of task and mode.
        limit: the most ids that are returned.
    """
    named = [
        found.id
        for name in _list_names(policy)
        if (found := catalogue.find_successor(policy.resolve(name))) is not None
    ]
    chosen: Counter[str] = Counter()
    frontier: Counter[str] = Counter()
    for decided in _decide(route):
        chosen.update(one.model for one in decided.candidates)
        if decided.alternatives is not None:
            frontier.update(one.model for one in decided.alternatives.frontier)
    likely = [model for model, _ in (*chosen.most_common(), *frontier.most_common())]
    plain = dict.fromkeys(one for one in (*named, *likely) if one in catalogue)
    return tuple(plain)[:limit]


def _list_names(policy: RoutingPolicy) -> Iterator[str]:
    """Yield the models that the settings name, the most wanted first."""
    names = [*policy.preferred_models, *policy.fallback_models]
    names += [str(node["model"]) for node in policy.nodes.values() if node.get("model")]
    names += [name for models in policy.fallbacks.values() for name in models]
    names += policy.aliases.values()
    for name in names:
        yield from (
            one.strip()
            for one in name.split(",")
            if one.strip() and not is_pattern(one) and one.strip() not in MODES
        )


def _decide(route: Callable[[ChatRequest, Task], Route]) -> Iterator[Route]:
    """Yield a decision for a short prompt of each kind in each mode; errors are left out."""
    for kind in get_args(TaskType):
        task = Task(type=kind, complexity="medium", confidence=1.0)
        for mode in MODES:
            try:
                yield route(ChatRequest.from_text(kind, model=mode), task)
            except DevFlowError:  # the settings may leave nobody; nothing is asked for then
                continue
