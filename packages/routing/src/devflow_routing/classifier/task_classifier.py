"""Classifies a request: its kind, its complexity, and the evidence for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import get_args

import numpy as np
from devflow_core.errors import ConfigurationError
from devflow_core.request import ChatRequest
from devflow_core.routing import SelectionCriteria, Task, TaskType
from numpy.typing import NDArray

from devflow_routing.classifier.difficulty import (
    FEW_WORDS,
    MIDDLES,
    band_of,
    rate_difficulty,
    rate_words,
)
from devflow_routing.classifier.evidence import describe_evidence
from devflow_routing.classifier.features import BUCKETS, DENSE_FEATURES, Features, extract_features
from devflow_routing.classifier.linear_model import LinearModel
from devflow_routing.classifier.prompt_text import extract_human_prompt
from devflow_routing.classifier.rules import HARD, Hits, Rules, claim_phrases, load_phrases
from devflow_routing.classifier.shape import RequestShape, read_shape
from devflow_routing.classifier.side_calls import SideCall, find_side_call

TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)
SCORE_WEIGHT = 6.0
"""The value of one unit of the learned score, in logits."""
_UNTAUGHT_HIT = 0.27
"""The score of one phrase of the rules for a kind that the learned model was not trained on."""
TOOLS_SCORE = 0.25
"""The score for coding if the request has the tools of a coding agent."""
_IMPOSSIBLE = -10.0
"""The score of a kind that nothing in a text can speak for."""
_DIFFICULTY = "difficulty"
"""The name of the learned score for how likely a small model is to fail."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Classification:
    task_type: TaskType
    confidence: float
    difficulty: float
    """How likely a small model is to fail by the words alone, in logits."""
    reason: str
    domains: tuple[tuple[str, float], ...]


class TaskClassifier:
    """Classifies requests by the human's latest words, and by the shape of the whole request.

    A linear model reads words, stems and phrases of the rules (`data/rules.json`). It is trained on
    public prompts and on ones written for it: words carry the styles that it has seen, phrases the
    others.

    Args:
        model: the learned part; None: the shipped one. A kind that it was not trained on is
            recognized by the rules alone.
        cache_size: how many results are kept, since an agent's loop asks the same question
            many times.

    Raises:
        ConfigurationError: the model lacks scores that are needed here.
    """

    def __init__(self, model: LinearModel | None = None, *, cache_size: int = 256) -> None:
        self._model = model or LinearModel.load_shipped()
        names = self._model.names
        self._difficulty = _find_difficulty(names)
        self._rules = Rules((*TASK_TYPES, HARD), claim_phrases(load_phrases(), {*names, HARD}))
        self._learned_kinds = [kind for kind, name in enumerate(TASK_TYPES) if name in names]
        self._signs = [*self._learned_kinds, len(TASK_TYPES)]
        self._learned_columns = [names.index(TASK_TYPES[kind]) for kind in self._learned_kinds]
        self._untaught = [one for one in self._rules.kinds if one not in self._signs]
        self._table: Floats = self._model.weights.astype(np.float32)
        self._no_scores: Floats = np.full(len(TASK_TYPES), _IMPOSSIBLE, dtype=np.float32)
        self.version = self._model.version
        self._classify_cached = lru_cache(maxsize=cache_size)(self._classify)

    def classify(self, request: ChatRequest, /) -> Task:
        """Return the task; a repeated prompt takes microseconds.

        What the request's criteria say of the task comes before what is found.
        """
        side_call = find_side_call(request)
        found = (
            _side_task(side_call, extract_human_prompt(request))
            if side_call
            else self._human_task(request)
        )
        criteria = request.criteria
        if criteria is None or (criteria.task_type is None and criteria.complexity is None):
            return found
        return _with_criteria(found, criteria)

    def _human_task(self, request: ChatRequest) -> Task:
        text, shape = extract_human_prompt(request), read_shape(request)
        words = self._classify_cached(text, shape.has_coding_tools)
        difficulty = rate_difficulty(words.difficulty, shape)
        return Task(
            type=words.task_type,
            complexity=band_of(difficulty),
            confidence=words.confidence,
            difficulty=difficulty,
            reasons=(words.reason, _describe_difficulty(difficulty, shape)),
            domains=words.domains,
            text=text,
        )

    def _classify(self, text: str, has_coding_tools: bool) -> _Classification:
        features = extract_features(text)
        cues, hits = features.cues, self._rules.find(features)
        sums = _ONES[: len(cues)] @ self._table.take(cues, axis=0)
        learned = self._model.score(cues, sign_vector(features, hits, self._signs), sums)
        scores = self._scores_by_kind(learned, hits)
        if has_coding_tools:
            scores[_CODING] += TOOLS_SCORE
        scores -= scores[scores.argmax()]
        scores *= SCORE_WEIGHT
        shares = np.exp(scores, out=scores)
        shares /= shares.sum()
        order: list[int] = (-shares).argsort(kind="stable")[:3].tolist()
        best, known = order[0], shares.tolist()
        domains = tuple([(TASK_TYPES[index], round(known[index], 4)) for index in order])
        return _Classification(
            task_type=TASK_TYPES[best],
            confidence=domains[0][1],
            difficulty=rate_words(
                float(learned[self._difficulty]),
                domains,
                # to an agent, a few words are a task and no small talk, unless it is `ok` or `go`
                is_short=features.count + has_coding_tools * len(text) <= FEW_WORDS,
                hard_words=float(hits.counts[-1]),
            ),
            reason=describe_evidence(TASK_TYPES[best], best, features, hits),
            domains=domains,
        )

    def _scores_by_kind(self, learned: Floats, hits: Hits) -> Floats:
        """Return the score of each kind; one that the model does not know has its rules."""
        known = learned.take(self._learned_columns)
        scores = self._no_scores.copy()
        scores[self._learned_kinds] = known
        for kind in self._untaught:
            scores[kind] = known.mean() + _UNTAUGHT_HIT * float(hits.edge_counts[kind])
        return scores


_CODING = TASK_TYPES.index("coding")
_ONES: Floats = np.ones(BUCKETS, dtype=np.float32)


def sign_vector(features: Features, hits: Hits, kinds: Sequence[int]) -> Floats:
    """Return what a learned model reads besides words: symbols, and hits of the rules by kind."""
    edge_counts, counts = hits.edge_counts, hits.counts
    signs = np.empty(DENSE_FEATURES + 2 * len(kinds), dtype=np.float32)
    signs[:DENSE_FEATURES] = features.dense
    signs[DENSE_FEATURES:] = [edge_counts[kind] for kind in kinds] + [
        counts[kind] for kind in kinds
    ]
    return signs


def _side_task(call: SideCall, text: str) -> Task:
    """Return the task of a call that a harness makes for itself."""
    return Task(
        type="background",
        complexity=band_of(call.difficulty),
        confidence=1.0,
        difficulty=call.difficulty,
        reasons=(f"background: {call.purpose}",),
        domains=(("background", 1.0),),
        text=text,
    )


def _with_criteria(found: Task, criteria: SelectionCriteria) -> Task:
    """Return the task with what the caller has said of it."""
    kind, complexity = criteria.task_type, criteria.complexity
    if complexity is not None and complexity != found.complexity:
        found = replace(found, complexity=complexity, difficulty=MIDDLES[complexity])
    if kind is None:
        return found
    reasons = ("given by the caller",)
    return replace(found, type=kind, confidence=1.0, domains=((kind, 1.0),), reasons=reasons)


def _describe_difficulty(difficulty: float, shape: RequestShape) -> str:
    """Return how hard the request is, and what besides its words makes it so."""
    because = shape.describe()
    tail = f" ({because})" if because else ""
    return f"a small model would fail at {difficulty:.0%} of such{tail}"


def _find_difficulty(names: tuple[str, ...]) -> int:
    """Return the column of the score for difficulty.

    Raises:
        ConfigurationError: there is none, or no score for any kind of task.
    """
    if _DIFFICULTY not in names or not set(names) & set(TASK_TYPES):
        raise ConfigurationError(
            f"The task classifier's model scores {', '.join(names)}; it has to score"
            f" `{_DIFFICULTY}` and at least one of {', '.join(TASK_TYPES)}."
        )
    return names.index(_DIFFICULTY)
