"""Learns heads on hashed words, their gate and their operating point, from one ridge regression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devflow_routing.classifier.features import BUCKETS, Features
from devflow_routing.learned.gate import Gate
from devflow_routing.learned.heads import WordHeads
from devflow_routing.learned.table import combine_heads
from devflow_routing.training.answers import Answers
from devflow_routing.training.operating_point import OperatingPoint, Trial, find_operating_point
from devflow_routing.training.ridge import (
    RidgeRegression,
    TextVectorizer,
    extract_all_features,
)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

PENALTY = 8.0
"""The penalty of the ridge regression, where the vector of a text has a length of about 1.4."""
TABLE_WEIGHT = 10.0
"""How many answers a model's overall mean counts as in its mean of a domain."""
UNLIKE_SHARE = 0.05
"""The share of the prompts learned from that count as unlike all domains."""
UNLIKE_SHARE_OF_ONE = 0.5
"""The same where all prompts are of one domain, so that nothing tells what others are like."""
_FEW = 5.0
"""How many prompts the usual likeness in all domains counts as in that of one domain."""
_BLOCK = 1_000
"""Prompts whose vectors are held in memory together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedHeads:
    """What a table needs where a prompt is like something known."""

    domains: tuple[str, ...]
    heads: WordHeads
    gate: Gate
    domain_quality: Floats
    log_cost_range: tuple[float, float]
    point: OperatingPoint


def learn_heads(answers: Answers, best: int) -> LearnedHeads:
    """Learn heads from prompts with texts; gate and price are fitted to leave-one-out predictions.

    Args:
        answers: the prompts to learn from; memory grows with the square of their number.
        best: the column of the best single model.
    """
    features = extract_all_features(task.text for task in answers.tasks)
    vectorizer = TextVectorizer.fit(features)
    kernel = _multiply(features, vectorizer)
    domains = tuple(sorted(set(answers.domains)))
    member = np.array([[one == name for name in domains] for one in answers.domains])
    mean_cost = max(float(answers.costs_usd[:, best].mean()), 1e-12)
    log_costs = np.log(answers.costs_usd / mean_cost)
    log_range = (float(log_costs.min()), float(log_costs.max()))
    targets = np.concatenate((answers.scores, member, log_costs), axis=1).astype(np.float32)
    ridge = RidgeRegression(kernel, targets, PENALTY)
    table = _tabulate(answers.scores, member)

    left_out = ridge.leave_one_out().astype(np.float64)
    quality, costs = combine_heads(left_out, table, log_range)
    models = len(answers.models)
    gate, likeness = _fit_gate(
        left_out[:, models : models + len(domains)], _left_out_centres(kernel, member)
    )
    trial = Trial(
        quality=quality,
        costs=costs,
        scores=answers.scores,
        costs_usd=answers.costs_usd,
        best=best,
    )
    duals = np.concatenate(
        (ridge.dual_coef, (member / member.sum(axis=0)).astype(np.float32)), axis=1
    )
    bias = np.concatenate((ridge.mean, np.zeros(len(domains), dtype=np.float32)))
    return LearnedHeads(
        domains=domains,
        heads=_pack(features, vectorizer, duals, bias),
        gate=gate,
        domain_quality=table,
        log_cost_range=log_range,
        point=find_operating_point(trial, likeness >= gate.threshold),
    )


def _tabulate(scores: Floats, member: NDArray[np.bool_]) -> Floats:
    """Return the table of quality by domain and model."""
    counts = member.sum(axis=0)[:, None]
    return (member.T @ scores + TABLE_WEIGHT * scores.mean(axis=0)) / (counts + TABLE_WEIGHT)


def _blocks(features: Sequence[Features], vectorizer: TextVectorizer) -> Iterator[Singles]:
    for start in range(0, len(features), _BLOCK):
        yield vectorizer.transform(features[start : start + _BLOCK])


def _multiply(features: Sequence[Features], vectorizer: TextVectorizer) -> Singles:
    """Return the inner products of all vectors, which are not all held in memory together."""
    kernel = np.zeros((len(features), len(features)), dtype=np.float32)
    for row, block in enumerate(_blocks(features, vectorizer)):
        for column, other in enumerate(_blocks(features[: (row + 1) * _BLOCK], vectorizer)):
            across = block @ other.T
            rows = slice(row * _BLOCK, row * _BLOCK + len(block))
            columns = slice(column * _BLOCK, column * _BLOCK + len(other))
            kernel[rows, columns] = across
            kernel[columns, rows] = across.T
    return kernel


def _left_out_centres(kernel: Singles, member: NDArray[np.bool_]) -> Floats:
    """Return each prompt's similarity to each domain's centre, itself left out of its own."""
    own = np.diag(kernel)[:, None] * member
    sums = kernel @ member.astype(np.float32) - own
    return (sums / np.maximum(member.sum(axis=0) - member, 1)).astype(np.float64)


def _fit_gate(memberships: Floats, centres: Floats) -> tuple[Gate, Floats]:
    """Return the gate, and the likeness of each prompt that it was fitted to."""
    nearest = memberships.argmax(axis=1)
    places = np.arange(len(nearest))
    measures = np.stack((memberships[places, nearest], centres[places, nearest]), axis=1)
    mean, variance = measures.mean(axis=0), measures.var(axis=0)
    means = np.tile(mean, (memberships.shape[1], 1))
    spreads = np.ones_like(means)
    for domain in range(len(means)):
        own = measures[nearest == domain]
        means[domain] = (own.sum(axis=0) + _FEW * mean) / (len(own) + _FEW)
        squares = ((own - means[domain]) ** 2).sum(axis=0) + _FEW * variance
        spreads[domain] = np.sqrt(squares / (len(own) + _FEW) + 1e-9)
    gate = Gate(means=means, spreads=spreads, threshold=-np.inf)
    likeness = gate.likeness(memberships, centres)[1]
    share = UNLIKE_SHARE if len(means) > 1 else UNLIKE_SHARE_OF_ONE
    threshold = float(np.quantile(likeness, share))
    return Gate(means=means, spreads=spreads, threshold=threshold), likeness


def _pack(
    features: Sequence[Features], vectorizer: TextVectorizer, duals: Singles, bias: Singles
) -> WordHeads:
    """Return the heads with 8-bit weights."""
    weights = np.zeros((BUCKETS + len(vectorizer.dense_mean), duals.shape[1]), dtype=np.float32)
    for number, block in enumerate(_blocks(features, vectorizer)):
        start = number * _BLOCK
        weights += block.T @ duals[start : start + len(block)]
    words = weights[:BUCKETS] * vectorizer.word_weights[:, None]
    scale = np.maximum(np.abs(words).max(axis=0) / 127, 1e-12).astype(np.float32)
    dense = weights[BUCKETS:] / vectorizer.dense_scale[:, None]
    return WordHeads(
        words=np.rint(words / scale).astype(np.int8),
        scale=scale,
        squared_idf=(vectorizer.word_weights**2).astype(np.float32),
        dense=dense.astype(np.float32),
        bias=(bias - vectorizer.dense_mean @ dense).astype(np.float32),
    )
