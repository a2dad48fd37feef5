"""Finds the models around the chosen one, for the record and for people who ask why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from devflow_core.routing import Alternatives, Option

from devflow_routing.cost_optimizer import ModelEstimates
from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.model_selector import Floats, Ints, Selection
from devflow_routing.strategies.ordering import BALANCE

MAX_FRONTIER = 12
"""The most points of the frontier that are kept."""
MIN_GAIN = 0.005
"""The least difference in quality that makes a model better; less is within every error."""
_STEPS = 20
"""The steps from a cost priority of 0 to one of 1."""
_MIN_SAVING = 0.02
"""The least share of the cost that makes a model cheaper."""


def find_alternatives(
    chosen: int,
    selection: Selection,
    estimates: ModelEstimates,
    inputs: DecisionInputs | None = None,
) -> Alternatives:
    """Return the next better model, the next cheaper one, and the frontier of cost and quality.

    Only eligible models whose cost is known are compared.

    Args:
        chosen: the index of the chosen model.
        selection: the eligible models.
        estimates: what was expected of each.
        inputs: the request's weights, to find at which others another model would come first;
            None leaves that out.
    """
    able = np.flatnonzero(selection.eligible & np.isfinite(estimates.total_usd))
    cost, quality = estimates.total_usd[able], estimates.quality[able]
    own_cost, own_quality = estimates.total_usd[chosen], estimates.quality[chosen]
    better = np.flatnonzero(quality > own_quality + MIN_GAIN)
    cheaper = np.flatnonzero(cost < own_cost * (1 - _MIN_SAVING))
    nearest = [
        *(better[[cost[better].argmin()]] if len(better) else ()),
        *(cheaper[[quality[cheaper].argmax()]] if len(cheaper) else ()),
    ]
    places = [*nearest, *_find_frontier(cost, quality)]
    options = _list_options(selection, estimates, able[places])
    return Alternatives(
        next_better=next(options) if len(better) else None,
        next_cheaper=next(options) if len(cheaper) else None,
        frontier=tuple(options),
        left_out=selection.count_exclusions(),
        turns=() if inputs is None else _find_turns(selection, estimates, inputs),
    )


def _find_turns(
    selection: Selection, estimates: ModelEstimates, inputs: DecisionInputs
) -> tuple[tuple[float, str], ...]:
    """Return which model comes first from which cost priority on, in steps of 0.05 from 0 to 1.

    Args:
        selection: the eligible models.
        estimates: what is expected of each.
        inputs: the request's other weights, and its task.
    """
    able = np.flatnonzero(selection.eligible & np.isfinite(estimates.total_usd))
    turns: list[tuple[float, str]] = []
    for step in range(_STEPS + 1 if len(able) else 0):
        priority = step / _STEPS
        weights = replace(inputs.weights, cost_priority=priority)
        scores = BALANCE.score(estimates, weights, inputs.task.difficulty)
        model = selection.selector.models[int(able[scores[able].argmax()])].id
        if not turns or turns[-1][1] != model:
            turns.append((priority, model))
    return tuple(turns)


def _find_frontier(cost: Floats, quality: Floats) -> list[int]:
    """Return the places that no other beats in cost and quality, cheapest first, thinned out."""
    order: Ints = np.lexsort((-quality, cost))
    ordered = quality[order]
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(ordered)[:-1]))
    places: list[int] = order[ordered > best_before].tolist()
    if len(places) <= MAX_FRONTIER:
        return places
    kept = np.linspace(0, len(places) - 1, MAX_FRONTIER).round().astype(int)
    return [places[index] for index in kept.tolist()]


def _list_options(
    selection: Selection, estimates: ModelEstimates, indices: Ints
) -> Iterator[Option]:
    """Yield the models at these indices with what was expected, rounded to what is meaningful."""
    models = selection.selector.models
    places: list[int] = indices.tolist()
    qualities: list[float] = estimates.quality[indices].round(4).tolist()
    costs: list[float] = estimates.total_usd[indices].tolist()
    latencies: list[float] = estimates.latency_s[indices].round(1).tolist()
    rows = zip(places, qualities, costs, latencies, strict=True)
    for index, quality, cost, latency_s in rows:
        yield Option(
            model=models[index].id,
            quality=quality,
            cost_usd=float(f"{cost:.4g}"),
            latency_s=latency_s,
        )
