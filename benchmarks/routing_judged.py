"""Judges what a world's routers chose on prompts that they had not seen.

All of them are in % of the best single model as public data names it. Intervals are of 95 %, by
bootstrap over prompts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from routing_gate import PRICES
from routing_worlds import Floats, Forecast, World, WorldRouter


class Evaluation:
    """Choices joined over folds, or over left-out domains."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._columns: list[tuple[Floats, Floats, Floats, Floats]] = []
        self._parts: list[tuple[WorldRouter, Forecast, World]] = []

    def __len__(self) -> int:
        return sum(len(world) for _, _, world in self._parts)

    def add(self, router: WorldRouter, world: World) -> tuple[float, float]:
        """Judge a router on a world; return its quality and saving there."""
        places = np.arange(len(world))
        forecast = router.forecast(world.texts)
        chosen = router.choose(forecast, router.gate.price)
        columns = (
            world.scores[places, chosen],
            world.costs_usd[places, chosen],
            world.scores[:, router.best],
            world.costs_usd[:, router.best],
        )
        self._columns.append(columns)
        self._parts.append((router, forecast, world))
        return _score_at_op(columns)

    def samples(self) -> Floats:
        """Return quality and saving: first as measured, then of resampled prompts."""
        columns = self._join_columns()
        scores = [_score_at_op(columns)]
        random = np.random.default_rng(7)
        for _ in range(self._rounds):
            drawn = random.integers(0, len(self), len(self))
            a, b, c, d = (column[drawn] for column in columns)
            scores.append(_score_at_op((a, b, c, d)))
        return np.array(scores)

    def figures(self) -> dict[str, Any]:
        """Return the world's part of `aggregate`."""
        columns = self._join_columns()
        scores = np.concatenate([world.scores for _, _, world in self._parts])
        costs = np.concatenate([world.costs_usd for _, _, world in self._parts])
        chars = np.array([float(len(text)) for _, _, world in self._parts for text in world.texts])
        means = (float(columns[2].mean()), float(columns[3].mean()))
        return {
            "prompts": len(self),
            "models": scores.shape[1],
            **interval(self.samples()),
            "save_at_100": round(self._compute_save_at_100(), 2),
            "baselines": {
                **_single_baselines(scores, costs, *means),
                **_mixture_baselines(scores, costs, chars, float(columns[1].mean()), *means),
            },
        }

    def _join_columns(self) -> tuple[Floats, Floats, Floats, Floats]:
        a, b, c, d = (np.concatenate(one) for one in zip(*self._columns, strict=True))
        return a, b, c, d

    def _compute_save_at_100(self) -> float:
        """Return the largest saving at the best single model's quality, for any price and gate."""
        _, _, best_quality, best_cost = self._join_columns()
        most_saved = 0.0
        for price in PRICES.tolist():
            for is_gated in (True, False):
                quality = cost = 0.0
                for router, forecast, world in self._parts:
                    chosen = router.choose(forecast, price, is_gated=is_gated)
                    places = np.arange(len(world))
                    quality += world.scores[places, chosen].sum()
                    cost += world.costs_usd[places, chosen].sum()
                if quality >= best_quality.sum():
                    most_saved = max(most_saved, 100 * (1 - cost / best_cost.sum()))
        return most_saved


def interval(samples: Floats) -> dict[str, Any]:
    """Return quality and saving with confidence intervals, from samples or means of samples."""
    low, high = np.percentile(samples[1:], (2.5, 97.5), axis=0)
    return {
        "quality_at_op": round(samples[0, 0], 2),
        "quality_at_op_ci": [round(low[0], 2), round(high[0], 2)],
        "saved_at_op": round(samples[0, 1], 2),
        "saved_at_op_ci": [round(low[1], 2), round(high[1], 2)],
    }


def _score_at_op(columns: tuple[Floats, Floats, Floats, Floats]) -> tuple[float, float]:
    quality, cost, best_quality, best_cost = columns
    quality_kept = 100 * quality.sum() / max(best_quality.sum(), 1e-9)
    return float(quality_kept), float(100 * (1 - cost.sum() / best_cost.sum()))


def _as_percent(quality: float, cost: float, best_quality: float, best_cost: float) -> list[float]:
    return [round(100 * quality / best_quality, 1), round(100 * (1 - cost / best_cost), 1)]


def _single_baselines(
    scores: Floats, costs: Floats, quality: float, cost: float
) -> dict[str, list[float]]:
    """Return [quality, saved] of single models, of random choice, and of perfect foresight."""
    means, prices = scores.mean(axis=0), costs.mean(axis=0)
    right = np.where(scores == scores.max(axis=1, keepdims=True), costs, np.inf)
    cheapest, dearest, strongest = prices.argmin(), prices.argmax(), means.argmax()
    points = {
        "always_cheapest": (means[cheapest], prices[cheapest]),
        "always_most_expensive": (means[dearest], prices[dearest]),
        "always_strongest": (means[strongest], prices[strongest]),
        "best_single": (quality, cost),
        "random": (means.mean(), prices.mean()),
        "oracle": (scores.max(axis=1).mean(), right.min(axis=1).mean()),
    }
    return {
        name: _as_percent(float(reached), float(paid), quality, cost)
        for name, (reached, paid) in points.items()
    }


def _mixture_baselines(
    scores: Floats, costs: Floats, chars: Floats, paid: float, quality: float, cost: float
) -> dict[str, list[float]]:
    """Return [quality, saved] for what the router paid, mixing models at random or by length.

    `zero` is the best random mixture of two models, chosen on the judged prompts themselves, which
    flatters it. `prompt_length` gives the longest prompts to the best single model, the others to
    the cheapest.
    """
    means, prices = scores.mean(axis=0), costs.mean(axis=0)
    best, cheapest = int(np.abs(prices - cost).argmin()), int(prices.argmin())
    affordable = np.flatnonzero(prices <= max(paid, prices[cheapest]))
    mixed = float(means[affordable].max())
    for dear in np.flatnonzero(prices > paid).tolist():
        share = (paid - prices[affordable]) / (prices[dear] - prices[affordable])
        mixes = (1 - share) * means[affordable] + share * means[dear]
        mixed = max(mixed, float(mixes.max()))
    order = np.argsort(-chars, kind="stable")
    bills = costs[:, cheapest].sum() + np.cumsum((costs[:, best] - costs[:, cheapest])[order])
    count = int((bills <= paid * len(scores)).sum())
    to_best = order[:count]
    reached = scores[:, cheapest].sum() + (scores[:, best] - scores[:, cheapest])[to_best].sum()
    return {
        "zero": _as_percent(mixed, paid, quality, cost),
        "prompt_length": _as_percent(float(reached) / len(scores), paid, quality, cost),
    }
