"""Loads the shipped linear model, which turns hashed words into scores with 8-bit weights."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devflow_routing.classifier.features import Indices

Vector = NDArray[np.float32]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearModel:
    """A model that gives a text several scores at once.

    `weights` times `scale` are the weights of the hashed words, including idf. `score` normalizes
    them by the `squared_idf` of the text's words, and adds `dense_weights` and `bias`.
    """

    names: tuple[str, ...]
    """The name of each score: a kind of task, or `difficulty`."""
    version: str
    weights: NDArray[np.int8]
    scale: Vector
    squared_idf: Vector
    """The squared inverse document frequency of each bucket."""
    dense_weights: Matrix
    bias: Vector

    def score(self, cues: Indices, signs: Vector, word_sums: Vector) -> Vector:
        """Return one score for each name.

        Args:
            cues: the buckets of the text's words; see `Features.cues`.
            signs: its dense features, and those of the rules.
            word_sums: the sums of `weights` over the cues; whole numbers, so their order of
                addition does not matter.
        """
        norm = float(np.sqrt(self.squared_idf.take(cues).sum())) or 1.0
        scores = word_sums * (self.scale / norm)
        scores += signs @ self.dense_weights
        scores += self.bias
        return scores.astype(np.float32, copy=False)

    def save(self, path: Path) -> None:
        """Write the model to a file; the same model gives the same bytes."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                names=np.array(self.names),
                version=np.array(self.version),
                weights=self.weights,
                scale=self.scale,
                rarity=self.squared_idf.astype(np.float16),
                sign_weights=self.dense_weights,
                bias=self.bias,
            )

    @classmethod
    def load_shipped(cls) -> LinearModel:
        """Load the model that ships with the package."""
        packed = files("devflow_routing").joinpath("data/classifier.npz").read_bytes()
        with np.load(BytesIO(packed), allow_pickle=False) as held:
            return cls(
                names=tuple(str(name) for name in held["names"]),
                version=str(held["version"]),
                weights=np.ascontiguousarray(held["weights"]),
                scale=held["scale"],
                squared_idf=held["rarity"].astype(np.float32),
                dense_weights=held["sign_weights"],
                bias=held["bias"],
            )
