"""How good a reply is expected to be: public scores by model and kind of task, else the price."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from devflow_core.routing import Task, TaskType
from numpy.typing import NDArray

from devflow_openrouter.models.model_config import ModelConfig

Floats = NDArray[np.float64]

TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)
DIFFICULTY = {"low": -1.0, "medium": 0.0, "high": 1.0}
_SLOPE = 0.45
"""How many logits a step of complexity takes from the chance of a good reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What is known of a model's quality at one kind of task."""

    mean: float
    source: str


class Quality:
    """Expected quality of every model of a catalogue, by kind of task.

    Args:
        models: in the order of the arrays that come out.
        version: names the table in decisions.
    """

    def __init__(self, models: tuple[ModelConfig, ...], *, version: str = "price-1") -> None:
        self.models = models
        self.version = version
        self._scores = [_by_price(model) for model in models]
        means = np.array([[score.mean for score in row.values()] for row in self._scores])
        self._logits: Floats = np.log(means / (1 - means)).T.copy()

    def expected(self, task: Task) -> Floats:
        """The chance of a good reply to this task, per model."""
        logits = self._logits[TASK_TYPES.index(task.type)]
        return 1 / (1 + np.exp(_SLOPE * DIFFICULTY[task.complexity] - logits))

    def source(self, at: int, kind: TaskType) -> str:
        """Where the expectation for the model at this place comes from, for a person."""
        return self._scores[at][kind].source


def _by_price(model: ModelConfig) -> Mapping[TaskType, Score]:
    """Without a score, dearer is taken for better, up to a point, and said so."""
    mean = 0.35
    if model.price is not None:
        usd_per_mtok = float(model.price.prompt * 3 + model.price.completion) / 4 * 1e6
        mean = 0.45 + 0.3 / (1 + math.exp(-0.8 * math.log((usd_per_mtok + 0.01) / 0.8)))
    score = Score(mean=mean, source="no public score: guessed from its price")
    given = model.quality
    scores = dict.fromkeys(TASK_TYPES, score)
    for kind in TASK_TYPES:
        word = given.get(kind, given.get("*"))
        if word is not None:
            scores[kind] = Score(mean=min(max(word, 0.01), 0.99), source="your own settings")
    return scores
