"""Estimates how good each model's reply will be, and how far that estimate may be off.

Abilities are inferred from public scores (`evidence/`), and from kinship where a model has none.
The user's settings replace what was inferred; the user's feedback moves it slowly, since what was
known before counts as much as 20 answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import get_args

import numpy as np
from devflow_core.routing import Task, TaskType
from numpy.typing import NDArray

from devflow_routing.evidence.benchmarks import AXES, DIMENSIONS
from devflow_routing.evidence.description import describe_guess, describe_readings
from devflow_routing.evidence.posterior import Abilities, infer_abilities, loadings_of
from devflow_routing.evidence.readings import Reading, find_readings, group_models
from devflow_routing.evidence.scores import Evidence, load_shipped_evidence
from devflow_routing.feedback import Feedback
from devflow_routing.model_config import ModelConfig

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)
_ROWS: Mapping[str, int] = {kind: row for row, kind in enumerate(TASK_TYPES)}
_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "coding": {"general": 1.0, "agentic": 0.15},
    "math": {"general": 1.0, "math": 0.35},
    "reasoning": {"general": 1.0, "math": 0.1},
    "creative": {"general": 0.9, "creative": 0.35},
    "knowledge": {"general": 1.0},
    "text_ops": {"general": 0.7, "faithful": 0.2},
    "planning": {"general": 1.0, "agentic": 0.3},
    "analysis": {"general": 0.95, "faithful": 0.05},
    "background": {"general": 0.5, "faithful": 0.1},
}
"""How much each ability counts in a kind of task.

Faithfulness of summaries falls by 0.4 as general ability rises by 1. The weights of `text_ops` are
therefore those of 0.8 · general ability + 0.25 · faithfulness.
"""
_MEAN_LOGIT, _SPREAD = 1.26, 1.33
"""The logit of a good reply by a model of average ability to a task of difficulty 0.5, and what a
standard deviation of ability adds. The average of the models that leaderboards compare is lower:
they succeed at seven of ten tasks of medium difficulty."""
_CAUTION = 1.0
"""The standard errors by which the lower end is below the mean: five of six models are above it."""
_GUESS_MARGIN = 0.03
"""How much more a model that nobody has measured has to be worth: its error is a guess as well."""
_MAX_LOGIT = 26.0
"""The logit from which a chance counts as certain."""
_MIN_DIFFICULTY = 0.02
"""Chances and difficulties are kept this far from 0 and 1 where their logit is taken."""
_OF_KIND = 10.0
"""What puts a score of the task's own kind before others where scores are shown."""
PRIOR_WEIGHT = 20.0
"""The number of answers that what was known before counts as."""
_CACHE_SIZE = 16
"""The number of cached pairs of arrays, of about 6 kB each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """The chance of a good reply to a task for each model, 0..1; the arrays are read-only."""

    mean: Floats
    """The likeliest chance, for people."""
    lower: Floats
    """The chance at one standard error below, for choices: a guess is lower than evidence."""
    has_evidence: Flags
    """Whether anybody has measured the quality of this model."""
    guess_margin: Floats
    """How much more a model has to be worth: 0 with evidence, otherwise `_GUESS_MARGIN`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """What is inferred once for all tasks."""

    places: list[int]
    """For each model the index of the one that it is a variant of, in what follows."""
    models: tuple[ModelConfig, ...]
    readings: list[list[Reading]]
    abilities: Abilities
    logits: Floats
    """By kind of task and model, at difficulty 0.5."""
    errors: Floats
    """The standard errors of the logits."""
    given: Flags
    """Where the user's settings say how good a model is."""
    failure_logits: Floats
    """By kind, the logits of a poor reply at difficulty 0.5: of the mean, then of the lower end."""


class AbilityTable:
    """What is known of the ability of every model of a catalogue; inferred when first asked.

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
        self._evidence = evidence or load_shipped_evidence()
        self._feedback = feedback or Feedback()
        answers = sum(count for count, _ in self._feedback.counts.values())
        version = self._evidence.version
        self.version = f"{version}+{answers}" if answers else version
        # an agent's loop asks the same many times, as in the classifier
        self._estimate_cached = lru_cache(maxsize=_CACHE_SIZE)(self._estimate)

    @cached_property
    def has_evidence(self) -> Flags:
        """Whether public scores tell the general ability of each model; read-only."""
        table = self._table
        flags = table.abilities.is_measured[table.places]
        flags.flags.writeable = False
        return flags

    @cached_property
    def _guess_margin(self) -> Floats:
        return find_guess_margin(self.has_evidence)

    def estimate(self, task: Task, difficulty: float | None = None) -> Expected:
        """Return the chance of a good reply to this task for each model, with its lower end.

        It is weighted over the task's domains. The arrays are shared between calls.

        Args:
            task: what is asked.
            difficulty: another difficulty than the task's own; None: its own.
        """
        asked = task.difficulty if difficulty is None else difficulty
        return self._estimate_cached(task.type, asked, task.domains)

    def describe(self, index: int, task: Task) -> str:
        """Return what the estimate for the model at this index rests on, and how sure it is.

        Which scores, of what age and at which effort; or the sibling that it was guessed from.
        """
        table, kind = self._table, TASK_TYPES.index(task.type)
        if table.given[kind, index]:
            return "the settings"
        place = table.places[index]
        hard = _logit(task.difficulty)
        ends = [
            _share(table.logits[kind, index] - hard + sign * table.errors[kind, index])
            for sign in (-1.0, 1.0)
        ]
        sure = f"± {max(round((ends[1] - ends[0]) * 50), 1)} points"
        nearest = int(table.abilities.nearest[place])
        sibling = table.models[nearest].id if nearest >= 0 else None
        if not table.abilities.is_measured[place]:
            return f"{describe_guess(sibling, table.models[place])}; {sure}"
        weights = _kind_weights(task.type)
        used = [
            one
            for one in table.readings[place]
            if self._evidence.benchmarks[one.score.benchmark].tells_ability
            or weights[1 + AXES.index("faithful")] > 0
        ]
        used.sort(key=lambda one: -self._relevance(one, weights, task.type))
        return f"{describe_readings(used, self._evidence)}; {sure}"

    def _relevance(self, reading: Reading, weights: Floats, kind: str) -> float:
        """Return how much a score says about a kind of task."""
        benchmark = self._evidence.benchmarks[reading.score.benchmark]
        loading = loadings_of(benchmark)
        said = float(loading[0] * weights[0] + 3 * loading[1:] @ weights[1:])
        return (
            said / benchmark.noise**0.5 - abs(reading.excess) + _OF_KIND * (benchmark.kind == kind)
        )

    @cached_property
    def _table(self) -> _Table:
        models, places = group_models(self._models)
        readings = find_readings(models, self._evidence)
        abilities = infer_abilities(models, readings, self._evidence)
        kinds = np.array([_kind_weights(kind) for kind in TASK_TYPES])
        sources = _find_sources(models, readings)[places]
        means = (kinds @ abilities.mean.T)[:, sources]
        variances = np.einsum("ki,mij,kj->km", kinds, abilities.covariance, kinds)[:, sources]
        logits = _MEAN_LOGIT + _SPREAD * means
        errors = _SPREAD * np.sqrt(variances)
        given = self._apply_settings(logits, errors)
        self._apply_feedback(logits, errors)
        return _Table(
            places=places,
            models=models,
            readings=readings,
            abilities=abilities,
            logits=np.ascontiguousarray(logits),
            errors=np.ascontiguousarray(errors),
            given=given,
            # absurd prices may put a model, or its error, far beyond any float
            failure_logits=-np.concatenate((logits, logits - _CAUTION * errors), axis=1).clip(
                -_MAX_LOGIT, _MAX_LOGIT
            ),
        )

    def _apply_settings(self, logits: Floats, errors: Floats) -> Flags:
        """Put what the user says of a model in the place of what was inferred."""
        given: Flags = np.zeros(logits.shape, dtype=np.bool_)
        for column, model in enumerate(self._models):
            for row, kind in enumerate(TASK_TYPES if model.quality else ()):
                said = model.quality.get(kind, model.quality.get("*"))
                if said is not None:
                    logits[row, column], errors[row, column] = _logit(said), 0.0
                    given[row, column] = True
        return given

    def _apply_feedback(self, logits: Floats, errors: Floats) -> None:
        """Move estimates by the user's ratings: a Beta posterior for each model and kind."""
        columns = {model.id: column for column, model in enumerate(self._models)}
        for (name, kind), (count, total) in self._feedback.counts.items():
            column = columns.get(name)
            if column is None or kind not in TASK_TYPES:
                continue
            row = TASK_TYPES.index(kind)  # type: ignore[arg-type]
            prior = _share(logits[row, column])
            weight = PRIOR_WEIGHT + count
            logits[row, column] = _logit((PRIOR_WEIGHT * prior + total) / weight)
            errors[row, column] *= math.sqrt(PRIOR_WEIGHT / weight)

    def _estimate(
        self, kind: TaskType, difficulty: float, domains: tuple[tuple[str, float], ...]
    ) -> Expected:
        known = [(name, share) for name, share in domains if name in _ROWS and share > 0]
        shares = [0.0] * len(TASK_TYPES)
        for name, share in known or ((kind, 1.0),):
            shares[_ROWS[name]] = share
        total = sum(shares)
        chances = np.array([one / total for one in shares]) @ self._table.failure_logits
        # in place, since five more arrays would take as long again
        chances += _logit(difficulty)
        np.exp(chances, out=chances)
        chances += 1.0
        np.reciprocal(chances, out=chances)
        chances.flags.writeable = False
        count = len(self._models)
        return Expected(
            mean=chances[:count],
            lower=chances[count:],
            has_evidence=self.has_evidence,
            guess_margin=self._guess_margin,
        )


def find_guess_margin(has_evidence: Flags) -> Floats:
    """Return how much more each model has to be worth, as nobody has measured some."""
    return np.where(has_evidence, 0.0, _GUESS_MARGIN)


def _find_sources(
    models: Sequence[ModelConfig], readings: Sequence[Sequence[Reading]]
) -> NDArray[np.int64]:
    """Return whose ability each model has: its own, or that of the model whose scores it borrows.

    `…-fast` is the same model for twice the price, which must not make it look better.
    """
    index = {model.id: at for at, model in enumerate(models)}
    sources = np.arange(len(models))
    for at, found in enumerate(readings):
        lenders = {one.lender for one in found}
        if len(lenders) == 1:
            sources[at] = index.get(lenders.pop(), at)
    return sources


def _kind_weights(kind: str) -> Floats:
    """Return how much each dimension of ability counts in a kind of task."""
    weights = _WEIGHTS.get(kind, {"general": 1.0})
    row = np.zeros(DIMENSIONS)
    for place, name in enumerate(("general", *AXES)):
        row[place] = weights.get(name, 0.0)
    return row


def _logit(share: float) -> float:
    clipped = min(max(share, _MIN_DIFFICULTY), 1 - _MIN_DIFFICULTY)
    return math.log(clipped / (1 - clipped))


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -_MAX_LOGIT), _MAX_LOGIT)))
