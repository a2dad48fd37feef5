"""Fits ridge regression over hashed text features: for the shipped classifier and for heads.

In the dual form, one inverse gives the fit and its leave-one-out predictions, so that nothing is
trained twice to be judged fairly (Cook and Weisberg 1982, §2.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devflow_routing.classifier.features import BUCKETS, DENSE_FEATURES, Features, extract_features

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TextVectorizer:
    """Turns texts into vectors: idf-weighted words of unit length, standardised dense features.

    `word_weights` is the inverse document frequency by bucket; `dense_mean` and `dense_scale`
    standardise the dense features so that together they weigh as much as the words.
    """

    word_weights: Vector
    dense_mean: Vector
    dense_scale: Vector

    @classmethod
    def fit(cls, features: Sequence[Features]) -> TextVectorizer:
        """Return a vectorizer whose weights are fitted to the texts of the training set."""
        counts = np.zeros(BUCKETS, dtype=np.float32)
        for one in features:
            counts[one.words] += 1
        idf = np.log((len(features) + 1) / (counts + 1)) + 1
        dense = np.array([one.dense for one in features], dtype=np.float32)
        return cls(
            word_weights=np.where(counts > 0, idf, 0).astype(np.float32),
            dense_mean=dense.mean(axis=0),
            dense_scale=((dense.std(axis=0) + 1e-3) * np.sqrt(DENSE_FEATURES)).astype(np.float32),
        )

    def transform(self, features: Sequence[Features]) -> Matrix:
        """Return one row per text: words in `BUCKETS` columns, then the dense features."""
        rows = np.zeros((len(features), BUCKETS + DENSE_FEATURES), dtype=np.float32)
        for row, one in zip(rows, features, strict=True):
            weights = self.word_weights[one.words]
            row[one.words] = weights / max(float(np.linalg.norm(weights)), 1e-9)
            row[BUCKETS:] = (one.dense - self.dense_mean) / self.dense_scale
        return rows


def extract_all_features(texts: Iterable[str]) -> list[Features]:
    """Return the features of many texts."""
    return [extract_features(text) for text in texts]


class RidgeRegression:
    """A fit of several targets at once, with cross-validated predictions of its own examples.

    Args:
        kernel: the inner products of the training vectors.
        targets: one row per training text, one column per target.
        penalty: what is added to the kernel's diagonal; the more, the nearer weights are to zero.
    """

    def __init__(self, kernel: Matrix, targets: Matrix, penalty: float) -> None:
        count = len(kernel)
        self.mean: Vector = targets.mean(axis=0)
        self._inverse: Matrix = np.linalg.inv(
            kernel + np.float32(penalty) * np.eye(count, dtype=np.float32)
        )
        self._targets = targets
        self.dual_coef: Matrix = (self._inverse @ (targets - self.mean)).astype(np.float32)

    def leave_one_out(self) -> Matrix:
        """Return predictions of the training texts, each left out in turn.

        They are exact but for the mean of the targets, which includes the text that is left out.
        """
        left = self._targets - self.dual_coef / np.diag(self._inverse)[:, None]
        return left.astype(np.float32)

    def leave_group_out(self, members: NDArray[np.bool_]) -> Matrix:
        """Return predictions of some training texts, not of all, by a fit without any of them."""
        places = np.flatnonzero(members)
        mean = self._targets[~members].mean(axis=0)
        # the coefficients of a fit about the mean of the others, as the fit without them has it
        duals = self.dual_coef[places]
        duals = duals + np.outer(self._inverse[places].sum(axis=1), self.mean - mean)
        own = self._inverse[np.ix_(places, places)]
        left = self._targets[places] - np.linalg.solve(own, duals)
        return left.astype(np.float32)
