"""Estimates how good a reply will be: a table of models by kinds of task, moved by feedback.

A model's row comes from public leaderboards (`data/quality.json`), from the user's settings, or, if
neither knows it, from a cautious guess by maker, price and age. A user's feedback moves a row
slowly: the prior counts as much as 20 answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, get_args

import numpy as np
import orjson
from devflow_core.routing import Complexity, Task, TaskType
from numpy.typing import NDArray

from devflow_routing.model_config import ModelConfig

Floats = NDArray[np.float64]

TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)
DIFFICULTY: Mapping[Complexity, float] = {"low": -1.2, "medium": 0.0, "high": 1.2}
"""Logits that the complexity of a task subtracts from every model's chance."""
_MEAN_LOGIT = 1.0
"""The logit of an average model, which succeeds at seven of ten tasks of medium complexity."""
_SPREAD = 1.3
"""Logits per unit of ability on the leaderboards' scale."""
_MAX_GUESSED_ABILITY = 0.3
"""The most ability that is guessed: a new, expensive model need not be as good as the best."""
PRIOR_WEIGHT = 20.0
"""The number of answers that the prior of a row counts as."""
_CACHE_SIZE = 64
"""The number of cached arrays, of about 3 kB each."""
_AGE_EPOCH_S, _YEAR_S = 1_750_000_000, 365.25 * 86_400
"""The time from which ages are counted in years, June 2025 as when the table was fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """A user's ratings of answers: by (model, kind of task), their count and the sum of scores."""

    counts: Mapping[tuple[str, str], tuple[int, float]] = field(
        default_factory=dict[tuple[str, str], tuple[int, float]]
    )

    def with_score(self, model: str, kind: str, score: float) -> Feedback:
        """Return the feedback with one more rating.

        Raises:
            ValueError: the score is not within 0..1.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"a score is within 0..1, not {score}")
        count, total = self.counts.get((model, kind), (0, 0.0))
        return Feedback(counts={**self.counts, (model, kind): (count + 1, total + score)})


class QualityTable:
    """The expected quality of every model of a catalogue, by kind of task.

    Args:
        models: the models, in the order of the arrays that are returned.
        feedback: the user's ratings of earlier answers.
    """

    def __init__(self, models: tuple[ModelConfig, ...], feedback: Feedback | None = None) -> None:
        table: Mapping[str, Any] = orjson.loads(
            files("devflow_routing").joinpath("data/quality.json").read_bytes()
        )
        known = feedback or Feedback()
        answers = sum(count for count, _ in known.counts.values())
        self.version = f"{table['version']}+{answers}" if answers else str(table["version"])
        rows = [_model_row(model, table) for model in models]
        self._sources = [source for source, _ in rows]
        means = np.array([logits for _, logits in rows], dtype=np.float64)
        self._logits: Floats = np.ascontiguousarray(_apply_feedback(means, models, known).T)
        # an agent's loop asks the same many times, as in the classifier
        self._estimate_cached = lru_cache(maxsize=_CACHE_SIZE)(self._estimate)

    def estimate(self, task: Task) -> Floats:
        """Return the chance of a good reply to this task for each model, weighted over its domains.

        The array is shared between calls, so it is read-only.
        """
        return self._estimate_cached(task.type, task.complexity, task.domains)

    def _estimate(
        self, kind: TaskType, complexity: Complexity, domains: tuple[tuple[str, float], ...]
    ) -> Floats:
        known = [(name, share) for name, share in domains if name in TASK_TYPES]
        if not known:
            logits = self._logits[TASK_TYPES.index(kind)]
        else:
            shares = np.zeros(len(TASK_TYPES))
            for name, share in known:
                shares[TASK_TYPES.index(name)] = share  # type: ignore[arg-type]
            logits = (shares / shares.sum()) @ self._logits
        chances = 1 / (1 + np.exp(DIFFICULTY[complexity] - logits))
        chances.flags.writeable = False
        return chances

    def source_of(self, index: int) -> str:
        """Return, in words, where the estimate for the model at this index comes from."""
        return self._sources[index]


def _model_row(model: ModelConfig, table: Mapping[str, Any]) -> tuple[str, list[float]]:
    """Return a model's logits by kind of task, and their source."""
    scored = table["models"].get(model.id.partition(":")[0])
    if scored is not None:
        source = f"public scores: {', '.join(scored['sources'])}"
        abilities = [scored["ability"] + scored["strength"].get(kind, 0.0) for kind in TASK_TYPES]
    else:
        source = "no public score: guessed from maker, price and age, and taken low"
        abilities = [_guess_ability(model, table["others"])] * len(TASK_TYPES)
    logits = [_MEAN_LOGIT + _SPREAD * ability for ability in abilities]
    for index, kind in enumerate(TASK_TYPES):
        given = model.quality.get(kind, model.quality.get("*"))
        if given is not None:
            source, logits[index] = "the settings", _logit(given)
    return source, logits


def _guess_ability(model: ModelConfig, others: Mapping[str, Any]) -> float:
    """Guess a model's ability from its price, age and maker, less the usual error."""
    if model.price is None or not model.price.completion:
        return -1.0
    usd_per_mtok = float(model.price.prompt * 3 + model.price.completion) / 4 * 1e6
    years = (model.created - _AGE_EPOCH_S) / _YEAR_S
    usual = (
        others["base"]
        + others["per_log_usd_per_mtok"] * math.log(usd_per_mtok)
        + others["per_year"] * years
        + others["authors"].get(model.author, 0.0)
    )
    return max(-3.0, min(_MAX_GUESSED_ABILITY, usual - others["error"]))


def _apply_feedback(means: Floats, models: tuple[ModelConfig, ...], feedback: Feedback) -> Floats:
    """Return the logits after the user's feedback: a Beta posterior for each cell of the table."""
    rows = {model.id: row for row, model in enumerate(models)}
    learned = means.copy()
    for (name, kind), (count, total) in feedback.counts.items():
        row = rows.get(name)
        if row is None or kind not in TASK_TYPES:
            continue
        column = TASK_TYPES.index(kind)  # type: ignore[arg-type]
        prior = 1 / (1 + math.exp(-means[row, column]))
        learned[row, column] = _logit((PRIOR_WEIGHT * prior + total) / (PRIOR_WEIGHT + count))
    return learned


def _logit(share: float) -> float:
    clipped = min(max(share, 0.01), 0.99)
    return math.log(clipped / (1 - clipped))
