"""Decides where a world's router is trusted, and at what price, from left-out domains.

A prompt is like one of the known domains, more or less. Each degree of likeness to each domain is a
cell. What the router would have chosen for prompts of domains that it had never seen shows which
cells draw strangers and do them harm; in those, and where a prompt is least like anything known,
the best single model answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

PRICES: Floats = np.concatenate(([0.0], np.geomspace(1e-3, 30.0, 40)))
"""Candidates for the quality that the best single model's cost is worth; one is chosen."""
DEGREES = 6
"""Degrees of likeness, with equally many prompts in each."""
OUTLIER_SHARE = 0.05
"""Share of known prompts that count as unlike all domains, and are never trusted."""
MIN_LEFT_OUT_QUALITY = 0.97
"""Quality to keep on every left-out domain, relative to the best single model's."""
MIN_KNOWN_QUALITY = 1.002
"""Quality to keep on prompts of known domains, relative to the best single model's."""
PRIOR = 5.0
"""Right answers added to both sides of a left-out domain, so that few prompts decide little."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """The nearest known domain of each prompt, and three measures of its distance."""

    domain: Ints
    distances: Floats
    """From the nearest prompts, from the centre, and by the domain's own regression."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A router's forecasts for prompts that it did not learn from, with the true results."""

    quality: Floats
    cost: Floats
    """Expected cost, relative to the best single model's mean."""
    likeness: Likeness
    scores: Floats
    costs_usd: Floats
    groups: Ints
    """The true domains, by number."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The cells of prompts that the router may choose for, and the price of quality there."""

    means: Floats
    spreads: Floats
    edges: Floats
    trusted: Flags
    """By domain and degree of likeness."""
    price: float = 0.0

    @classmethod
    def from_known(cls, known: Likeness, domains: int) -> Gate:
        """Return a gate that trusts all prompts except those unlike all domains."""
        means, spreads = _fit_distances(known, domains)
        distance = _normalised_distance(known, means, spreads)
        shares = np.append(np.linspace(0, 1 - OUTLIER_SHARE, DEGREES + 1)[1:-1], 1 - OUTLIER_SHARE)
        trusted = np.ones((domains, DEGREES + 1), dtype=np.bool_)
        trusted[:, -1] = False
        edges = np.quantile(distance, shares)
        return cls(means=means, spreads=spreads, edges=edges, trusted=trusted)

    def find_cells(self, likeness: Likeness) -> Ints:
        """Return the number of each prompt's cell."""
        degree = np.digitize(_normalised_distance(likeness, self.means, self.spreads), self.edges)
        return likeness.domain * self.trusted.shape[1] + degree

    def is_trusted(self, likeness: Likeness) -> Flags:
        """Return whether the router may choose, for each prompt."""
        return self.trusted.ravel()[self.find_cells(likeness)]

    def fit(self, known: Trial, strangers: Trial | None, best: int) -> Gate:
        """Return the gate and price that save most while known and left-out domains keep quality.

        Args:
            known: each prompt left out by itself.
            strangers: each prompt left out with its domain; None where there is but one domain, so
                that nothing tells what strangers are like: then nobody is trusted.
            best: the best single model.
        """
        cells = self.find_cells(known.likeness)
        best_gate, most_saved = replace(self, trusted=np.zeros_like(self.trusted)), 0.0
        if strangers is None:
            return best_gate
        for price in PRICES.tolist():
            gains, savings = _sum_by_cell(known, cells, price, best, self.trusted.size)
            trusted = self.trusted.ravel() & (savings > 0)
            trusted = self._drop_harmful(strangers, price, best, trusted, savings)
            needed = (MIN_KNOWN_QUALITY - 1) * known.scores[:, best].sum()
            saved = float(savings[trusted].sum())
            if saved > most_saved and gains[trusted].sum() >= needed:
                most_saved = saved
                best_gate = replace(self, trusted=trusted.reshape(self.trusted.shape), price=price)
        return best_gate

    def _drop_harmful(
        self, strangers: Trial, price: float, best: int, trusted: Flags, savings: Floats
    ) -> Flags:
        """Return the trusted cells without those that harm left-out domains more than they save."""
        places, chosen = np.arange(len(strangers.groups)), choose_models(strangers, price)
        lost = strangers.scores[:, best] - strangers.scores[places, chosen]
        harm = np.zeros((int(strangers.groups.max()) + 1, len(trusted)))
        np.add.at(harm, (strangers.groups, self.find_cells(strangers.likeness)), lost)
        due = np.bincount(strangers.groups, strangers.scores[:, best], len(harm)) + PRIOR
        worth = savings / strangers.costs_usd[:, best].sum() + 1e-4
        remaining = trusted.copy()
        while remaining.any():
            is_harmed = harm[:, remaining].sum(axis=1) > (1 - MIN_LEFT_OUT_QUALITY) * due
            blame = (np.maximum(harm, 0)[is_harmed] / due[is_harmed, None]).sum(axis=0) / worth
            blame[~remaining] = 0
            if not blame.any():
                break
            remaining[blame.argmax()] = False
        return remaining


def choose_models(trial: Trial, price: float) -> Ints:
    """Return the model with the best value for each prompt."""
    return (trial.quality - price * trial.cost).argmax(axis=1)


def _sum_by_cell(
    trial: Trial, cells: Ints, price: float, best: int, count: int
) -> tuple[Floats, Floats]:
    """Return quality gained and money saved against the best single model, by cell."""
    places, chosen = np.arange(len(cells)), choose_models(trial, price)
    gained = trial.scores[places, chosen] - trial.scores[:, best]
    saved = trial.costs_usd[:, best] - trial.costs_usd[places, chosen]
    sums = [np.bincount(cells, one, count).astype(np.float64) for one in (gained, saved)]
    return sums[0], sums[1]


def _fit_distances(known: Likeness, domains: int) -> tuple[Floats, Floats]:
    """Return mean and spread of distances by nearest domain; with few samples, near the overall."""
    mean, variance = known.distances.mean(axis=0), known.distances.var(axis=0)
    means: list[Floats] = []
    spreads: list[Floats] = []
    for domain in range(domains):
        own = known.distances[known.domain == domain]
        means.append((own.sum(axis=0) + PRIOR * mean) / (len(own) + PRIOR))
        squares = ((own - means[-1]) ** 2).sum(axis=0)
        spreads.append(np.sqrt((squares + PRIOR * variance) / (len(own) + PRIOR) + 1e-9))
    return np.array(means), np.array(spreads)


def _normalised_distance(likeness: Likeness, means: Floats, spreads: Floats) -> Floats:
    """Return the largest of the distances, in spreads of the nearest domain."""
    domain = likeness.domain
    return ((likeness.distances - means[domain]) / spreads[domain]).max(axis=1)
