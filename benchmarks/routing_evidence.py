"""Measures how far off the abilities behind choices are: held out, and against other measurements.

    uv run python benchmarks/routing_evidence.py
    uv run python benchmarks/routing_evidence.py --evidence FILE

The first line needs nothing else. Each model with scores of its own is taken as new: its scores are
hidden, and what is guessed from its siblings, price and age is compared with what its scores say.
If standard errors are honest, two models of three are off by less than one, and 19 of 20 by two.

FILE holds scores of sources without an open licence, which are not in this repository: one JSON
object a line, gzip, with `openrouter_id`, `source`, `benchmark`, `kind`, `score`, `date`,
`higher_is_better`, `n_or_error` and `effort_or_setting`. With it, the rows that OpenRouter's
`/benchmarks` has are written in that endpoint's shape, read as fetched ones are, and compared with
all sources of the file together.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from devflow_core.request import ChatRequest
from devflow_openrouter.models.benchmark_rows import BENCHMARKS, read_rows
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing.ability import AbilityTable
from devflow_routing.capabilities import needs_of
from devflow_routing.evidence.benchmarks import Benchmark
from devflow_routing.evidence.posterior import Abilities, infer_abilities
from devflow_routing.evidence.readings import Reading, find_readings, group_models
from devflow_routing.evidence.scores import Evidence, Score, load_shipped_evidence
from devflow_routing.model_selector import ModelSelector
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data" / "routing"
NOW = datetime(2026, 11, 28, tzinfo=UTC)
CATALOGUE = load_shipped_catalogue()
MODELS, _ = group_models([one for one in CATALOGUE.models if one.alias_of is None])
PLACES = {one.id: at for at, one in enumerate(MODELS)}
MIN_SCORES_OF_TRUTH = 8
"""The scores from which all sources together are taken as the truth of a model."""
FIELDS = {
    "AA Coding Index (2026)": "coding_index",
    "AA Intelligence Index (rebased, autumn 2026)": "intelligence_index",
    "AA Agentic Index (rebased, autumn 2026)": "agentic_index",
}
RUNS = {
    "GPQA Diamond (OpenRouter run)": "gpqa_diamond",
    "tau-bench verified airline (OpenRouter run)": "tau_bench_verified_airline",
}
AXES_OF_KINDS = {
    "math": "math",
    "agentic": "agentic",
    "tools": "agentic",
    "creative": "creative",
}
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Estimates beside what they should have been."""

    off: Floats
    """By how much each is too high."""
    stated: Floats
    """The standard error that was stated."""

    def __str__(self) -> str:
        inside = [float(np.mean(np.abs(self.off) <= times * self.stated)) for times in (1, 2)]
        return (
            f"n {len(self.off):3}   RMSE {np.sqrt(np.mean(self.off**2)):.3f}   bias"
            f" {self.off.mean():+.3f}   stated {np.sqrt(np.mean(self.stated**2)):.3f}   inside one"
            f" {inside[0]:.0%}, two {inside[1]:.0%}"
        )


def infer(evidence: Evidence) -> tuple[list[list[Reading]], Abilities]:
    """Return the scores of each model, and the abilities that they speak for."""
    readings = find_readings(MODELS, evidence)
    return readings, infer_abilities(MODELS, readings, evidence)


def guess_each(evidence: Evidence, places: Sequence[int]) -> tuple[Floats, Floats]:
    """Return what is guessed of each model with its own scores hidden, and the standard errors."""
    readings, _ = infer(evidence)
    shared = {id(one.score): set[int]() for ones in readings for one in ones}
    for place, ones in enumerate(readings):
        for one in ones:
            shared[id(one.score)].add(place)
    means: list[float] = []
    errors: list[float] = []
    for place in places:
        twins = {place}.union(*(shared[id(one.score)] for one in readings[place]))
        hidden = [[] if at in twins else ones for at, ones in enumerate(readings)]
        found = infer_abilities(MODELS, hidden, evidence)
        means.append(float(found.mean[place, 0]))
        errors.append(float(found.covariance[place, 0, 0]) ** 0.5)
    return np.array(means), np.array(errors)


def fit_line(values: Floats, targets: Floats) -> tuple[float, float]:
    """Return the slope and offset that bring values nearest to targets."""
    design = np.column_stack((values, np.ones(len(values))))
    slope, offset = np.linalg.lstsq(design, targets, rcond=None)[0].tolist()
    return slope, offset


def report_counts(name: str, evidence: Evidence) -> None:
    """Print how many of the models that may be chosen have evidence."""
    selector = ModelSelector(CATALOGUE)
    needs = needs_of(ChatRequest.from_text("Hi"))
    eligible = selector.select(needs, today=date(2026, 8, 16)).eligible
    started = time.process_time()
    table = AbilityTable(selector.models, evidence)
    told = int((table.has_evidence & eligible).sum())
    took = (time.process_time() - started) * 1e3
    models, places = group_models(selector.models)
    readings = find_readings(models, evidence)
    any_score = sum(bool(readings[places[at]]) for at in np.flatnonzero(eligible))
    print(
        f"{name}: {len(evidence.scores)} scores; of {eligible.sum()} models that may be chosen"
        f" {any_score} have a score and {told} one that tells ability; {took:.0f} ms of CPU"
    )


def report_guesses(name: str, evidence: Evidence) -> None:
    """Print how far guesses are off what the models' own scores say."""
    _, known = infer(evidence)
    places = np.flatnonzero(known.is_measured).tolist()
    means, errors = guess_each(evidence, places)
    # what is inferred is the guess and the scores together, weighted by their precision: without
    # taking the guess out, it would be compared with itself
    sure, guessed = 1 / known.covariance[places, 0, 0], 1 / errors**2
    told = np.maximum(sure - guessed, 0.1)
    own = (known.mean[places, 0] * sure - means * guessed) / told
    stated: Floats = np.sqrt(errors**2 + 1 / told)
    for least in (0.0, 4.0):
        at = told >= least
        label = (
            f"guess, {name}, own scores known to {least**-0.5:.1f}" if least else f"guess, {name}"
        )
        print(f"{label}: {Errors(off=(means - own)[at], stated=stated[at])}")


def report_former_scale(evidence: Evidence) -> None:
    """Print how far guesses are off on the scale of the table that shipped before."""
    table = json.loads((DATA / "former_abilities.json").read_bytes())["models"]
    names = [name for name in table if name in PLACES]
    places = [PLACES[name] for name in names]
    former, counts = np.array([table[name] for name in names]).T
    _, known = infer(evidence)
    slope, offset = fit_line(known.mean[places, 0], former)
    means, errors = guess_each(evidence, places)
    for least in (1, 4):
        chosen = counts >= least
        off = (offset + slope * means - former)[chosen]
        print(
            f"guess, scale of the former table, {least} scores or more:"
            f" {Errors(off=off, stated=slope * errors[chosen])}"
        )


def read_file(path: Path) -> list[dict[str, Any]]:
    """Return the usable rows of a file of evidence."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    unusable = ("popularity", "speed")
    return [one for one in rows if not one.get("suspect") and one["kind"] not in unusable]


def as_endpoint(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rows that OpenRouter publishes in the shape of its `GET /benchmarks`."""
    data = [row for one in rows for row in _endpoint_rows(one)]
    return {"data": data, "meta": {"as_of": "2026-10-03T12:00:00Z", "version": "v1"}}


def _endpoint_rows(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    model = CATALOGUE.get(one["openrouter_id"])
    if model is None:
        return
    setting = one["effort_or_setting"] or ""
    effort = "" if "not stated" in setting or "published" in setting else f" ({setting})"
    named = {
        "model_permaslug": model.canonical_slug,
        "display_name": model.name.rpartition(": ")[2] + effort,
    }
    benchmark = one["benchmark"]
    if benchmark in FIELDS:
        empty = dict.fromkeys(FIELDS.values())
        yield {"source": "artificial-analysis", **named, **empty, FIELDS[benchmark]: one["score"]}
    elif benchmark in RUNS:
        deviation = re.search(r"sd=([\d.]+)", one["n_or_error"] or "")
        yield {
            "source": "openrouter",
            **named,
            "benchmark_type": RUNS[benchmark],
            "accuracy": one["score"] / 100,
            "accuracy_stddev": float(deviation[1]) / 100 if deviation else None,
            "last_run_timestamp": f"{one['date']}T00:00:00Z",
        }
    elif benchmark.startswith("Design Arena ") and " agents " not in benchmark:
        category = benchmark.removeprefix("Design Arena ")
        arena = {"arena": "models", "category": category, "elo": one["score"]}
        yield {"source": "design-arena", **named, **arena}


def with_all(rows: Sequence[dict[str, Any]]) -> Evidence:
    """Return the shipped scores with all of a file, as benchmarks whose scale is unknown."""
    shipped = load_shipped_evidence()
    publishers = {one.publisher.split(",")[0].lower() for one in shipped.benchmarks.values()}
    others = [
        one
        for one in rows
        if not any(name.replace(" ", "-") in one["source"] for name in publishers)
    ]
    benchmarks = {one["benchmark"]: _unknown_scale(one) for one in others}
    scores = [
        Score(
            model=one["openrouter_id"],
            benchmark=one["benchmark"],
            value=one["score"] * (1 if one["higher_is_better"] else -1),
            effort=one["effort_or_setting"] or "",
        )
        for one in others
    ]
    return shipped.with_fetched(scores, benchmarks.values(), fetched_at=NOW)


def _unknown_scale(row: dict[str, Any]) -> Benchmark:
    axis: Any = AXES_OF_KINDS.get(row["kind"])
    return Benchmark(
        key=row["benchmark"],
        name=row["benchmark"],
        publisher=row["source"],
        kind=row["kind"],
        unit="points",
        loading=0.85,
        axis=axis,
        axis_loading=0.3 if axis else 0.0,
        noise=0.5,
    )


def report_against_all(name: str, evidence: Evidence, truth: Evidence) -> None:
    """Print how far abilities are off what all sources say together."""
    readings, true = infer(truth)
    _, found = infer(evidence)
    counted = [at for at, ones in enumerate(readings) if len(ones) >= MIN_SCORES_OF_TRUTH]
    slope, offset = fit_line(found.mean[counted, 0], true.mean[counted, 0])
    for label, is_told in (("measured", True), ("guessed", False)):
        at = [one for one in counted if found.is_measured[one] == is_told]
        off = offset + slope * found.mean[at, 0] - true.mean[at, 0]
        own = true.covariance[at, 0, 0]
        stated = np.sqrt(slope**2 * found.covariance[at, 0, 0] + own)
        print(f"{name}, {label}, against all sources: {Errors(off=off, stated=stated)}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evidence", type=Path, help="a file of scores without an open licence")
    path: Path | None = parser.parse_args().evidence
    shipped = load_shipped_evidence()
    report_counts("shipped", shipped)
    report_guesses("shipped", shipped)
    report_former_scale(shipped)
    if path is None:
        return
    rows = read_file(path)
    scores = read_rows(as_endpoint(rows))
    keyed = shipped.with_fetched(scores, BENCHMARKS, fetched_at=NOW)
    report_counts("with a key", keyed)
    report_guesses("with a key", keyed)
    truth = with_all(rows)
    report_counts("all sources of the file", truth)
    for name, evidence in (("shipped", shipped), ("with a key", keyed)):
        report_against_all(name, evidence, truth)
    moved = [replace(one, value=0.7 * one.value) for one in scores if one.benchmark[:3] == "aa-"]
    others = [one for one in scores if one.benchmark[:3] != "aa-"]
    rebased = shipped.with_fetched([*moved, *others], BENCHMARKS, fetched_at=NOW)
    shift = np.abs(infer(rebased)[1].mean - infer(keyed)[1].mean).max()
    print(f"an index rebased by 30 % moves abilities by {shift:.6f} at most")


if __name__ == "__main__":
    main()
