"""Explains a classification without repeating any text of the prompt.

Reasons are kept in the ledger and shown by several commands, and a prompt may hold anything. So
only phrases that ship with the rules are named, and features of the text only by their kind.
"""

from __future__ import annotations

import math

from devflow_routing.classifier.features import Features
from devflow_routing.classifier.rules import Hits

_MAX_NAMED = 3
"""The most phrases that a reason names."""
_MIN_LOG_COUNT = math.log1p(4)
"""From which count on signs of a kind are named as evidence, as the logarithm in `dense`."""
_SIGNS = (
    ((4,), "code or names in backquotes"),
    ((5, 14), "signs of code"),
    ((8, 9), "signs of formulas"),
    ((0,), "numbers"),
    ((1,), "questions"),
    ((17,), "another script than Latin"),
)
"""Columns of `Features.dense` (logarithms of counts), and the words for high counts in them."""


def describe_evidence(kind: str, index: int, features: Features, hits: Hits) -> str:
    """Return the kind with its evidence: `coding: “fix the”, “pytest”; signs of code`.

    Args:
        kind: the kind that was found.
        index: its index in `hits`.
        features: the features of the text.
        hits: the phrases of the rules in it.
    """
    named = [phrase for owner, phrase in hits.phrases if owner == index][:_MAX_NAMED]
    evidence = [", ".join(f"“{phrase}”" for phrase in named)] if named else []
    if not named:
        evidence.append("words that such prompts were learned by")
    dense: list[float] = features.dense.tolist()
    for columns, name in _SIGNS:
        for column in columns:
            if dense[column] >= _MIN_LOG_COUNT:
                evidence.append(name)
                break
    return f"{kind}: {'; '.join(evidence)}"
