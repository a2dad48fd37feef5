"""Fits the gate that tells prompts of known domains from those of domains never seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from devflow_routing.learned.gate import Gate, Nearness

Floats = NDArray[np.float64]

_FEW = 5.0
"""Prompts that the usual nearness of all counts as in that of a domain."""
_FEW_KINDS = 2.0
"""Prompts that the kinds of all count as in those of a domain."""
_MIN_SHARE = 1e-3
"""The least share of a kind among all prompts, so that lifts stay finite."""
_SIMILARITY = (0.0, 1.0, 0.0)
"""The weights where nothing tells more: only the similarity to the nearest centre counts."""
_PENALTY = 1e-3
"""How strongly weights are pulled to zero, for each example."""
_STEPS = 30


def fit_gate(known: Nearness, unknown: Nearness | None, member: NDArray[np.bool_]) -> Gate:
    """Return a gate that lets every prompt pass; its threshold is chosen with the price.

    Args:
        known: the nearness of prompts that were left out one by one.
        unknown: the nearness of the same prompts, each left out with its whole domain; None where
            there is but one domain.
        member: by prompt and domain, whether it belongs there.
    """
    gate = _fit_usual(known, member)
    measures = gate.measure(known)[1]
    # left-out domains are in the manner of the others; what is in no manner at all ends here
    gate = replace(gate, least=measures.min(axis=0))
    if unknown is None:
        return gate
    return replace(gate, weights=_fit_weights(measures, gate.measure(unknown)[1]))


def _fit_usual(known: Nearness, member: NDArray[np.bool_]) -> Gate:
    """Return a gate with the usual nearness to each domain, and the kinds of its prompts."""
    nearest = known.memberships.argmax(axis=1)
    places = np.arange(len(nearest))
    near = np.stack((known.memberships[places, nearest], known.centres[places, nearest]), axis=1)
    mean, variance = near.mean(axis=0), near.var(axis=0)
    means = np.tile(mean, (member.shape[1], 1))
    spreads = np.ones_like(means)
    for domain in range(len(means)):
        own = near[nearest == domain]
        means[domain] = (own.sum(axis=0) + _FEW * mean) / (len(own) + _FEW)
        squares = ((own - means[domain]) ** 2).sum(axis=0) + _FEW * variance
        spreads[domain] = np.sqrt(squares / (len(own) + _FEW) + 1e-9)
    kinds = known.kinds.mean(axis=0)
    shares = (member.T @ known.kinds + _FEW_KINDS * kinds) / (
        member.sum(axis=0)[:, None] + _FEW_KINDS
    )
    return Gate(
        means=means,
        spreads=spreads,
        lifts=shares / np.maximum(kinds, _MIN_SHARE),
        weights=np.array(_SIMILARITY),
        least=np.full(len(_SIMILARITY), -np.inf),
        threshold=-np.inf,
    )


def _fit_weights(known: Floats, unknown: Floats) -> Floats:
    """Return the weights by which known prompts are best told from unknown ones.

    A measure that would speak against the nearest domain where it is high is left out: that holds
    of the domains at hand, and not of others.
    """
    weights = np.zeros(known.shape[1])
    used = np.flatnonzero(known.std(axis=0) + unknown.std(axis=0))
    while len(used):
        found = _fit_logistic(known[:, used], unknown[:, used])
        if (found >= 0).all():
            weights[used] = found
            return weights
        used = used[found > 0]
    return np.array(_SIMILARITY)


def _fit_logistic(known: Floats, unknown: Floats) -> Floats:
    """Return the weights of a logistic regression that tells known rows from unknown ones.

    It is solved by Newton's steps (Hastie, Tibshirani and Friedman 2009, §4.4.1).
    """
    rows = np.concatenate((known, unknown))
    is_known = np.repeat((1.0, 0.0), (len(known), len(unknown)))
    scale = rows.std(axis=0) + 1e-6
    rows = np.column_stack(((rows - rows.mean(axis=0)) / scale, np.ones(len(rows))))
    penalty = np.diag([_PENALTY * len(rows)] * len(scale) + [1e-6])
    weights = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-(rows @ weights).clip(-30, 30)))
        slope = rows.T @ (chance - is_known) + penalty @ weights
        curvature = (rows * (chance * (1 - chance))[:, None]).T @ rows + penalty
        weights -= np.linalg.solve(curvature, slope)
    return weights[:-1] / scale
