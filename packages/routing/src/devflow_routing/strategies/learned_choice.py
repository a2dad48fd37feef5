"""Lets what was learned from the user's own answers decide among the models that it knows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from devflow_routing.ability import Expected, find_guess_margin
from devflow_routing.cost_optimizer import ModelEstimates
from devflow_routing.learned.expectation import LearnedExpectation
from devflow_routing.model_selector import Flags, Floats, Ints
from devflow_routing.policy import Weights
from devflow_routing.strategies.ordering import weigh

_USUAL = Weights()
"""The weights that the operating price of a table is meant for."""
_SAME_COST = 1.0001
"""The factor within which two expected costs are the same, for rounding."""


class LearnedChoice:
    """What was learned for one request, in the order of the catalogue's models.

    Args:
        learned: what the table expects.
        index: the place of each model in the arrays.
        eligible: which models may be chosen.
    """

    def __init__(
        self, learned: LearnedExpectation, index: Mapping[str, int], eligible: Flags
    ) -> None:
        columns = [one for one, name in enumerate(learned.models) if name in index]
        self._places: Ints = np.array(
            [index[learned.models[one]] for one in columns], dtype=np.int64
        )
        self._quality: Floats = np.array(learned.quality)[columns]
        self._costs: Floats = np.array(learned.costs)[columns]
        self._price = learned.price
        self._best = index.get(learned.best)
        self._best_column = (
            -1 if self._best is None else columns.index(learned.models.index(learned.best))
        )
        self.applies = self._best is not None and bool(eligible[self._best])
        """Whether it says anything here.

        Without the best single model nothing is known of how far the others are to be trusted.
        """

    def merge(self, general: Expected) -> Expected:
        """Return the expected quality with what was learned in it.

        The models that the table knows get their learned quality; all others theirs on its scale,
        by the best single model, which both know.
        """
        mean, lower = self._rescale(general.mean), self._rescale(general.lower)
        known = general.has_evidence.copy()
        known[self._places] = True
        margin = find_guess_margin(known)
        return Expected(mean=mean, lower=lower, has_evidence=known, guess_margin=margin)

    def score(self, general: Floats, estimates: ModelEstimates, weights: Weights) -> Floats:
        """Return the score of each model, by which the highest comes first.

        The models that the table knows, and that are not dearer than the best single one, are
        scored by learned quality, less learned cost at the operating price, less time. All others
        come after them, in their own order. Where time counts at least as much as money, the
        general scores are returned, since the table knows nothing of time.

        Args:
            general: the scores by public evidence.
            estimates: the estimates with the learned quality in them.
            weights: how much cost and time count.
        """
        if weights.cost_priority <= weights.performance_priority:
            return general
        best_usd = max(float(estimates.cost_usd[self._best or 0]), 1e-12)
        costs = self._costs + estimates.switch_cost_usd[self._places] / best_usd
        price = self._price * weigh(weights.cost_priority) / weigh(_USUAL.cost_priority)
        time = weigh(weights.performance_priority) * estimates.slowness[self._places]
        value = estimates.quality[self._places] - price * costs - time
        is_first = self._costs <= self._costs[self._best_column] * _SAME_COST
        others = np.nan_to_num(general, nan=-np.inf)
        scores = others - _find_lift(others, value[is_first])
        scores[self._places[is_first]] = value[is_first]
        return scores

    def _rescale(self, general: Floats) -> Floats:
        ratio = self._quality[self._best_column] / max(float(general[self._best or 0]), 1e-9)
        quality = np.clip(general * ratio, 0.0, 1.0)
        quality[self._places] = self._quality
        return quality


def _find_lift(others: Floats, first: Floats) -> float:
    """Return by how much others have to be lowered to come after the first ones."""
    highest = float(others.max(initial=-np.inf))
    return max(0.0, highest - float(first.min()) + 1e-3) if np.isfinite(highest) else 0.0
