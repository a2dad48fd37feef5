"""Classifies a request: its kind, its complexity, and the evidence for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import get_args

import numpy as np
import orjson
from devflow_core.errors import ConfigurationError
from devflow_core.request import ChatRequest
from devflow_core.routing import SelectionCriteria, Task, TaskType
from numpy.typing import NDArray

from devflow_routing.classifier.difficulty import MIDDLES, band_of, rate_difficulty
from devflow_routing.classifier.evidence import describe_evidence, name_phrases
from devflow_routing.classifier.features import (
    BUCKETS,
    NON_ASCII_SHARE,
    Features,
    bucket_of,
    extract_features,
)
from devflow_routing.classifier.linear_model import LinearModel
from devflow_routing.classifier.prompt_text import extract_human_prompt
from devflow_routing.classifier.shape import RequestShape, read_shape
from devflow_routing.classifier.side_calls import SideCall, find_side_call

TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)
SCORE_WEIGHT = 6.0
"""The value of one unit of the learned score, in logits."""
RULE_WEIGHT = 0.8
"""The value of one word of the rules, in logits."""
MAX_RULE_HITS = 3
"""The most hits that count, so that a long list of words does not decide alone."""
_UNTAUGHT_RULE_FACTOR = 2.0
"""The factor on the rules for a kind that the learned model was not trained on."""
TOOLS_WEIGHT = 1.0
"""Logits for coding if the request has tools: most such requests come from coding agents."""

_SMALL_MODEL = "small_model"
"""The name of the learned score for how well a small model would answer."""

_UNTRAINED_SCRIPT_WEIGHT = 0.3
"""The weight of the learned model for scripts with little training text.

It applies only if no rule matches; otherwise the rules decide alone.
"""
MAX_NON_ASCII_SHARE = 1.0
"""The share of non-ASCII bytes, times ten, above which a text counts as another script."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Classification:
    task_type: TaskType
    confidence: float
    difficulty: float
    """The chance that a small model fails, by the words alone."""
    reason: str
    domains: tuple[tuple[str, float], ...]


class TaskClassifier:
    """Classifies requests by the human's own words in the whole conversation.

    Rules (`data/rules.json`) and a linear model trained on public prompts vote together: the model
    is far better on styles of prompts that it has seen, the rules on others.

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
        self._small_model = _find_small_model(names)
        self._learned_kinds = [kind for kind, name in enumerate(TASK_TYPES) if name in names]
        self._rule_factors = np.full(len(TASK_TYPES), _UNTAUGHT_RULE_FACTOR, dtype=np.float32)
        self._rule_factors[self._learned_kinds] = 1.0
        self._learned_columns = [names.index(TASK_TYPES[kind]) for kind in self._learned_kinds]
        # learned weights and rules side by side: one look-up serves both
        rules = _load_rules()
        self._table: Floats = np.concatenate(
            (self._model.weights, _tabulate(rules)), axis=1, dtype=np.float32
        )
        self._phrases = {
            extract_features(phrase).phrase_of(bucket_of(phrase)): phrase
            for phrases in rules.values()
            for phrase in phrases
        }
        self.version = self._model.version
        self._classify_cached = lru_cache(maxsize=cache_size)(self._classify)

    def classify(self, request: ChatRequest, /) -> Task:
        """Return the task; takes about 80 µs for 2,000 characters, 5 µs for a repeated prompt."""
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
        rows = self._table.take(features.words, axis=0)
        sums = np.ones(len(rows), dtype=np.float32) @ rows
        learned = len(self._model.names)
        scores = self._model.score(features, sums[:learned])
        known, hits = self._scores_by_kind(scores), np.minimum(sums[learned:], MAX_RULE_HITS)
        if features.dense[NON_ASCII_SHARE] > MAX_NON_ASCII_SHARE:
            known, hits = known * (0.0 if hits.any() else _UNTRAINED_SCRIPT_WEIGHT), hits * 3
        else:
            hits = hits * self._rule_factors
        shares = np.exp(combine_scores(known, hits, has_tools=has_coding_tools))
        shares /= shares.sum()
        order: list[int] = np.argsort(-shares, kind="stable")[:3].tolist()
        best, small = order[0], float(scores[self._small_model])
        return _Classification(
            task_type=TASK_TYPES[best],
            confidence=round(float(shares[best]), 4),
            difficulty=1 - max(0.0, min(1.0, small)),
            reason=self._describe(features, rows, best),
            domains=tuple((TASK_TYPES[index], round(float(shares[index]), 4)) for index in order),
        )

    def _scores_by_kind(self, scores: Floats) -> Floats:
        """Return the learned score of each kind; kinds the model does not know get the mean."""
        learned = scores[self._learned_columns]
        by_kind = np.full(len(TASK_TYPES), learned.mean(), dtype=np.float32)
        by_kind[self._learned_kinds] = learned
        return by_kind

    def _describe(self, features: Features, rows: Floats, best: int) -> str:
        names, kind = self._model.names, TASK_TYPES[best]
        ruled = rows[:, len(names) + best]
        learned = rows[:, names.index(kind)] if kind in names else np.zeros_like(ruled)
        named = name_phrases(features, learned, ruled, self._phrases)
        return describe_evidence(kind, features, named, has_learned=bool((learned > 0).any()))


def combine_scores(scores: Floats, hits: Floats, *, has_tools: bool) -> Floats:
    """Return the votes of the learned model and the rules together, in logits."""
    votes = hits * RULE_WEIGHT
    if has_tools:
        votes[TASK_TYPES.index("coding")] += TOOLS_WEIGHT
    return (votes + scores * SCORE_WEIGHT).astype(np.float32)


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


def _find_small_model(names: tuple[str, ...]) -> int:
    """Return the column of the small model's score, from which complexity is derived."""
    if _SMALL_MODEL not in names or not set(names) & set(TASK_TYPES):
        raise ConfigurationError(
            f"The task classifier's model scores {', '.join(names)}; it has to score"
            f" `{_SMALL_MODEL}` and at least one of {', '.join(TASK_TYPES)}."
        )
    return names.index(_SMALL_MODEL)


def _load_rules() -> dict[TaskType, list[str]]:
    """Return the words and pairs of words that speak for each kind."""
    return orjson.loads(files("devflow_routing").joinpath("data/rules.json").read_bytes())


def _tabulate(rules: dict[TaskType, list[str]]) -> NDArray[np.int8]:
    """Return, by bucket and kind, whether the rules name a word or pair of the bucket."""
    table = np.zeros((BUCKETS, len(TASK_TYPES)), dtype=np.int8)
    for kind, phrases in rules.items():
        for phrase in phrases:
            table[bucket_of(phrase), TASK_TYPES.index(kind)] = 1
    return table
