"""Rates how likely a small model is to fail at a request: by its kind, its words, and its shape."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from devflow_core.routing import Complexity

from devflow_routing.classifier.shape import RequestShape

_BANDS = (0.35, 0.65)
"""The borders between low, medium and high complexity."""
MIDDLES: Mapping[Complexity, float] = {"low": 0.2, "medium": 0.48, "high": 0.75}
"""The difficulty of a task whose complexity is given by the caller."""
_LOWEST, _HIGHEST = 0.02, 0.98
"""The bounds of a difficulty, since no task is surely easy or surely too hard."""
_KIND_LOGITS: Mapping[str, float] = {
    "text_ops": -0.85,
    "knowledge": -0.6,
    "creative": -0.2,
    "planning": -0.1,
}
"""How much easier requests of a kind are than others, in logits; 0 for kinds not listed.

A request and its paraphrase are of one kind even where their words differ.
"""
_MIDDLE_SCORE, _LOGITS_PER_SCORE = 0.385, 8.0
"""The learned score at even odds, and the logits in one unit of it.

Regression pulls scores to their mean, so that a unit says much.
"""

_BORDERS = (-0.67, 0.57)
"""The logits between what words call easy, middling and hard; with one turn, `_BANDS`."""
_LEVELS = (-1.44, -0.13, 1.05)
"""What is taken for each: with one turn `MIDDLES`.

A paraphrase moves a score by 0.05 on average, so finer steps would be noise that changes the model.
"""
FEW_WORDS, _FEW_WORDS_LOGITS = 4, -0.8
"""How much easier a prompt of a few words is (`17*23`), unless one speaks for a hard one."""


def rate_words(
    score: float, domains: Sequence[tuple[str, float]], *, is_short: bool, hard_words: float
) -> float:
    """Return the difficulty of a prompt by its words, in logits of failure: one of few levels.

    Args:
        score: the learned score of its words.
        domains: the likeliest kinds with their shares.
        is_short: whether it has a few words only.
        hard_words: more than 0 if a phrase of the rules speaks for a hard one.
    """
    total = sum([share for _, share in domains])
    kind = sum([_KIND_LOGITS.get(name, 0.0) * share for name, share in domains]) / (total or 1.0)
    short = _FEW_WORDS_LOGITS if is_short and not hard_words else 0.0
    logits = kind + short + _LOGITS_PER_SCORE * (score - _MIDDLE_SCORE)
    level = bisect_right(_BORDERS, logits)
    return _LEVELS[level] + (short if level == 0 else 0.0)


def rate_difficulty(words: float, shape: RequestShape) -> float:
    """Return the chance that a small model fails, 0..1, by words (in logits) and shape."""
    chance = 1 / (1 + math.exp(-(words + shape.logits)))
    return round(min(max(chance, _LOWEST), _HIGHEST), 4)


def band_of(difficulty: float) -> Complexity:
    """Return the complexity that stands for a difficulty."""
    return "low" if difficulty < _BANDS[0] else "medium" if difficulty < _BANDS[1] else "high"
