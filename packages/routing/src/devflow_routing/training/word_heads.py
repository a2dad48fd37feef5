"""Learns heads on hashed words, their gate and their operating point, from one ridge regression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from devflow_routing.classifier.features import BUCKETS, Features
from devflow_routing.learned.gate import Gate, Nearness, spread_kinds
from devflow_routing.learned.heads import WordHeads
from devflow_routing.learned.table import combine_heads
from devflow_routing.training.answers import Answers
from devflow_routing.training.gate_fit import fit_gate
from devflow_routing.training.operating_point import (
    GatedTrial,
    OperatingPoint,
    Trial,
    find_gated_point,
)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class _LeftOut:
    """Predictions of prompts that were left out of learning, and their nearness to domains."""

    trial: Trial
    nearness: Nearness

    def gated(self, gate: Gate) -> GatedTrial:
        return GatedTrial(trial=self.trial, likeness=gate.likeness(self.nearness)[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """Reads raw predictions of the prompts that are learned from."""

    answers: Answers
    best: int
    table: Floats
    log_range: tuple[float, float]

    def read(self, raw: Floats, centres: Floats) -> _LeftOut:
        models, domains = len(self.answers.models), len(self.table)
        quality, costs = combine_heads(raw, self.table, self.log_range)
        memberships = raw[:, models : models + domains]
        trial = Trial(
            quality=quality,
            costs=costs,
            scores=self.answers.scores,
            costs_usd=self.answers.costs_usd,
            best=self.best,
        )
        kinds = spread_kinds(self.answers.tasks)
        nearness = Nearness(memberships=memberships, centres=centres, kinds=kinds)
        return _LeftOut(trial=trial, nearness=nearness)


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
    judge = _Judge(answers, best, table, log_range)
    centres = _left_out_centres(kernel, member)
    known = judge.read(ridge.leave_one_out().astype(np.float64), centres)
    unknown = None
    if len(domains) > 1:
        unknown = judge.read(_leave_domains_out(ridge, member, len(answers.models)), centres)
    gate = fit_gate(known.nearness, unknown and unknown.nearness, member)
    point, threshold = find_gated_point(known.gated(gate), unknown and unknown.gated(gate))
    duals = np.concatenate(
        (ridge.dual_coef, (member / member.sum(axis=0)).astype(np.float32)), axis=1
    )
    bias = np.concatenate((ridge.mean, np.zeros(len(domains), dtype=np.float32)))
    return LearnedHeads(
        domains=domains,
        heads=_pack(features, vectorizer, duals, bias),
        gate=replace(gate, threshold=threshold),
        domain_quality=table,
        log_cost_range=log_range,
        point=point,
    )


def _leave_domains_out(ridge: RidgeRegression, member: NDArray[np.bool_], models: int) -> Floats:
    """Return predictions of each prompt by a fit without its domain, which is unknown to it."""
    found = np.zeros((len(member), 2 * models + member.shape[1]))
    for domain in range(member.shape[1]):
        places = member[:, domain]
        found[places] = ridge.leave_group_out(places)
        found[places, models + domain] = -np.inf
    return found


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
