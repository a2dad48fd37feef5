"""Trains `data/classifier.npz`: kinds of task, and how likely a small model is to fail.

    uv run python packages/routing/training/train_classifier.py

Reads `benchmarks/data/routing/tasktype.jsonl.gz` and `public.jsonl.gz`, nothing else. The kinds are
ridge regressions on labels; the last score, `small_model`, is the chance that a model of seven or
eight billion parameters answers well, learned from recorded answers: what is hard for it is hard.
Prints what the model reaches on prompts left out, one source at a time.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from devflow_routing.ability import TASK_TYPES
from devflow_routing.classifier.features import BUCKETS
from devflow_routing.classifier.linear_model import LinearModel
from devflow_routing.classifier.prompt_text import truncate
from devflow_routing.training.ridge import RidgeRegression, TextVectorizer, extract_all_features
from numpy.typing import NDArray

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "routing"
OUTPUT_PATH = Path(__file__).parents[1] / "src" / "devflow_routing" / "data" / "classifier.npz"
VERSION = "hashed-ridge-1"
KIND_PENALTY, SMALL_PENALTY = 1.0, 4.0
SMALL_MODELS = ("llama-3.1-8b-instruct", "llama-3.1-8b", "llama-3-8b", "mistralai/mistral-7b-chat")
"""The first of these that answered a prompt counts as its small model."""
MAX_PROMPTS_PER_BENCHMARK = 150
"""Prompts of one benchmark and subject, so that none drowns the others."""

Rows = list[dict[str, Any]]
Matrix = NDArray[np.float32]


def read_rows(name: str) -> Rows:
    """Return the rows of a compressed file of JSON lines."""
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_small_model_rows() -> tuple[list[str], Matrix]:
    """Return prompts, and a column of what the small model scored on each."""
    texts: list[str] = []
    scores: list[float] = []
    taken: dict[tuple[str, str], int] = {}
    for row in read_rows("public.jsonl.gz"):
        found = next((row["results"][one] for one in SMALL_MODELS if one in row["results"]), None)
        key = (row["benchmark"], row["subset"])
        if found is None or found["s"] is None or not np.isfinite(found["s"]):
            continue
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= MAX_PROMPTS_PER_BENCHMARK:
            texts.append(row["prompt"])
            scores.append(found["s"])
    return texts, np.array(scores, dtype=np.float32)[:, None]


def fit(
    texts: list[str], targets: Matrix, penalty: float
) -> tuple[TextVectorizer, RidgeRegression, Matrix]:
    """Return the fitted vectorizer, the fit, and its weights by column of the vectors."""
    features = extract_all_features(truncate(text) for text in texts)
    vectorizer = TextVectorizer.fit(features)
    vectors = vectorizer.transform(features)
    ridge = RidgeRegression(vectors @ vectors.T, targets, penalty)
    return vectorizer, ridge, vectors.T @ ridge.dual_coef


def pack_model(
    parts: list[tuple[TextVectorizer, RidgeRegression, Matrix]], names: tuple[str, ...]
) -> LinearModel:
    """Return the fits as one model of 8-bit weights; they share the first one's norm of words."""
    idf = parts[0][0].word_weights
    norm_idf = np.where(idf > 0, idf, idf.max())
    words = np.concatenate(
        [one[2][:BUCKETS] * one[0].word_weights[:, None] for one in parts], axis=1
    )
    scale = np.abs(words).max(axis=0) / 127
    dense: list[Matrix] = []
    biases: list[Matrix] = []
    for vectorizer, ridge, weights in parts:
        own = weights[BUCKETS:] / vectorizer.dense_scale[:, None]
        dense.append(own.astype(np.float32))
        biases.append((ridge.mean - vectorizer.dense_mean @ own).astype(np.float32))
    return LinearModel(
        names=names,
        version=VERSION,
        weights=np.rint(words / scale).astype(np.int8),
        scale=scale.astype(np.float32),
        squared_idf=(norm_idf**2).astype(np.float32),
        dense_weights=np.concatenate(dense, axis=1).astype(np.float32),
        bias=np.concatenate(biases).astype(np.float32),
    )


def main() -> None:
    """Train, judge, write."""
    rows = read_rows("tasktype.jsonl.gz")
    labels = np.array(
        [[row["label"] == kind for kind in TASK_TYPES] for row in rows], dtype=np.float32
    )
    kinds = fit([row["text"] for row in rows], labels, KIND_PENALTY)
    texts, scores = read_small_model_rows()
    small = fit(texts, scores, SMALL_PENALTY)
    pack_model([kinds, small], (*TASK_TYPES, "small_model")).save(OUTPUT_PATH)

    log = sys.stdout.write
    guesses, _ = kinds[1].leave_one_out()
    right = (guesses.argmax(1) == labels.argmax(1)).mean()
    log(f"kinds: {right:.3f} with each prompt left out, {len(rows)} prompts\n")
    for source in sorted({row["source"] for row in rows}):
        members = np.flatnonzero([row["source"] == source for row in rows])
        left, _ = kinds[1].leave_group_out(members)
        share = (left.argmax(1) == labels[members].argmax(1)).mean()
        log(f"  {source}: {share:.3f} with the source left out, {len(members)} prompts\n")
    left, _ = small[1].leave_one_out()
    correlation = np.corrcoef(left[:, 0], scores[:, 0])[0, 1]
    log(f"small model: correlation {correlation:.3f}, {len(texts)} prompts\n")


if __name__ == "__main__":
    main()
