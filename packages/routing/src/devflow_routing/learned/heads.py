"""Turns hashed words into several scores at once, with 8-bit weights."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from devflow_routing.classifier.features import Features, extract_features

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_PROBE = "Write a function that sums 3 numbers; e.g. f(1, 2, 3) == 6. Perché? 为什么?"
"""A text whose features tell one form of features from another."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordHeads:
    """Linear heads over the hashed words and the dense features of a text."""

    words: NDArray[np.int8]
    """Weights by bucket and head; times `scale`, they include the inverse document frequency."""
    scale: Singles
    squared_idf: Singles
    """The squared inverse document frequency of each bucket; 0 for words never learned from."""
    dense: Singles
    bias: Singles

    def apply(self, features: Features) -> Floats:
        """Return the score of each head for a text."""
        words = features.words
        rows = self.words.take(words, axis=0).astype(np.float32)
        # whole numbers below 2²⁴, so their order of addition does not matter
        sums = np.ones(len(rows), dtype=np.float32) @ rows
        norm = float(np.sqrt(self.squared_idf[words].sum())) or 1.0
        scores = sums * (self.scale / norm) + features.dense @ self.dense + self.bias
        return scores.astype(np.float64)


HEAD_ARRAYS = tuple(one.name for one in fields(WordHeads))
"""The names of the arrays of `WordHeads`."""


def features_version() -> str:
    """Return a fingerprint of the form of features; heads learned for another one are useless."""
    found = extract_features(_PROBE)
    sums = (int(found.words.sum()), len(found.words), len(found.dense))
    return "-".join(str(one) for one in (*sums, round(float(found.dense.sum()), 3)))
