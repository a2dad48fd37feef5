"""Infers abilities from scores: the closed form of one general ability with axes beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from devflow_routing.evidence.benchmarks import AXES, DIMENSIONS, Benchmark
from devflow_routing.evidence.kinship import relate
from devflow_routing.evidence.readings import Reading
from devflow_routing.evidence.scores import Evidence
from devflow_routing.model_config import ModelConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MIN_SCORES = 12
"""The fewest scores from which the scale of a benchmark is found; with fewer, none counts."""
_PASSES = 2
"""How often unknown scales are found: from benchmarks of known scale, then from all."""
_MAX_SURPRISE = 4.0
"""The standard deviations from what is expected beyond which a score is taken for a broken run.

Only scores of benchmarks of unknown scale are judged; the shipped ones are all of known scale.
"""
_MIN_PRECISION = 0.02
"""The precision of general ability below which a model counts as never measured."""
_SHARED_ERROR = 0.03
"""The variance that all scores of a model share: effort, harness, what it had seen before."""
_STRANGER_LOSS, _STRANGER_ERROR = 0.15, 0.4
"""By how much models of makers of which nothing was measured are worse than what price and age say,
and the further error of that guess (21 makers with few models, each left out as a whole)."""
_IS_GENERAL = np.arange(DIMENSIONS) == 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Abilities:
    """The abilities of models, in standard deviations among models; dimension 0 is the general."""

    mean: Floats
    """By model and dimension."""
    covariance: Floats
    """By model, dimension and dimension."""
    nearest: Ints
    """For each model the other one whose scores say most about it; -1 if there is none."""
    precision: Floats
    """What a model's own scores say about its general ability: 1 / variance; 0 without any."""

    @property
    def is_measured(self) -> NDArray[np.bool_]:
        """Whether a model's own scores tell its general ability."""
        return self.precision > _MIN_PRECISION


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scores:
    """All scores, a place in each array for each; and what the benchmarks measure."""

    models: Ints
    """The index of the model."""
    benchmarks: Ints
    """The index of the benchmark."""
    values: Floats
    """The straightened score."""
    excess: Floats
    """What its effort adds to the model's usual one."""
    loadings: Floats
    """By benchmark and dimension."""
    noise: Floats
    """By benchmark."""
    count: int
    """The number of models."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Terms:
    """Sums over the scores of each model: of `loadings ⊗ loadings` and of `loadings · score`.

    A benchmark that does not tell ability has no part in what is inferred of it: its row of general
    ability is 0. Its column is not, since the axis is what ability does not explain.
    """

    weight: Floats
    pull: Floats


def infer_abilities(
    models: Sequence[ModelConfig], readings: Sequence[Sequence[Reading]], evidence: Evidence
) -> Abilities:
    """Return what scores say of the abilities of models, and kinship where there are none.

    Args:
        models: different models.
        readings: their scores, at most one for each benchmark, in the same order.
        evidence: the benchmarks of the scores.
    """
    benchmarks = tuple(evidence.benchmarks.values())
    newest = max(
        (one.created for one, found in zip(models, readings, strict=True) if found), default=0
    )
    prior = relate(models, newest_s=newest)
    scores = _collect(readings, benchmarks)
    scales = np.array([(np.nan if one.mean is None else one.mean, one.sd) for one in benchmarks])
    found = _solve(prior, _add_up(scores, scales.reshape(-1, 2), np.full(len(scores.values), True)))
    unknown = [at for at, one in enumerate(benchmarks) if not one.has_scale]
    for _ in range(_PASSES if unknown else 0):
        for at in unknown:
            scales[at] = _find_scale(at, scores, found)
        is_sound = _find_sound(scores, scales, found) | ~np.isin(scores.benchmarks, unknown)
        found = _solve(prior, _add_up(scores, scales, is_sound))
    return _doubt_strangers(found, models)


def loadings_of(benchmark: Benchmark) -> Floats:
    """Return how much each dimension counts in a benchmark."""
    row = np.zeros(DIMENSIONS)
    row[0] = benchmark.loading
    if benchmark.axis is not None:
        row[1 + AXES.index(benchmark.axis)] = benchmark.axis_loading
    return row


def _collect(readings: Sequence[Sequence[Reading]], benchmarks: Sequence[Benchmark]) -> _Scores:
    places = {one.key: at for at, one in enumerate(benchmarks)}
    rows = [
        (row, place, benchmarks[place].straighten(one.score.value), one.excess)
        for row, ones in enumerate(readings)
        for one in ones
        if (place := places.get(one.score.benchmark)) is not None
    ]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return _Scores(
        models=columns[0].astype(np.int64),
        benchmarks=columns[1].astype(np.int64),
        values=columns[2],
        excess=columns[3],
        loadings=np.array([loadings_of(one) for one in benchmarks]).reshape(-1, DIMENSIONS),
        noise=np.array([one.noise for one in benchmarks]),
        count=len(readings),
    )


def _standardize(scores: _Scores, scales: Floats) -> tuple[Floats, Floats]:
    """Return the scores on their benchmarks' scales at usual effort, and the variances of noise."""
    middle, spread = scales[scores.benchmarks].T
    gained = scores.loadings[scores.benchmarks, 0] * scores.excess
    # how much effort adds differs between models: half of it is in doubt
    return (scores.values - middle) / spread - gained, scores.noise[scores.benchmarks] + (
        gained / 2
    ) ** 2


def _add_up(scores: _Scores, scales: Floats, is_sound: NDArray[np.bool_]) -> _Terms:
    values, noise = _standardize(scores, scales)
    used = is_sound & ~np.isnan(values)
    models, values, noise = scores.models[used], values[used], noise[used]
    loadings = scores.loadings[scores.benchmarks[used]]
    tells_ability = loadings[:, :1] > 0
    told = np.where(_IS_GENERAL & ~tells_ability, 0.0, loadings) / noise[:, None]
    weight = np.zeros((scores.count, DIMENSIONS, DIMENSIONS))
    pull = np.zeros((scores.count, DIMENSIONS))
    np.add.at(weight, models, told[:, :, None] * loadings[:, None, :])
    np.add.at(pull, models, told * values[:, None])
    return _Terms(weight=weight, pull=pull)


def _solve(prior: Floats, terms: _Terms) -> Abilities:
    """Return the abilities: general ones from all models together, then each model's axes."""
    weight, pull = terms.weight, terms.pull
    # each axis has a variance of 1 beforehand
    axes_inverse = np.linalg.inv(np.eye(len(AXES)) + weight[:, 1:, 1:])
    shared = np.einsum("mi,mij->mj", weight[:, 0, 1:], axes_inverse)
    precision = weight[:, 0, 0] - np.einsum("mj,mj->m", shared, weight[:, 0, 1:])
    values = pull[:, 0] - np.einsum("mj,mj->m", shared, pull[:, 1:])
    mean, variance, nearest = _combine(prior, precision, values)
    pulled = pull[:, 1:] - weight[:, 1:, 0] * mean[:, None]
    axis_means = np.einsum("mij,mj->mi", axes_inverse, pulled)
    slopes = -np.einsum("mij,mj->mi", axes_inverse, weight[:, 1:, 0])
    covariance = np.zeros_like(weight)
    covariance[:, 0, 0] = variance
    covariance[:, 0, 1:] = covariance[:, 1:, 0] = slopes * variance[:, None]
    covariance[:, 1:, 1:] = (
        axes_inverse + slopes[:, :, None] * slopes[:, None, :] * variance[:, None, None]
    )
    means = np.concatenate((mean[:, None], axis_means), axis=1)
    return Abilities(mean=means, covariance=covariance, nearest=nearest, precision=precision)


def _combine(prior: Floats, precision: Floats, values: Floats) -> tuple[Floats, Floats, Ints]:
    """Return the mean and variance of general ability, and who says most about each model."""
    measured = np.flatnonzero(precision > _MIN_PRECISION)
    variance = np.diag(prior).copy()
    nearest = np.full(len(prior), -1, dtype=np.int64)
    if not len(measured):
        return np.zeros(len(prior)), variance, nearest
    between = prior[:, measured]
    noisy = prior[np.ix_(measured, measured)] + np.diag(1 / precision[measured] + _SHARED_ERROR)
    gain = np.linalg.solve(noisy, between.T).T
    mean = gain @ (values[measured] / precision[measured])
    variance = np.maximum(variance - np.einsum("ij,ij->i", gain, between), 1e-4)
    others = np.abs(gain)
    others[measured, np.arange(len(measured))] = 0.0
    nearest = measured[others.argmax(axis=1)] if len(measured) > 1 else nearest
    return mean, variance, nearest


def _doubt_strangers(found: Abilities, models: Sequence[ModelConfig]) -> Abilities:
    """Return the abilities with guesses that no price makes better than the best that was measured.

    Where no model of a maker was measured, they are worse and less sure.
    """
    measured = found.is_measured
    if not measured.any():
        return found
    known = {model.author for model, is_one in zip(models, measured, strict=True) if is_one}
    strange = np.array([model.author not in known for model in models], dtype=np.bool_)
    mean, covariance = found.mean.copy(), found.covariance.copy()
    mean[strange, 0] -= _STRANGER_LOSS
    covariance[strange, 0, 0] += _STRANGER_ERROR**2
    mean[:, 0] = np.where(measured, mean[:, 0], np.minimum(mean[:, 0], mean[measured, 0].max()))
    return replace(found, mean=mean, covariance=covariance)


def _expect(scores: _Scores, known: Abilities) -> tuple[Floats, Floats]:
    """Return what each score should be on its benchmark's scale, and the variance around that."""
    loadings = scores.loadings[scores.benchmarks]
    expected = np.einsum("si,si->s", known.mean[scores.models], loadings)
    doubt = np.einsum("si,sij,sj->s", loadings, known.covariance[scores.models], loadings)
    return expected, doubt


def _find_scale(benchmark: int, scores: _Scores, known: Abilities) -> tuple[float, float]:
    """Return the scale of a benchmark: the score of an average model, and a standard deviation.

    Moments are matched: scores spread as the abilities of those models do, and as the errors of
    both. The score is NaN if fewer than `_MIN_SCORES` models have one.
    """
    mine = scores.benchmarks == benchmark
    if int(mine.sum()) < _MIN_SCORES:
        return float("nan"), 1.0
    expected, doubt = _expect(scores, known)
    expected = (expected + scores.loadings[benchmark, 0] * scores.excess)[mine]
    spread = float(expected.var() + doubt[mine].mean() + scores.noise[benchmark])
    values = scores.values[mine]
    sd = max(float(values.std()) / spread**0.5, 1e-9)
    return float(values.mean()) - sd * float(expected.mean()), sd


def _find_sound(scores: _Scores, scales: Floats, known: Abilities) -> NDArray[np.bool_]:
    """Return whether each score is near enough to what is known of its model."""
    values, noise = _standardize(scores, scales)
    expected, doubt = _expect(scores, known)
    return np.abs(values - expected) <= _MAX_SURPRISE * np.sqrt(noise + doubt)
