"""Picks the models that answer one after the other until an answer is accepted."""

from __future__ import annotations

import numpy as np

from devflow_routing.cost_optimizer import ModelEstimates
from devflow_routing.strategies.alternatives import MIN_GAIN


def pick_escalation(order: list[int], estimates: ModelEstimates, length: int) -> list[int]:
    """Return the first of an order, then better ones in steps of quality, up to the best.

    Each step is the cheapest model that reaches its quality. Where the first is the best, the next
    of the order follows, which answers if the first one fails or is refused. Where no cost is
    known, the order itself is returned.

    Args:
        order: the indices of the eligible models, the one that answers first at the head.
        estimates: what is expected of each.
        length: the most models to return.
    """
    models = np.array(order)
    quality, cost = estimates.quality[models], estimates.total_usd[models]
    priced = np.isfinite(cost)
    if not priced.any():
        return order[:length]
    best = float(quality[priced].max())
    chain, level = [order[0]], float(quality[0])
    step = (best - level) / max(1, length - 1)
    while len(chain) < length and best - level >= MIN_GAIN:
        able = np.flatnonzero(priced & (quality >= min(level + max(step, MIN_GAIN), best)))
        place = int(able[cost[able].argmin()])
        chain.append(order[place])
        level = float(quality[place])
    return chain if len(chain) > 1 else order[: min(2, length)]
