"""Expects the score and cost of models from examples: heads on words, domains, a coarse table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np
import orjson
from devflow_core.routing import Complexity, Task
from numpy.typing import NDArray

from devflow_routing.classifier.features import Features
from devflow_routing.learned.expectation import LearnedExpectation
from devflow_routing.learned.gate import Gate, Nearness, spread_kinds
from devflow_routing.learned.heads import HEAD_ARRAYS, WordHeads, features_version

Floats = NDArray[np.float64]

FORM = 2
"""The version of the form of a table."""
SHARPNESS = 8.0
"""Logits of the domain's posterior per unit of the domain's regression."""
MIN_KINDS = 3
"""The fewest kinds of task for a table to say something about a kind that it has never seen."""
DIGITS = 5
"""Decimals of expectations, few enough to be recorded with every decision."""
COMPLEXITIES: tuple[Complexity, ...] = get_args(Complexity)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """What people want to know of a learned table."""

    source: str
    """Where the examples came from: a file's name, or `ledger`."""
    prompts: int
    answers: int
    """Recorded scores, of all models together."""
    quality_kept: float
    """The quality at the operating point, as a share of the best single model's.

    It is reached on prompts that were left out of learning: one by one for heads on words, a whole
    domain at a time for a coarse table alone.
    """
    saved: float
    """The share of the best single model's cost that the operating point saves on them."""
    learned_at: str = ""
    """Date and time in UTC; empty if it was not told. Not part of the version."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedTable:
    """Expectations learned from recorded answers; immutable, and named by its content.

    A prompt that is like something known gets the mean of a linear head of each model and of the
    quality in its likely domains; any other one the coarse table by kind and complexity.
    """

    models: tuple[str, ...]
    kinds: tuple[str, ...]
    """The kinds of task by row of the coarse table, whose last row is for all others."""
    best: int
    """The index of the best single model in `models`."""
    coarse_quality: Floats
    """By kind, complexity and model."""
    coarse_costs: Floats
    """By model, in shares of the mean cost of the best single model."""
    coarse_price: float
    """The operating price where a prompt is unlike anything known."""
    facts: TableFacts
    domains: tuple[str, ...] = ()
    domain_quality: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """By domain and model."""
    heads: WordHeads | None = None
    """Of quality by model, membership by domain, log cost by model, centre by domain.

    None if the examples were too few, or had no prompts.
    """
    gate: Gate | None = None
    price: float = 0.0
    """The operating price where a prompt is like something known."""
    log_cost_range: tuple[float, float] = (0.0, 0.0)
    """The lowest and the highest logarithm of a relative cost among the examples."""

    @cached_property
    def version(self) -> str:
        """A fingerprint of everything that expectations follow from."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            digest.update(name.encode() + array.dtype.str.encode() + array.tobytes())
        digest.update(orjson.dumps(self.values(), option=orjson.OPT_SORT_KEYS))
        return digest.hexdigest()[:12]

    def expect(self, features: Features | None, task: Task) -> LearnedExpectation | None:
        """Return what is expected of the models for a prompt; None where the table says nothing.

        Args:
            features: the features of `task.text`; None if there is no text.
            task: its kinds tell whether the prompt is like something known; where it is not, kind
                and complexity alone count.
        """
        if self.heads is not None and self.gate is not None and features is not None:
            found = self._expect_known(self.heads.apply(features)[None], task, self.gate)
            if found is not None:
                return found
        return self._expect_coarse(task)

    def _expect_known(self, raw: Floats, task: Task, gate: Gate) -> LearnedExpectation | None:
        """Return the expectation for a prompt like something known; None for any other one."""
        models, domains = len(self.models), len(self.domains)
        nearest, likeness = gate.likeness(
            Nearness(
                memberships=raw[:, models : models + domains],
                centres=raw[:, 2 * models + domains :],
                kinds=spread_kinds((task,)),
            )
        )
        if likeness[0] < gate.threshold:
            return None
        quality, costs = combine_heads(raw, self.domain_quality, self.log_cost_range)
        domain = self.domains[int(nearest[0])]
        return self._make_expectation(quality[0], costs[0], self.price, domain=domain)

    def _expect_coarse(self, task: Task) -> LearnedExpectation | None:
        if task.type in self.kinds:
            row = self.kinds.index(task.type)
        elif len(self.kinds) >= MIN_KINDS:
            row = len(self.kinds)
        else:
            return None
        quality = self.coarse_quality[row, COMPLEXITIES.index(task.complexity)]
        return self._make_expectation(quality, self.coarse_costs, self.coarse_price)

    def fall_back(self) -> LearnedExpectation:
        """Return what is expected of any prompt: by it, the best single model is chosen."""
        return self._make_expectation(self.coarse_quality[-1, 0], self.coarse_costs, 0.0)

    def _make_expectation(
        self, quality: Floats, costs: Floats, price: float, *, domain: str = ""
    ) -> LearnedExpectation:
        return LearnedExpectation(
            version=self.version,
            models=self.models,
            quality=tuple(quality.clip(0.0, 1.0).round(DIGITS).tolist()),
            costs=tuple(costs.round(DIGITS).tolist()),
            best=self.models[self.best],
            price=price,
            is_known=bool(domain),
            domain=domain,
        )

    def values(self) -> dict[str, Any]:
        """Return the plain values that, with `arrays`, make the table; without the facts."""
        return {
            "form": FORM,
            "features": features_version() if self.heads is not None else "",
            "models": self.models,
            "domains": self.domains,
            "kinds": self.kinds,
            "best": self.best,
            "price": self.price,
            "coarse_price": self.coarse_price,
            "log_cost_range": self.log_cost_range,
            "threshold": self.gate.threshold if self.gate is not None else 0.0,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that, with `values`, make the table."""
        found: dict[str, NDArray[Any]] = {
            "coarse_quality": self.coarse_quality,
            "coarse_costs": self.coarse_costs,
        }
        if self.heads is not None and self.gate is not None:
            found |= {name: getattr(self.heads, name) for name in HEAD_ARRAYS}
            found |= {
                "domain_quality": self.domain_quality,
                "gate_means": self.gate.means,
                "gate_spreads": self.gate.spreads,
                "gate_lifts": self.gate.lifts,
                "gate_weights": self.gate.weights,
                "gate_least": self.gate.least,
            }
        return found


def combine_heads(
    raw: Floats, domain_quality: Floats, log_cost_range: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Return the expected quality and relative cost of every model, one row a prompt.

    Args:
        raw: what the heads say: quality by model, membership by domain, log of the relative cost by
            model; further columns are ignored.
        domain_quality: the quality by domain and model.
        log_cost_range: the lowest and the highest log cost among the examples.
    """
    domains, models = domain_quality.shape
    logits = SHARPNESS * raw[:, models : models + domains]
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    by_domain = weights / weights.sum(axis=1, keepdims=True) @ domain_quality
    log_costs = raw[:, models + domains : 2 * models + domains]
    return (raw[:, :models] + by_domain) / 2, np.exp(np.clip(log_costs, *log_cost_range))
