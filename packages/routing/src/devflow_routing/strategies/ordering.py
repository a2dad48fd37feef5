"""Orders the eligible models for each mode: which are able, and what makes one worth more.

| mode | who is able | who comes first |
| --- | --- | --- |
| `auto`, a pattern | all that a good reply may be expected of | most quality for money and time |
| `auto:best` | all | the best evidence for this kind of task |
| `auto:cheap` | whoever was measured, and is not far below the best | the cheapest |
| `auto:verified` | as `auto:cheap` | the cheapest, then the next better ones up to the best |
| `auto:fast` | whoever was measured, and is not far below the best | the one that is done soonest |

Quality is the lower end of what is expected, so that a guess does not beat evidence to save a
fraction of a cent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from devflow_core.verification import VERIFIED_MODE

from devflow_routing.cost_optimizer import NEGLIGIBLE_USD, ModelEstimates
from devflow_routing.model_selector import Flags, Floats
from devflow_routing.policy import Weights

_MIN_SHARE = 0.5
"""The share of the best eligible quality below which no model is chosen automatically."""
_MIN_SHARE_OF_ABLE = 0.85
"""The same for modes that look for one thing besides quality, and for evidence."""
_MAX_PER_DOUBLING = 0.3
"""The quality that a priority of 1 gives up for each halving of cost, or of time."""
_MIN_RATIO = 0.01
"""What a priority near 0 gives up, as a share of what 1 does.

In between, equal steps of the priority multiply it by equal factors, since prices of models lie in
equal ratios as well; each step of 0.1 is then about as far along the frontier as any other.
"""
_EASIEST_WEIGHT, _HARDEST_WEIGHT = 1.6, 0.4
"""The weight of money for the easiest task and for the hardest.

A failed reply to a hard question costs its reader far more than the call did.
"""
_DEARNESS_IN_A_HURRY = 0.15
"""The doublings of time that a doubling of cost is worth even in a hurry."""
_MIN_USD = 1e-7
"""Added to costs whose logarithm is taken; less than any call costs."""
_DOUBLINGS_TO_MOVE = 0.25
"""The doublings of cost or time, a fifth of it, for which a session moves to another model."""
_TIE = 1e-6
"""The weight of cost, or of quality, among models that are equal in what the mode looks for."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """How one mode orders the models."""

    score: Callable[[ModelEstimates, Weights, float], Floats]
    """Gives each model its score, by what is expected, the weights and the task's difficulty.

    The highest comes first, NaN last.
    """
    reason: str
    """Why the first one is first, as text for people."""
    min_share: float = _MIN_SHARE
    """The share of the best eligible quality below which a model is left out."""
    needs_evidence: bool = False
    """Whether models that nobody has measured are left out."""
    min_gain: float = 0.01
    """The gain in score that makes a session move to another model."""

    @property
    def unable(self) -> str:
        """Why a model is left out that is not able, as text for people."""
        if not self.needs_evidence:
            return "a good reply is too unlikely"
        return f"nobody has measured it, or it is below {self.min_share:.0%} of the best"

    def find_able(self, estimates: ModelEstimates, eligible: Flags) -> Flags:
        """Return which models are able; all that are good enough if none has evidence."""
        among = estimates.quality * eligible  # no quality is below 0
        good = estimates.quality >= self.min_share * float(among[among.argmax()])
        if not self.needs_evidence:
            return good
        measured = good & estimates.expected.has_evidence
        return measured if (measured & eligible).any() else good


def weigh(priority: float) -> float:
    """Return the quality given up for each doubling of cost or time, by the caller's priority."""
    share = (_MIN_RATIO ** (1.0 - priority) - _MIN_RATIO) / (1.0 - _MIN_RATIO)
    return _MAX_PER_DOUBLING * share


def _dearness(estimates: ModelEstimates) -> Floats:
    """Return each model's cost, in doublings of what is next to nothing."""
    found = estimates.total_usd / NEGLIGIBLE_USD
    found += 1.0
    return np.log2(found, out=found)


def _trusted_quality(estimates: ModelEstimates) -> Floats:
    """Return the expected quality, less what a guess has to be better by."""
    return estimates.quality - estimates.expected.guess_margin


def _value(estimates: ModelEstimates, weights: Weights, difficulty: float) -> Floats:
    weight = _EASIEST_WEIGHT + (_HARDEST_WEIGHT - _EASIEST_WEIGHT) * difficulty
    cost = _dearness(estimates)
    cost *= weight * weigh(weights.cost_priority)
    value = _trusted_quality(estimates)
    value -= cost
    value -= weigh(weights.performance_priority) * estimates.slowness
    return value


def _quality(estimates: ModelEstimates, _weights: Weights, _difficulty: float) -> Floats:
    return _trusted_quality(estimates) - _TIE * _dearness(estimates)


def _cheapness(estimates: ModelEstimates, _weights: Weights, _difficulty: float) -> Floats:
    return _TIE * estimates.quality - np.log2(estimates.total_usd + _MIN_USD)


def _speed(estimates: ModelEstimates, _weights: Weights, _difficulty: float) -> Floats:
    return -estimates.slowness - _DEARNESS_IN_A_HURRY * _dearness(estimates)


BALANCE = Ordering(_value, "the best use of the money")
_CHEAPEST = Ordering(
    _cheapness,
    "the cheapest that is known to be able",
    min_share=_MIN_SHARE_OF_ABLE,
    needs_evidence=True,
    min_gain=_DOUBLINGS_TO_MOVE,
)
ORDERINGS = {
    "auto:best": Ordering(_quality, "the best expected for this kind of task"),
    "auto:cheap": _CHEAPEST,
    VERIFIED_MODE: replace(_CHEAPEST, reason=f"{_CHEAPEST.reason}, and its answer is checked"),
    "auto:fast": replace(
        _CHEAPEST, score=_speed, reason="the soonest done that is known to be able"
    ),
}
"""The modes that order differently from `BALANCE`."""
