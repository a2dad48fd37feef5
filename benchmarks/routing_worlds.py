"""Worlds to route in: recorded answers of several models to the same prompts, and a router.

A world's router is learned from its public prompts alone: a table of quality by domain, a linear
head for each model on hashed words, a guess of cost, a detector of domains never seen, and the
price that it pays for quality. All of it comes from one ridge regression and its exact
leave-one-out and leave-one-domain-out predictions.
"""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from devflow_openrouter.models.ridge import Ridge, TextSpace, featurise
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

WORLDS = {"RB": "rb_", "ZE": "ze_", "MP": "mmlupro", "FU": "fu9_", "BF": "bfcl"}
"""The five worlds, by how the names of their benchmarks begin."""
PENALTY = 8.0
SHARPNESS = 8.0
"""Of the domain's posterior: what one unit of ridge output is worth in logits."""
TABLE_PRIOR = 10.0
"""A domain's mean counts like so many further answers of the model's overall mean."""
PRICES: Floats = np.concatenate(([0.0], np.geomspace(1e-3, 30.0, 40)))
"""What a dollar relative to the best single model's may be worth in quality; one is chosen."""
REJECTED_SHARES = (0.1, 0.15, 0.2)
AT_ONCE = 1_000
"""Prompts whose vectors are held in memory together."""
FEWEST_DOMAINS, FEWEST_PROMPTS = 4, 10
"""With fewer, nothing is learned from leaving a domain out."""
SAFE_QUALITY = 0.98
"""Of the best single model's, to be kept on domains that were left out of training."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Prompts with every model's score and cost, in the order of `models`."""

    models: tuple[str, ...]
    texts: tuple[str, ...]
    domains: tuple[str, ...]
    scores: Floats
    costs_usd: Floats
    is_ood: Flags
    benchmarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, places: Ints | Flags) -> World:
        """Some of the prompts."""
        chosen: list[int] = np.arange(len(self))[places].tolist()
        return replace(
            self,
            texts=tuple(self.texts[at] for at in chosen),
            domains=tuple(self.domains[at] for at in chosen),
            benchmarks=tuple(self.benchmarks[at] for at in chosen),
            scores=self.scores[chosen],
            costs_usd=self.costs_usd[chosen],
            is_ood=self.is_ood[chosen],
        )


def rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    """All rows with results of a folder's `*.jsonl` and `*.jsonl.gz`."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row: dict[str, Any] = json.loads(line)
                if "results" in row and not _meta(row).get("contaminated"):
                    yield row


def world_of(rows: Sequence[dict[str, Any]], models: Sequence[str] | None = None) -> World:
    """The world of these rows.

    Args:
        rows: of the benchmarks of one world.
        models: which models are in; None takes those with a cost for nearly every prompt.
    """
    if models is None:
        priced = Counter(
            name for row in rows for name, one in row["results"].items() if one.get("c")
        )
        models = sorted(name for name, count in priced.items() if count >= 0.95 * len(rows))
    kept = [row for row in rows if all(_is_scored(row["results"].get(name)) for name in models)]
    results = [[row["results"][name] for name in models] for row in kept]
    scores = np.array([[one["s"] for one in row] for row in results])
    costs = np.array([[one.get("c") or np.nan for one in row] for row in results])
    costs = np.where(np.isnan(costs), np.nanmean(costs, axis=0), costs)
    return World(
        models=tuple(models),
        texts=tuple(_text(row) for row in kept),
        domains=tuple(f"{row['benchmark']}/{row['subset']}" for row in kept),
        benchmarks=tuple(row["benchmark"] for row in kept),
        scores=scores,
        costs_usd=costs,
        is_ood=np.array([bool(row.get("ood")) for row in kept], dtype=np.bool_),
    )


def _is_scored(result: dict[str, Any] | None) -> bool:
    return result is not None and result["s"] is not None and math.isfinite(result["s"])


def _text(row: dict[str, Any]) -> str:
    tools = _meta(row).get("tools")
    return f"{row['prompt']}\n{tools}" if tools else row["prompt"]


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    return row.get("meta") or {}


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a router expects of every model for each prompt."""

    quality: Floats
    cost: Floats
    """Relative to the best single model's mean."""
    novelty: Floats

    def choices(self, price: float, most_novelty: float, best: int) -> Ints:
        """The model for each prompt; the best single one where the domain is not known."""
        chosen = (self.quality - price * self.cost).argmax(axis=1)
        return np.where(self.novelty > most_novelty, best, chosen)


class WorldRouter:
    """Learned from a world's prompts; decides for others of the same models.

    Args:
        world: what it is learned from.
        is_gated: whether prompts of unknown domains go to the best single model.
    """

    def __init__(self, world: World, *, is_gated: bool = True) -> None:
        self._world = world
        features = featurise(world.texts)
        self._space = TextSpace.of(features)
        self._vectors = self._space.vectors(features)
        self._kernel = self._vectors @ self._vectors.T
        self._names = sorted(set(world.domains))
        self._member = np.array([[one == name for name in self._names] for one in world.domains])
        log_costs = np.log(world.costs_usd)
        self._cost_range = (log_costs.min(), log_costs.max())
        targets = np.concatenate((world.scores, self._member, log_costs), axis=1)
        self._ridge = Ridge(self._kernel, targets.astype(np.float32), PENALTY)
        self.best = int(world.scores.mean(axis=0).argmax())
        self.best_cost = float(world.costs_usd[:, self.best].mean())
        self.best_quality = float(world.scores[:, self.best].mean())
        self._table = self._means(np.ones(len(world), dtype=np.bool_))
        self._detector = np.array([1.0, 0.0, 0.0, 0.0])
        self._choose(is_gated=is_gated)

    def forecast(self, texts: Sequence[str]) -> Forecast:
        """What it expects for other prompts."""
        parts = [self._part(texts[at : at + AT_ONCE]) for at in range(0, len(texts), AT_ONCE)]
        return _joined(parts)

    def _part(self, texts: Sequence[str]) -> Forecast:
        vectors = self._space.vectors(featurise(texts))
        kernel = vectors @ self._vectors.T
        norms = (vectors * vectors).sum(axis=1)
        raw = self._ridge.predict(kernel)
        signs = self._signs(raw, self._ridge.variance(kernel, norms), kernel, self._member)
        return self._forecast(raw, self._table, signs @ self._detector)

    def left_out(self) -> tuple[Ints, Ints]:
        """Prompts of each domain in turn with the choice when that domain is left out.

        The fit is as if it had never been seen; detector and price were chosen with it.
        """
        found = self._left_out()
        if found is None:
            return np.array([], dtype=np.int64), np.array([], dtype=np.int64)
        forecast, signs, places = found
        seen = replace(forecast, novelty=signs @ self._detector)
        return places, seen.choices(self.price, self.most_novelty, self.best)

    def _means(self, members: Flags) -> Floats:
        """The table: quality by domain and model, of these prompts."""
        member, scores = self._member[members].astype(float), self._world.scores[members]
        counts = member.sum(axis=0)[:, None]
        return (member.T @ scores + TABLE_PRIOR * scores.mean(axis=0)) / (counts + TABLE_PRIOR)

    def _posterior(self, raw: NDArray[np.float32]) -> Floats:
        models = len(self._world.models)
        logits = SHARPNESS * raw[:, models : models + len(self._names)].astype(float)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def _forecast(self, raw: NDArray[np.float32], table: Floats, novelty: Floats) -> Forecast:
        models = len(self._world.models)
        by_table = self._posterior(raw) @ table
        log_cost = np.clip(raw[:, models + len(self._names) :], *self._cost_range)
        return Forecast(
            quality=(raw[:, :models] + by_table) / 2,
            cost=np.exp(log_cost.astype(float)) / self.best_cost,
            novelty=novelty,
        )

    def _signs(
        self,
        raw: NDArray[np.float32],
        variance: NDArray[np.float32],
        kernel: NDArray[np.float32],
        member: Flags,
    ) -> Floats:
        """What tells an unknown domain: variance, nearest prompts, nearest domain, posterior."""
        nearest = np.partition(kernel, -3, axis=1)[:, -3:].mean(axis=1)
        centres = kernel @ (member / np.maximum(member.sum(axis=0), 1)).astype(np.float32)
        sure = self._posterior(raw).max(axis=1)
        return np.stack((variance, -nearest, -centres.max(axis=1), -sure), axis=1).astype(float)

    def _choose(self, *, is_gated: bool) -> None:
        """Detector, threshold and price, from the public prompts alone."""
        raw, variance = self._ridge.without_self()
        kernel = self._kernel.copy()
        np.fill_diagonal(kernel, -1.0)
        known = self._signs(raw, variance, kernel, self._member)
        left_out = self._left_out() if is_gated else None
        if left_out is not None:
            self._detector = _discriminant(known, left_out[1])
        inside = self._forecast(raw, self._table, known @ self._detector)
        for share in REJECTED_SHARES if is_gated else (0.0,):
            self.most_novelty = float(np.quantile(inside.novelty, 1 - share))
            self.price = self._price(inside)
            if left_out is None or self._is_safe(*left_out):
                break

    def _left_out(self) -> tuple[Forecast, Floats, Ints] | None:
        """Forecast, signs and places of all prompts, with their whole domain left out.

        None where there are too few domains to tell anything.
        """
        if len(self._names) < FEWEST_DOMAINS:
            return None
        parts: list[tuple[Forecast, Floats, Ints]] = []
        for column in range(len(self._names)):
            members = np.flatnonzero(self._member[:, column])
            others = ~self._member[:, column]
            if len(members) < FEWEST_PROMPTS:
                continue
            raw, variance = self._ridge.without_group(members)
            member = self._member[others].copy()
            signs = self._signs(raw, variance, self._kernel[members][:, others], member)
            novelty = np.zeros(len(members))
            parts.append((self._forecast(raw, self._means(others), novelty), signs, members))
        forecast = _joined([one for one, _, _ in parts])
        signs = np.concatenate([one for _, one, _ in parts])
        return forecast, signs, np.concatenate([one for _, _, one in parts])

    def _is_safe(self, forecast: Forecast, signs: Floats, places: Ints) -> bool:
        """Whether the operating point keeps its quality on domains that were left out."""
        seen = replace(forecast, novelty=signs @ self._detector)
        chosen = seen.choices(self.price, self.most_novelty, self.best)
        scores = self._world.scores[places]
        reached = scores[np.arange(len(places)), chosen].mean()
        return bool(reached >= SAFE_QUALITY * scores[:, self.best].mean())

    def _price(self, inside: Forecast) -> float:
        """The price of quality that saves most while the best single model's quality is kept."""
        places = np.arange(len(self._world))
        found, least = 0.0, self.best_cost
        for price in PRICES.tolist():
            chosen = inside.choices(price, self.most_novelty, self.best)
            quality = self._world.scores[places, chosen].mean()
            cost = self._world.costs_usd[places, chosen].mean()
            if quality >= self.best_quality and cost < least:
                found, least = price, cost
        if least == self.best_cost:  # nothing beats the single model: stay with it
            self.most_novelty = -np.inf
        return found


def _joined(parts: Sequence[Forecast]) -> Forecast:
    return Forecast(
        quality=np.concatenate([one.quality for one in parts]),
        cost=np.concatenate([one.cost for one in parts]),
        novelty=np.concatenate([one.novelty for one in parts]),
    )


def _discriminant(known: Floats, unknown: Floats) -> Floats:
    """The direction that tells the two apart best (Fisher's)."""
    spread: Floats = np.cov(known.T) + np.cov(unknown.T) + 1e-6 * np.eye(known.shape[1])
    apart: Floats = unknown.mean(axis=0) - known.mean(axis=0)
    return np.linalg.solve(spread, apart).astype(np.float64)
