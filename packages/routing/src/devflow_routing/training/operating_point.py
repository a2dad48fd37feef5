"""Chooses the operating price: the one that saves most and keeps the best model's quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

PRICES: Floats = np.concatenate(([0.0], np.geomspace(1e-3, 30.0, 40)))
"""The prices to try: how much quality the best single model's mean cost is worth.

`find_operating_point` chooses one.
"""
MIN_GROUP_QUALITY = 0.97
"""The share of the best single model's quality to keep in every group of left-out prompts."""
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


def choose_models(quality: Floats, costs: Floats, best: int, price: float) -> Ints:
    """Return the column of the model with the best value for each prompt.

    The value is the quality less the price of the cost. Models that are expected to cost more than
    the best single one are never chosen.
    """
    value = np.where(costs <= costs[:, [best]] * 1.0001, quality - price * costs, -np.inf)
    return value.argmax(axis=1)


def find_operating_point(
    trial: Trial, trusted: Flags, *, groups: Ints | None = None, target: float = 1.0
) -> OperatingPoint:
    """Return the point that saves most; where no price keeps the quality, one that saves nothing.

    Args:
        trial: expectations and results of left-out prompts.
        trusted: whether a model is chosen for each prompt; all others go to the best single model.
        groups: the group of each prompt, in each of which nearly all of the quality is to be kept.
        target: the share of the best single model's quality to keep over all prompts.
    """
    places = np.arange(len(trial.scores))
    due, bill = trial.scores[:, trial.best], float(trial.costs_usd[:, trial.best].sum())
    found = OperatingPoint()
    for price in PRICES.tolist():
        chosen = np.where(trusted, trial.choose(price), trial.best)
        reached = trial.scores[places, chosen]
        kept = float(reached.sum() / max(due.sum(), 1e-9))
        saved = 1 - float(trial.costs_usd[places, chosen].sum()) / bill
        if saved <= found.saved or kept < target:
            continue
        if groups is None or _keeps_groups(reached, due, groups):
            found = OperatingPoint(price=price, quality_kept=kept, saved=saved)
    return found


def _keeps_groups(reached: Floats, due: Floats, groups: Ints) -> bool:
    kept = np.bincount(groups, reached) + _PRIOR
    return bool((kept >= MIN_GROUP_QUALITY * (np.bincount(groups, due) + _PRIOR)).all())
