"""Explains a classification without repeating any text of the prompt.

Reasons are kept in the ledger and shown by several commands, and a prompt may hold anything. So
only phrases that ship with the rules are named, and features of the text only by their kind.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devflow_routing.classifier.features import Features

_MAX_NAMED = 3
"""The most phrases that a reason names."""
_MAX_TRIED = 8
"""The strongest words that are looked up; several, as some only share a bucket with a phrase."""
_MIN_SIGNS = 4
"""The fewest signs of a kind that are named as evidence."""
_SIGNS = (
    ((4,), "code or names in backquotes"),
    ((5, 14), "signs of code"),
    ((8, 9), "signs of formulas"),
    ((0,), "numbers"),
    ((1,), "questions"),
    ((17,), "another script than Latin"),
)
"""Columns of `Features.dense` (logarithms of counts), and the words for high counts in them."""


def name_phrases(
    features: Features,
    learned: NDArray[np.float32],
    ruled: NDArray[np.float32],
    phrases: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the rules' phrases that occur in the text, the strongest evidence for the kind first.

    Args:
        features: the features of the text.
        learned: how much each of `features.words` speaks for the kind.
        ruled: by word, above 0 if the rules name it, or another word of its bucket.
        phrases: phrases in the form that is compared → in the form that is shown.
    """
    hits = np.flatnonzero(ruled > 0)
    order: list[int] = hits[np.argsort(-learned[hits], kind="stable")][:_MAX_TRIED].tolist()
    found = (phrases.get(features.phrase_of(int(features.words[index]))) for index in order)
    return tuple(dict.fromkeys(phrase for phrase in found if phrase))[:_MAX_NAMED]


def describe_evidence(
    kind: str, features: Features, named: tuple[str, ...], *, has_learned: bool
) -> str:
    """Return the kind with its evidence: `coding: “fix the”, “pytest”; signs of code`.

    Without any evidence it is "no telling words".
    """
    evidence = [", ".join(f"“{phrase}”" for phrase in named)] if named else []
    if not named and has_learned:
        evidence.append("words that such prompts were learned by")
    counts = np.expm1(features.dense)
    evidence += [name for columns, name in _SIGNS if counts[list(columns)].sum() >= _MIN_SIGNS]
    return f"{kind}: {'; '.join(evidence)}" if evidence else "no telling words"
