"""Estimates how good each model's reply will be, with the error of the estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from devflow_core.routing import Task
from numpy.typing import NDArray

from devflow_routing.evidence.scores import Evidence
from devflow_routing.model_config import ModelConfig
from devflow_routing.quality import Feedback, QualityTable

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """The chance of a good reply to a task for each model, 0..1; the arrays are read-only."""

    mean: Floats
    """The likeliest chance, for people."""
    lower: Floats
    """The lower end of its error, for choices: a guess is lower than evidence for the same."""


class AbilityTable:
    """What is known of the ability of every model of a catalogue.

    Args:
        models: the models, in the order of the arrays that are returned.
        evidence: scores in benchmarks; None: the shipped ones.
        feedback: the user's ratings of earlier answers.
    """

    def __init__(
        self,
        models: tuple[ModelConfig, ...],
        evidence: Evidence | None = None,
        feedback: Feedback | None = None,
    ) -> None:
        self._models = models
        self._quality = QualityTable(models, feedback)
        known = evidence or Evidence.load_shipped()
        self.version = f"{known.version}/{self._quality.version}"
        self.has_evidence: Flags = np.array(
            [self._quality.source_of(index)[:2] != "no" for index in range(len(models))],
            dtype=np.bool_,
        )

    def estimate(self, task: Task) -> Expected:
        """Return the chance of a good reply to this task for each model, with its lower end."""
        mean = self._quality.estimate(task)
        lower = np.where(self.has_evidence, mean * 0.95, mean * 0.8)
        lower.flags.writeable = False
        return Expected(mean=mean, lower=lower)

    def describe(self, index: int, task: Task) -> str:
        """Return which evidence the estimate for the model at this index rests on, for people."""
        return self._quality.source_of(index)
