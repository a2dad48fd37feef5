"""Arranges examples as arrays: prompts by models, with what is unknown filled in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from devflow_core.request import ChatRequest
from devflow_core.routing import Task
from numpy.typing import NDArray

from devflow_routing.classifier.task_classifier import TaskClassifier
from devflow_routing.training.examples import Example

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

MIN_MODEL_SHARE = 0.02
"""The share of the prompts that a model has to have answered to be learned."""
_MEAN_WEIGHT = 5.0
"""How many answers the mean of all models counts as in the mean of one of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Examples as arrays: one row a prompt, one column a model."""

    models: tuple[str, ...]
    tasks: tuple[Task, ...]
    domains: tuple[str, ...]
    """The domain of each prompt."""
    scores: Floats
    """0..1; filled in by the mean of the model and the difficulty of the prompt where unknown."""
    costs_usd: Floats
    """Above 0; filled in by the geometric mean of the model where unknown."""
    is_recorded: Flags
    """Whether the score is recorded, and not filled in."""

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def has_texts(self) -> Flags:
        """Whether each prompt's text is known."""
        return np.array([bool(task.text) for task in self.tasks], dtype=np.bool_)

    def select(self, places: Ints | Flags) -> Answers:
        """Return some of the prompts: those at the given indices, or where the mask is true."""
        chosen: list[int] = np.arange(len(self))[places].tolist()
        return Answers(
            models=self.models,
            tasks=tuple(self.tasks[one] for one in chosen),
            domains=tuple(self.domains[one] for one in chosen),
            scores=self.scores[chosen],
            costs_usd=self.costs_usd[chosen],
            is_recorded=self.is_recorded[chosen],
        )


def arrange_answers(
    examples: Sequence[Example], classifier: TaskClassifier, models: Sequence[str] | None = None
) -> Answers:
    """Return the examples as arrays, each prompt read as the router reads it.

    Args:
        examples: prompts with scores.
        classifier: reads the prompts.
        models: the columns; None: every model that answered `MIN_MODEL_SHARE` of the prompts.
    """
    if models is None:
        counts = Counter(name for one in examples for name in one.scores)
        least = max(1.0, MIN_MODEL_SHARE * len(examples))
        models = sorted(name for name, count in counts.items() if count >= least)
    tasks = tuple(_classify(one, classifier) for one in examples)
    scores = _table([[one.scores.get(name) for name in models] for one in examples], len(models))
    costs = _table([[one.costs_usd.get(name) for name in models] for one in examples], len(models))
    return Answers(
        models=tuple(models),
        tasks=tasks,
        domains=tuple(one.domain or task.type for one, task in zip(examples, tasks, strict=True)),
        scores=_fill_scores(scores),
        costs_usd=_fill_costs(costs),
        is_recorded=~np.isnan(scores),
    )


def _classify(example: Example, classifier: TaskClassifier) -> Task:
    if example.prompt:
        return classifier.classify(ChatRequest.from_text(example.prompt))
    return Task(
        type=example.kind or "knowledge", complexity=example.complexity or "medium", confidence=1.0
    )


def _table(rows: list[list[float | None]], columns: int) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(len(rows), columns)


def _fill_scores(scores: Floats) -> Floats:
    """Fill in unknown scores: the model's mean, moved by how the prompt went with others."""
    known = ~np.isnan(scores)
    if known.all():
        return scores
    overall = float(scores[known].mean()) if known.any() else 0.5
    sums = np.where(known, scores, 0.0)
    means = (sums.sum(axis=0) + _MEAN_WEIGHT * overall) / (known.sum(axis=0) + _MEAN_WEIGHT)
    residuals = np.where(known, scores - means, 0.0).sum(axis=1) / (known.sum(axis=1) + 1.0)
    return np.where(known, scores, np.clip(means + residuals[:, None], 0.0, 1.0))


def _fill_costs(costs: Floats) -> Floats:
    """Fill in unknown costs by the model's geometric mean; without any, by that of all.

    A cost of 0 becomes next to nothing, since logarithms of costs are learned.
    """
    logs = np.log(np.where(costs > 0, costs, np.nan))
    known = ~np.isnan(logs)
    overall = float(logs[known].mean()) if known.any() else 0.0
    counts = known.sum(axis=0)
    sums = np.where(known, logs, 0.0).sum(axis=0)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return np.where(np.isnan(costs), np.exp(means), np.maximum(costs, 1e-9))
