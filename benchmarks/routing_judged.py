"""Puts judgements into figures: intervals of 95 % by bootstrap over prompts, and baselines.

Quality and savings are in % of the best single model, as the examples that were learned from name
it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from devflow_routing.training.answers import Answers
from devflow_routing.training.evaluate import Judgement
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def describe(judgement: Judgement, rounds: int) -> dict[str, Any]:
    """Return quality and saving with their intervals."""
    return interval(resample(judgement, rounds))


def resample(judgement: Judgement, rounds: int) -> Floats:
    """Return quality and saving: first as measured, then of resampled prompts."""
    columns = np.stack(
        (
            judgement.scores,
            judgement.costs_usd,
            judgement.best_scores,
            judgement.best_costs_usd,
        )
    )
    random = np.random.default_rng(7)
    count = columns.shape[1]
    drawn = [columns[:, random.integers(0, count, count)].sum(axis=1) for _ in range(rounds)]
    sums = np.array([columns.sum(axis=1), *drawn])
    kept = 100 * sums[:, 0] / np.maximum(sums[:, 2], 1e-9)
    return np.stack((kept, 100 * (1 - sums[:, 1] / sums[:, 3])), axis=1)


def interval(samples: Floats) -> dict[str, Any]:
    """Return quality and saving with intervals, from samples or means of samples."""
    low, high = np.percentile(samples[1:], (2.5, 97.5), axis=0)
    return {
        "quality": round(samples[0, 0], 2),
        "quality_ci": [round(low[0], 2), round(high[0], 2)],
        "saved": round(samples[0, 1], 2),
        "saved_ci": [round(low[1], 2), round(high[1], 2)],
    }


def find_baselines(answers: Answers, judgement: Judgement) -> dict[str, list[float]]:
    """Return [quality, saved] of single models, of the best random mixture, and of foresight.

    `zero` is the best random mixture of two models for what the router paid, chosen on the judged
    prompts themselves, which flatters it.
    """
    scores, costs = answers.scores, answers.costs_usd
    means, prices = scores.mean(axis=0), costs.mean(axis=0)
    quality, cost = judgement.best_scores.mean(), judgement.best_costs_usd.mean()
    right = np.where(scores == scores.max(axis=1, keepdims=True), costs, np.inf)
    paid = max(float(judgement.costs_usd.mean()), float(prices.min()))
    points = {
        "always_cheapest": (means[prices.argmin()], prices.min()),
        "always_strongest": (means.max(), prices[means.argmax()]),
        "zero": (_mix(means, prices, paid), paid),
        "oracle": (scores.max(axis=1).mean(), right.min(axis=1).mean()),
    }
    return {
        name: [round(100 * float(one / quality), 1), round(100 * (1 - float(usd / cost)), 1)]
        for name, (one, usd) in points.items()
    }


def _mix(means: Floats, prices: Floats, paid: float) -> float:
    """Return the quality of the best random mixture of two models at a price."""
    affordable = np.flatnonzero(prices <= paid)
    mixed = float(means[affordable].max())
    for dear in np.flatnonzero(prices > paid).tolist():
        share = (paid - prices[affordable]) / (prices[dear] - prices[affordable])
        mixed = max(mixed, float(((1 - share) * means[affordable] + share * means[dear]).max()))
    return mixed
