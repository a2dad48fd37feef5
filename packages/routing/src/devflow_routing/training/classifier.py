"""Trains the linear model of the task classifier: kinds of task, and difficulty.

The kinds are ridge regressions on labels. `difficulty` is the chance that a model of seven or eight
billion parameters fails, learned from recorded answers, from the ratings of the requests that were
written for it, and from what is known of whole sources of hard prompts.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from devflow_core.routing import TaskType
from numpy.typing import NDArray

from devflow_routing.classifier.features import BUCKETS, DENSE_FEATURES, extract_features
from devflow_routing.classifier.linear_model import LinearModel
from devflow_routing.classifier.prompt_text import truncate
from devflow_routing.classifier.rules import HARD, Rules
from devflow_routing.classifier.task_classifier import sign_vector
from devflow_routing.training.ridge import RidgeRegression
from devflow_routing.training.written_requests import read_written_requests

Matrix = NDArray[np.float32]

VERSION = "hashed-ridge-2"
KINDS: tuple[TaskType, ...] = tuple(one for one in get_args(TaskType) if one != "background")
KIND_PENALTY, DIFFICULTY_PENALTY = 0.3, 10.0
SYMBOL_WEIGHT, EDGE_WEIGHT, HIT_WEIGHT = 0.2, 0.15, 0.12
"""Length of the vectors of symbols, and of hits at the ends and anywhere, where words have 1."""
HIT_FACTOR = 2.0
"""How much more hits count for difficulty: a paraphrase keeps terms and changes words."""

LABELLED_SOURCES = (
    "arena-hard-v2.0",
    "biggen-bench",
    "vicuna-80",
    "fusionbench/fu9_agentverse-logicgrid",
    "fusionbench/fu9_commongen",
    "fusionbench/fu9_commonsense_qa",
    "fusionbench/fu9_gpqa",
    "fusionbench/fu9_human_eval",
    "fusionbench/fu9_math",
    "fusionbench/fu9_mbpp",
    "fusionbench/fu9_mmlu",
    "fusionbench/fu9_trivia_qa",
    "zeroeval-crux",
    "zeroeval-math-l5",
)
"""Sources in `tasktype.jsonl.gz` that are trained on; others there are only measured on."""
OUTCOME_BENCHMARKS = (
    "bfcl",
    "fu9_agentverse-logicgrid",
    "fu9_arc_challenge",
    "fu9_commongen",
    "fu9_commonsense_qa",
    "fu9_gpqa",
    "fu9_human_eval",
    "fu9_math",
    "fu9_mbpp",
    "fu9_mmlu",
    "fu9_openbook_qa",
    "fu9_trivia_qa",
    "mmlupro",
    "rb_arc_challenge",
    "rb_mbpp",
    "rl_mmlu",
    "ze_crux",
    "ze_mathl5",
)
"""Benchmarks in `public.jsonl.gz` whose recorded answers difficulty is learned from."""
WRITTEN = "written_requests.txt"

_SOURCE_DIFFICULTY: Mapping[str, float] = {
    "arena-hard-v2.0": 0.6,
    "biggen-bench": 0.5,
    "vicuna-80": 0.35,
}
"""What is assumed of sources without recorded answers of a small model."""
_SMALL_MODELS = (
    "llama-3.1-8b-instruct",
    "llama-3.1-8b",
    "llama-3-8b",
    "mistralai/mistral-7b-chat",
)
"""The first of these that answered a prompt counts as its small model."""
_MAX_PROMPTS_PER_SUBSET = 60
"""Prompts of one benchmark and subject, so that none drowns the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt with what is known of it."""

    text: str
    source: str
    group: str
    """Examples of one group belong on one side of a split."""
    kind: str | None = None
    """None if it is unknown; the example then teaches no kind."""
    difficulty: float | None = None
    """The chance that a small model fails, 0..1; None if it is unknown."""


def read_examples(folder: Path) -> list[Example]:
    """Return all that the shipped model is trained on, from `benchmarks/data/routing`."""
    written = [
        Example(
            text=one.text,
            source=f"written/{one.language}",
            group=f"{WRITTEN}:{one.line}",
            kind=one.kind,
            difficulty=one.difficulty,
        )
        for one in read_written_requests(folder / WRITTEN)
    ]
    return [*read_labelled(folder, LABELLED_SOURCES), *written, *_read_outcomes(folder)]


def read_labelled(folder: Path, sources: Sequence[str]) -> list[Example]:
    """Return the prompts of some sources with their kinds."""
    return [
        Example(
            text=row["text"],
            source=row["source"],
            group=f"{row['source']}:{number}",
            kind=row["label"],
            difficulty=_SOURCE_DIFFICULTY.get(row["source"]),
        )
        for number, row in enumerate(_read_rows(folder / "tasktype.jsonl.gz"))
        if row["source"] in sources
    ]


def _read_outcomes(folder: Path) -> Iterator[Example]:
    """Yield prompts with the difficulty that the small model's score shows: 1 - score."""
    taken: dict[tuple[str, str], int] = {}
    for row in _read_rows(folder / "public.jsonl.gz"):
        key = (row["benchmark"], row["subset"])
        found = next((row["results"][one] for one in _SMALL_MODELS if one in row["results"]), None)
        if found is None or row["benchmark"] not in OUTCOME_BENCHMARKS:
            continue
        score = found["s"]
        if score is None or not np.isfinite(score) or taken.get(key, 0) >= _MAX_PROMPTS_PER_SUBSET:
            continue
        taken[key] = taken.get(key, 0) + 1
        yield Example(
            text=row["prompt"],
            source=row["benchmark"],
            group=row["prompt_id"],
            difficulty=1 - float(score),
        )


def _read_rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Examples as vectors: words of unit length, then symbols and hits of the rules."""

    rows: Matrix
    idf: Matrix
    """The inverse document frequency of each bucket; 0 where no text has a word of it."""
    sign_mean: Matrix
    """What is subtracted from symbols and hits, before they are divided by `sign_scale`."""
    sign_scale: Matrix

    @classmethod
    def of(cls, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts, with words weighted by their rarity among them."""
        rules, kinds = Rules((*KINDS, HARD)), list(range(len(KINDS) + 1))
        features = [extract_features(truncate(text)) for text in texts]
        cues = [one.cues for one in features]
        signs = np.array([sign_vector(one, rules.find(one), kinds) for one in features])
        counts = np.zeros(BUCKETS, dtype=np.float32)
        for one in cues:
            counts[one] += 1
        idf = np.where(counts > 0, np.log((len(texts) + 1) / (counts + 1)) + 1, 0)
        mean, scale = signs.mean(axis=0), signs.std(axis=0) + 1e-3
        scale[:DENSE_FEATURES] *= np.sqrt(DENSE_FEATURES) / SYMBOL_WEIGHT
        mean[DENSE_FEATURES:] = 0.0
        scale[DENSE_FEATURES : DENSE_FEATURES + len(kinds)] = 1 / EDGE_WEIGHT
        scale[DENSE_FEATURES + len(kinds) :] = 1 / HIT_WEIGHT
        rows = np.zeros((len(texts), BUCKETS + signs.shape[1]), dtype=np.float32)
        for row, one in zip(rows, cues, strict=True):
            row[one] = idf[one] / max(float(np.linalg.norm(idf[one])), 1e-9)
        rows[:, BUCKETS:] = (signs - mean) / scale
        return cls(rows, idf.astype(np.float32), mean, scale)


def train_classifier(examples: Sequence[Example]) -> LinearModel:
    """Return the fitted model; takes seconds, and about 200 kB of memory per example."""
    vectors = Vectors.of([one.text for one in examples])
    labelled = [index for index, one in enumerate(examples) if one.kind is not None]
    rated = [index for index, one in enumerate(examples) if one.difficulty is not None]
    labels = np.array([[examples[one].kind == kind for kind in KINDS] for one in labelled])
    ratings = np.array([[examples[one].difficulty] for one in rated], dtype=np.float32)
    factors = np.ones(vectors.rows.shape[1], dtype=np.float32)
    factors[BUCKETS + DENSE_FEATURES :] = HIT_FACTOR
    parts = [
        _fit(vectors.rows[labelled], labels.astype(np.float32), KIND_PENALTY),
        _fit(vectors.rows[rated] * factors, ratings, DIFFICULTY_PENALTY),
    ]
    parts[1][0][:] *= factors[:, None]
    weights = np.concatenate([one[0] for one in parts], axis=1)
    means = np.concatenate([one[1] for one in parts])
    words = weights[:BUCKETS] * vectors.idf[:, None]
    scale = np.abs(words).max(axis=0) / 127
    signs = weights[BUCKETS:] / vectors.sign_scale[:, None]
    return LinearModel(
        names=(*KINDS, "difficulty"),
        version=VERSION,
        weights=np.rint(words / scale).astype(np.int8),
        scale=scale.astype(np.float32),
        squared_idf=(vectors.idf**2).astype(np.float32),
        dense_weights=signs.astype(np.float32),
        bias=(means - vectors.sign_mean @ signs).astype(np.float32),
    )


def _fit(rows: Matrix, targets: Matrix, penalty: float) -> tuple[Matrix, Matrix]:
    ridge = RidgeRegression(rows @ rows.T, targets, penalty)
    return rows.T @ ridge.dual_coef, ridge.mean
