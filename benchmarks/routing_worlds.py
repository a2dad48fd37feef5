"""Worlds to route in: recorded answers of several models to the same prompts, and a router.

A world's router is learned from its public prompts alone: a table of quality by domain, a linear
head for each model on hashed words, a guess of cost, and the gate and price of `routing_gate`. All
of it comes from one ridge regression and its exact leave-one-out and leave-one-domain-out
predictions.
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
from devflow_routing.training.ridge import RidgeRegression, TextVectorizer, extract_all_features
from numpy.typing import NDArray
from routing_gate import Gate, Likeness, Trial

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Singles = NDArray[np.float32]

WORLDS = {"RB": "rb_", "ZE": "ze_", "MP": "mmlupro", "FU": "fu9_", "BF": "bfcl"}
"""The five worlds, by the prefix of their benchmarks' names."""
PENALTY = 8.0
SHARPNESS = 8.0
"""Sharpness of the domain's posterior: logits per unit of ridge output."""
TABLE_PRIOR = 10.0
"""Weight of the model's overall mean in a domain's mean, in answers."""
BATCH_PROMPTS = 1_000
"""Prompts whose vectors are held in memory together."""
MIN_PROMPTS = 10
"""A domain with fewer prompts is not used as a left-out one."""
NEAREST_PROMPTS = 3
"""How many of a domain's nearest prompts define the distance to it."""
SPLITS = frozenset({"train", "test", "dev", "validation"})
"""Names of subsets that are not domains."""


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

    def select(self, places: Ints | Flags) -> World:
        """Return a world with some of the prompts."""
        chosen: list[int] = np.arange(len(self))[places].tolist()
        return replace(
            self,
            texts=tuple(self.texts[index] for index in chosen),
            domains=tuple(self.domains[index] for index in chosen),
            benchmarks=tuple(self.benchmarks[index] for index in chosen),
            scores=self.scores[chosen],
            costs_usd=self.costs_usd[chosen],
            is_ood=self.is_ood[chosen],
        )


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all rows with results from a folder's `*.jsonl` and `*.jsonl.gz`."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row: dict[str, Any] = json.loads(line)
                if "results" in row and not _meta(row).get("contaminated"):
                    yield row


def build_world(rows: Sequence[dict[str, Any]], models: Sequence[str] | None = None) -> World:
    """Build a world from rows.

    Args:
        rows: of the benchmarks of one world.
        models: which models are in; None takes those with a cost for nearly every prompt.
    """
    if models is None:
        priced = Counter(
            name for row in rows for name, one in row["results"].items() if one.get("c")
        )
        models = sorted(name for name, count in priced.items() if count >= 0.95 * len(rows))
    scored_rows = [
        row for row in rows if all(_is_scored(row["results"].get(name)) for name in models)
    ]
    results = [[row["results"][name] for name in models] for row in scored_rows]
    scores = np.array([[one["s"] for one in row] for row in results])
    costs = np.array([[one.get("c") or np.nan for one in row] for row in results])
    costs = np.where(np.isnan(costs), np.nanmean(costs, axis=0), costs)
    return World(
        models=tuple(models),
        texts=tuple(_text(row) for row in scored_rows),
        domains=tuple(_domain(row) for row in scored_rows),
        benchmarks=tuple(row["benchmark"] for row in scored_rows),
        scores=scores,
        costs_usd=costs,
        is_ood=np.array([bool(row.get("ood")) for row in scored_rows], dtype=np.bool_),
    )


def _is_scored(result: dict[str, Any] | None) -> bool:
    return result is not None and result["s"] is not None and math.isfinite(result["s"])


def _domain(row: dict[str, Any]) -> str:
    benchmark, subset = row["benchmark"], row["subset"]
    return benchmark if subset in SPLITS else f"{benchmark}/{subset}"


def _text(row: dict[str, Any]) -> str:
    tools = _meta(row).get("tools")
    return f"{row['prompt']}\n{tools}" if tools else row["prompt"]


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    return row.get("meta") or {}


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A router's expectations of every model for each prompt."""

    quality: Floats
    cost: Floats
    """Relative to the best single model's mean."""
    likeness: Likeness


class WorldRouter:
    """A router learned from a world's prompts, which decides for others of the same models.

    Args:
        world: what it is learned from.
        is_gated: whether prompts of unknown domains go to the best single model.
    """

    def __init__(self, world: World, *, is_gated: bool = True) -> None:
        self._world = world
        features = extract_all_features(world.texts)
        self._space = TextVectorizer.fit(features)
        self._vectors = self._space.transform(features)
        self._kernel = self._vectors @ self._vectors.T
        self._names = sorted(set(world.domains))
        self._member = np.array([[one == name for name in self._names] for one in world.domains])
        log_costs = np.log(world.costs_usd)
        self._cost_range = (log_costs.min(), log_costs.max())
        targets = np.concatenate((world.scores, self._member, log_costs), axis=1)
        self._ridge = RidgeRegression(self._kernel, targets.astype(np.float32), PENALTY)
        self.best = int(world.scores.mean(axis=0).argmax())
        self.best_cost = float(world.costs_usd[:, self.best].mean())
        self._table = self._mean_quality(np.ones(len(world), dtype=np.bool_))
        if is_gated:
            known = self._try_known()
            gate = Gate.from_known(known.likeness, len(self._names))
            self.gate = gate.fit(known, self._try_left_out(), self.best)

    def forecast(self, texts: Sequence[str]) -> Forecast:
        """Return the forecast for other prompts."""
        return _join_forecasts(
            [
                self._forecast_batch(texts[start : start + BATCH_PROMPTS])
                for start in range(0, len(texts), BATCH_PROMPTS)
            ]
        )

    def choose(self, forecast: Forecast, price: float, *, is_gated: bool = True) -> Ints:
        """Return the model for each prompt; the best single one where the router is not trusted."""
        chosen = (forecast.quality - price * forecast.cost).argmax(axis=1)
        if not is_gated:
            return chosen
        return np.where(self.gate.is_trusted(forecast.likeness), chosen, self.best)

    def _forecast_batch(self, texts: Sequence[str]) -> Forecast:
        kernel = self._space.transform(extract_all_features(texts)) @ self._vectors.T
        return self._forecast(self._ridge.predict(kernel), kernel, self._member, self._table)

    def _mean_quality(self, members: Flags) -> Floats:
        """Return the table of quality by domain and model for these prompts."""
        member, scores = self._member[members].astype(float), self._world.scores[members]
        counts = member.sum(axis=0)[:, None]
        return (member.T @ scores + TABLE_PRIOR * scores.mean(axis=0)) / (counts + TABLE_PRIOR)

    def _memberships(self, raw: Singles) -> Floats:
        models = len(self._world.models)
        return raw[:, models : models + len(self._names)].astype(float)

    def _forecast(self, raw: Singles, kernel: Singles, member: Flags, table: Floats) -> Forecast:
        models = len(self._world.models)
        logits = SHARPNESS * self._memberships(raw)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        by_table = weights / weights.sum(axis=1, keepdims=True) @ table
        log_cost = np.clip(raw[:, models + len(self._names) :], *self._cost_range)
        return Forecast(
            quality=(raw[:, :models] + by_table) / 2,
            cost=np.exp(log_cost.astype(float)) / self.best_cost,
            likeness=self._likeness(raw, kernel, member),
        )

    def _likeness(self, raw: Singles, kernel: Singles, member: Flags) -> Likeness:
        """Return the nearest domain among those with members here, and the distances to it."""
        sizes = member.sum(axis=0)
        memberships = np.where(sizes > 0, self._memberships(raw), -np.inf)
        domain = memberships.argmax(axis=1)
        places = np.arange(len(domain))
        centres = (kernel @ (member / np.maximum(sizes, 1)).astype(np.float32))[places, domain]
        nearest = np.zeros(len(domain))
        for one in np.unique(domain).tolist():
            rows = domain == one
            count = min(NEAREST_PROMPTS, int(sizes[one]))
            among = kernel[np.ix_(rows, member[:, one])]
            nearest[rows] = np.partition(among, -count, axis=1)[:, -count:].mean(axis=1)
        distances = -np.stack((nearest, centres, memberships[places, domain]), axis=1)
        return Likeness(domain=domain, distances=distances.astype(float))

    def _make_trial(self, forecast: Forecast, places: Ints) -> Trial:
        return Trial(
            quality=forecast.quality,
            cost=forecast.cost,
            likeness=forecast.likeness,
            scores=self._world.scores[places],
            costs_usd=self._world.costs_usd[places],
            groups=self._member[places].argmax(axis=1),
        )

    def _try_known(self) -> Trial:
        """Return the trial in which every prompt is left out by itself."""
        raw, _ = self._ridge.leave_one_out()
        kernel = self._kernel.copy()
        np.fill_diagonal(kernel, -1.0)
        forecast = self._forecast(raw, kernel, self._member, self._table)
        return self._make_trial(forecast, np.arange(len(self._world)))

    def _try_left_out(self) -> Trial | None:
        """Return the trial in which each prompt's whole domain is left out; None if none can be."""
        if len(self._names) < 2:
            return None
        parts: list[Forecast] = []
        places: list[Ints] = []
        for column in range(len(self._names)):
            members = np.flatnonzero(self._member[:, column])
            others = ~self._member[:, column]
            if len(members) < MIN_PROMPTS:
                continue
            raw, _ = self._ridge.leave_group_out(members)
            kernel = self._kernel[members][:, others]
            parts.append(
                self._forecast(raw, kernel, self._member[others], self._mean_quality(others))
            )
            places.append(members)
        return self._make_trial(_join_forecasts(parts), np.concatenate(places)) if parts else None


def _join_forecasts(parts: Sequence[Forecast]) -> Forecast:
    return Forecast(
        quality=np.concatenate([one.quality for one in parts]),
        cost=np.concatenate([one.cost for one in parts]),
        likeness=Likeness(
            domain=np.concatenate([one.likeness.domain for one in parts]),
            distances=np.concatenate([one.likeness.distances for one in parts]),
        ),
    )
