"""Rates how likely a small model is to fail at a request: by its words, and by its shape."""

from __future__ import annotations

import math
from collections.abc import Mapping

from devflow_core.routing import Complexity

from devflow_routing.classifier.shape import RequestShape

_BANDS = (0.35, 0.6)
"""The borders between low, medium and high complexity."""
MIDDLES: Mapping[Complexity, float] = {"low": 0.2, "medium": 0.47, "high": 0.75}
"""The difficulty of a task whose complexity is given by the caller."""
_LOWEST, _HIGHEST = 0.02, 0.98


def rate_difficulty(words: float, shape: RequestShape) -> float:
    """Return the chance that a small model fails, 0..1.

    Args:
        words: the chance by the prompt's words alone.
        shape: what the request is like besides its words.
    """
    share = min(max(words, _LOWEST), _HIGHEST)
    logit = math.log(share / (1 - share)) + shape.logits
    return round(min(max(1 / (1 + math.exp(-logit)), _LOWEST), _HIGHEST), 4)


def band_of(difficulty: float) -> Complexity:
    """Return the complexity that stands for a difficulty."""
    return "low" if difficulty < _BANDS[0] else "medium" if difficulty < _BANDS[1] else "high"
