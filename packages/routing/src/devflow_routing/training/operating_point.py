"""Chooses the price of quality, and the gate, at which a table saves most and loses nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRICES: Floats = np.concatenate(([0.0], np.geomspace(1e-3, 30.0, 40)))
"""The prices to try: how much quality the best single model's mean cost is worth.

`find_operating_point` chooses one.
"""
MIN_GROUP_QUALITY = 0.97
"""The share of the best single model's quality to keep in every group of left-out prompts."""
MIN_UNKNOWN_QUALITY = 0.98
"""The share of the best single model's quality to keep in domains that were left out whole."""
MIN_SAVED_SHARE = 0.85
"""The share of the highest saving that safety in unknown domains may not go below."""
UNLIKE_SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
"""The shares of the prompts learned from that a gate may count as unlike all domains."""
UNLIKE_SHARES_OF_ONE = (0.5,)
"""The same where all prompts are of one domain, so that nothing tells what others are like."""
_PRIOR = 3.0
"""Right answers added to both sides of a group, so that few prompts decide little."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """Expectations for prompts that were left out of learning, with the true results.

    Arrays have one row a prompt and one column a model.
    """

    quality: Floats
    costs: Floats
    """The expected costs, in shares of the best single model's mean."""
    scores: Floats
    costs_usd: Floats
    best: int
    """The column of the best single model."""

    def choose(self, price: float) -> Ints:
        """Return the column of the model that is chosen for each prompt; see `choose_models`."""
        return choose_models(self.quality, self.costs, self.best, price)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A price, with what it keeps and saves on the prompts it was chosen by."""

    price: float = 0.0
    quality_kept: float = 1.0
    """The quality that is reached, as a share of the best single model's."""
    saved: float = 0.0
    """The share of the best single model's cost that is saved; 0: no price is worth using."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GatedTrial:
    """A trial whose prompts pass a gate if they are like something known."""

    trial: Trial
    likeness: Floats

    def total(self, thresholds: Floats) -> tuple[Floats, Floats]:
        """Return the shares of quality kept and of cost saved, by threshold and price."""
        places, best = np.arange(len(self.likeness)), self.trial.best
        scores, costs = self.trial.scores, self.trial.costs_usd
        passes = (self.likeness >= thresholds[:, None]).astype(np.float64)
        gained, saved = np.zeros((2, len(PRICES), len(thresholds)))
        for row, price in enumerate(PRICES.tolist()):
            chosen = self.trial.choose(price)
            gained[row] = passes @ (scores[places, chosen] - scores[:, best])
            saved[row] = passes @ (costs[:, best] - costs[places, chosen])
        due, bill = max(float(scores[:, best].sum()), 1e-9), float(costs[:, best].sum())
        return 1 + gained.T / due, saved.T / bill


def choose_models(quality: Floats, costs: Floats, best: int, price: float) -> Ints:
    """Return the column of the model with the best value for each prompt.

    The value is the quality less the price of the cost. Models that are expected to cost more than
    the best single one are never chosen.
    """
    value = np.where(costs <= costs[:, [best]] * 1.0001, quality - price * costs, -np.inf)
    return value.argmax(axis=1)


def find_operating_point(trial: Trial, *, groups: Ints, target: float) -> OperatingPoint:
    """Return the price that saves most; the point saves nothing if none keeps the quality.

    Args:
        trial: expectations and results of left-out prompts.
        groups: the group of each prompt, in each of which nearly all of the quality is to be kept.
        target: the share of the best single model's quality to keep over all prompts.
    """
    places = np.arange(len(trial.scores))
    due, bill = trial.scores[:, trial.best], float(trial.costs_usd[:, trial.best].sum())
    found = OperatingPoint()
    for price in PRICES.tolist():
        chosen = trial.choose(price)
        reached = trial.scores[places, chosen]
        kept = float(reached.sum() / max(due.sum(), 1e-9))
        saved = 1 - float(trial.costs_usd[places, chosen].sum()) / bill
        if saved <= found.saved or kept < target:
            continue
        if _keeps_groups(reached, due, groups):
            found = OperatingPoint(price=price, quality_kept=kept, saved=saved)
    return found


def find_gated_point(known: GatedTrial, unknown: GatedTrial | None) -> tuple[OperatingPoint, float]:
    """Return the price and the gate's threshold that together save most.

    They keep the best single model's quality on left-out prompts of known domains, and nearly all
    of it in domains that were left out as a whole. Where that costs too much of the saving, they
    keep as much there as the rest of it pays for.

    Args:
        known: expectations and results of prompts that were left out one by one.
        unknown: the same of prompts that were left out with their domain; None for a single domain.
    """
    shares = UNLIKE_SHARES_OF_ONE if unknown is None else UNLIKE_SHARES
    thresholds = np.quantile(known.likeness, shares)
    kept, saved = known.total(thresholds)
    safety = np.ones_like(kept) if unknown is None else unknown.total(thresholds)[0]
    savings = np.where(kept >= 1, saved, 0.0)
    is_enough = savings >= MIN_SAVED_SHARE * savings.max()
    is_safe = is_enough & (safety >= MIN_UNKNOWN_QUALITY)
    value = np.where(is_safe, savings, 0.0) if is_safe.any() else np.where(is_enough, safety, 0.0)
    row, column = np.unravel_index(value.argmax(), value.shape)
    threshold = float(thresholds[row])
    if savings[row, column] <= 0:
        return OperatingPoint(), threshold
    point = OperatingPoint(
        price=float(PRICES[column]),
        quality_kept=float(kept[row, column]),
        saved=float(saved[row, column]),
    )
    return point, threshold


def _keeps_groups(reached: Floats, due: Floats, groups: Ints) -> bool:
    kept = np.bincount(groups, reached) + _PRIOR
    return bool((kept >= MIN_GROUP_QUALITY * (np.bincount(groups, due) + _PRIOR)).all())
