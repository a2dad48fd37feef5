"""Lets what was learned from the user's own answers decide among the models that it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from devflow_core.routing import SelectionCriteria

from devflow_routing.cost_optimizer import QUALITY_PER_HALVING, ModelEstimates
from devflow_routing.learned.expectation import LearnedExpectation
from devflow_routing.model_selector import Flags, Floats

_USUAL_COST_PRIORITY = SelectionCriteria().cost_priority
"""The priority that the operating price of a table is meant for."""


def apply_learned(
    learned: LearnedExpectation,
    index: Mapping[str, int],
    eligible: Flags,
    general: Floats,
    estimates: ModelEstimates,
    criteria: SelectionCriteria,
) -> ModelEstimates:
    """Return the estimates with the learned expectation in them.

    The models that the table knows get their learned quality; all others theirs on its scale, by
    the best single model, which both know. If money counts more than time, the known models come
    first, by learned quality less learned cost at the operating price, none dearer than the best
    single model; the others follow in their own order. If that one cannot take the request, nothing
    is changed, since nothing is known then of the models that are left.

    Args:
        learned: what the table expects.
        index: the place of each model in the arrays.
        eligible: which models may be chosen.
        general: the quality by public evidence.
        estimates: what was estimated with it.
        criteria: the weights of cost and time.
    """
    best = index.get(learned.best)
    if best is None or not eligible[best]:
        return estimates
    columns = [one for one, name in enumerate(learned.models) if name in index]
    places = np.array([index[learned.models[one]] for one in columns])
    rates = estimates.quality / np.maximum(general, 1e-9)
    scores = np.array(learned.quality)[columns]
    on_scale = general * (learned.quality[learned.models.index(learned.best)] / general[best])
    quality = np.minimum(on_scale, 1.0)
    quality[places] = scores
    good = quality * rates
    if criteria.cost_priority <= criteria.performance_priority:
        utility = estimates.utility + good - estimates.quality
        return replace(estimates, quality=good, utility=utility)
    costs = np.array(learned.costs)[columns]
    switch = estimates.switch_cost_usd[places] / max(float(estimates.cost_usd[best]), 1e-12)
    price = learned.price * (criteria.cost_priority / _USUAL_COST_PRIORITY) ** 3
    waiting = QUALITY_PER_HALVING * criteria.performance_priority**3
    value = good[places] - price * (costs + switch)
    value -= waiting * np.log2(1 + estimates.latency_s[places])
    is_first = costs <= costs[columns.index(learned.models.index(learned.best))] * 1.0001
    utility = estimates.utility - _lift(estimates.utility, value[is_first])
    utility[places[is_first]] = value[is_first]
    return replace(estimates, quality=good, utility=utility)


def _lift(others: Floats, first: Floats) -> float:
    """Return by how much others have to be lowered to come after the first ones."""
    highest = float(others.max(initial=-np.inf))
    return max(0.0, highest - float(first.min()) + 1e-3) if np.isfinite(highest) else 0.0
