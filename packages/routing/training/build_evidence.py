"""Builds `data/evidence.json`: openly licensed scores, and what each benchmark says of abilities.

    uv run python packages/routing/training/build_evidence.py

A score on its benchmark's scale is taken as loading · general ability + axis loading · axis +
noise. No model is in all benchmarks, so abilities and benchmarks are found in turn: abilities as
the product infers them, benchmarks by regression on these with their errors.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing.evidence.benchmarks import AXES, Axis, Benchmark
from devflow_routing.evidence.posterior import Abilities, Floats, infer_abilities
from devflow_routing.evidence.readings import Reading, find_readings, group_models
from devflow_routing.evidence.scores import Evidence, Score
from devflow_routing.model_config import ModelConfig

ROOT = Path(__file__).parents[3]
SCORES_PATH = ROOT / "benchmarks" / "data" / "routing" / "open_scores.jsonl.gz"
OUTPUT_PATH = Path(__file__).parents[1] / "src" / "devflow_routing" / "data" / "evidence.json"
OPEN_LICENCES = frozenset({"CC BY 4.0", "MIT", "Apache-2.0"})
AS_OF = "2026-11-28T00:00:00+00:00"
"""When the scores were collected."""
ROUNDS = 60
MIN_NOISE, NOISE_WEIGHT, USUAL_NOISE = 0.06, 4.0, 0.25
"""The least noise of a benchmark; what it is drawn to, and as how many scores that counts."""
USUAL_LOADING, USUAL_AXIS_LOADING = 0.9, 0.35
LOADING_WEIGHT, AXIS_WEIGHT = 2.0, 4.0

NAMES: dict[str, tuple[str, str, Axis | None]] = {
    "aider-polyglot": ("Aider polyglot", "coding", None),
    "crux-zeroeval": ("CRUX", "coding", None),
    "fiction-live-120k": ("Fiction.liveBench 120k", "analysis", None),
    "fiction-live-60k": ("Fiction.liveBench 60k", "analysis", None),
    "frontiermath": ("FrontierMath", "math", "math"),
    "gpqa-diamond": ("GPQA Diamond", "reasoning", None),
    "math-level-5": ("MATH level 5", "math", "math"),
    "math-level-5-zeroeval": ("MATH level 5", "math", "math"),
    "otis-mock-aime": ("OTIS Mock AIME", "math", "math"),
    "simplebench": ("SimpleBench", "reasoning", None),
    "summary-faithfulness": ("faithful summaries", "text_ops", "faithful"),
    "tau2-airline": ("τ² airline", "planning", "agentic"),
    "tau2-banking": ("τ² banking", "planning", "agentic"),
    "tau2-retail": ("τ² retail", "planning", "agentic"),
    "tau2-telecom": ("τ² telecom", "planning", "agentic"),
    "weirdml": ("WeirdML", "coding", None),
}
"""By key: the name for people, the kind of task, and the axis that a benchmark tells beside general ability."""
FAITHFUL_LOADING, FAITHFUL_AXIS_LOADING, FAITHFUL_NOISE = -0.4, 0.85, 0.12
"""Models that reason more invent more in summaries: correlations of -.38 to -.44 with the rest."""

TWINS = {
    "anthropic/claude-opus-4.7-fast": "anthropic/claude-opus-4.7",
    "anthropic/claude-opus-4.8-fast": "anthropic/claude-opus-4.8",
    "anthropic/claude-opus-5-fast": "anthropic/claude-opus-5",
    "google/gemini-3.1-pro-preview-customtools": "google/gemini-3.1-pro-preview",
    "openai/gpt-4o": "openai/gpt-4o-2024-08-06",
    "openai/gpt-4o-mini": "openai/gpt-4o-mini-2024-07-18",
}
"""Other names of the same weights: served faster, with other preferences, by a date."""


def read_scores() -> tuple[dict[str, str], list[Score]]:
    """Return the publisher of each benchmark, and the scores; shares are within 0..1."""
    publishers: dict[str, str] = {}
    scores: list[Score] = []
    with gzip.open(SCORES_PATH, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["licence"] not in OPEN_LICENCES:
                raise ValueError(f"{row['benchmark']} is not openly licensed: {row['licence']}")
            publishers[row["benchmark"]] = row["source"]
            scores.append(
                Score(
                    model=row["model"],
                    benchmark=row["benchmark"],
                    value=round(row["score"] / 100, 4),
                    date=date.fromisoformat(row["date"]) if row["date"] else None,
                    effort=row["setting"],
                )
            )
    return publishers, scores


def begin(publishers: dict[str, str], scores: Sequence[Score]) -> dict[str, Benchmark]:
    """Return the benchmarks with usual loadings, on the scale of their scores."""
    straight: dict[str, list[float]] = defaultdict(list)
    found: dict[str, Benchmark] = {}
    for key, publisher in publishers.items():
        name, kind, axis = NAMES[key]
        found[key] = Benchmark(
            key=key,
            name=name,
            publisher=publisher,
            kind=kind,
            unit="share",
            loading=FAITHFUL_LOADING if axis == "faithful" else USUAL_LOADING,
            axis=axis,
            axis_loading=USUAL_AXIS_LOADING if axis else 0.0,
            noise=USUAL_NOISE,
        )
        if axis == "faithful":
            found[key] = replace(
                found[key], axis_loading=FAITHFUL_AXIS_LOADING, noise=FAITHFUL_NOISE
            )
    for score in scores:
        straight[score.benchmark].append(found[score.benchmark].straighten(score.value))
    return {
        key: replace(one, mean=float(np.mean(straight[key])), sd=float(np.std(straight[key])))
        for key, one in found.items()
    }


def improve(
    benchmark: Benchmark, readings: Sequence[Sequence[Reading]], known: Abilities
) -> Benchmark:
    """Return the benchmark with the mean, loadings and noise that known abilities speak for."""
    found = [
        (row, one)
        for row, ones in enumerate(readings)
        for one in ones
        if one.score.benchmark == benchmark.key
    ]
    rows = [row for row, _ in found]
    sd, mean = benchmark.sd, benchmark.mean or 0.0
    values = np.array([(benchmark.straighten(one.score.value) - mean) / sd for _, one in found])
    values -= benchmark.loading * np.array([one.excess for _, one in found])
    if benchmark.axis == "faithful":  # its loadings are given: too few models tell them apart
        return replace(benchmark, mean=mean + sd * _offset(benchmark, rows, values, known))
    columns = [0] if benchmark.axis is None else [0, 1 + AXES.index(benchmark.axis)]
    usual = np.array([*(USUAL_LOADING, USUAL_AXIS_LOADING)[: len(columns)], 0.0])
    ties = np.diag([*(LOADING_WEIGHT, AXIS_WEIGHT)[: len(columns)], 0.0])
    design = np.column_stack([known.mean[rows][:, columns], np.ones(len(rows))])
    errors = known.covariance[rows][:, columns][:, :, columns].sum(axis=0)
    moments = design.T @ design
    moments[: len(columns), : len(columns)] += errors
    solved = np.linalg.solve(moments + ties, design.T @ values + ties @ usual)
    slopes = solved[:-1]
    squares = float(((values - design @ solved) ** 2).sum() + slopes @ errors @ slopes)
    noise = (squares + NOISE_WEIGHT * USUAL_NOISE) / (len(rows) + NOISE_WEIGHT)
    return replace(
        benchmark,
        mean=mean + sd * float(solved[-1]),
        loading=max(float(slopes[0]), 0.3),
        axis_loading=max(float(slopes[1]), 0.0) if benchmark.axis else 0.0,
        noise=max(noise, MIN_NOISE),
    )


def _offset(benchmark: Benchmark, rows: list[int], values: Floats, known: Abilities) -> float:
    return float((values - benchmark.loading * known.mean[rows][:, 0]).mean())


def fit(models: Sequence[ModelConfig], evidence: Evidence) -> Evidence:
    """Return the evidence with benchmarks whose loadings, scales and noise fit the scores."""
    readings = find_readings(models, evidence)
    for _ in range(ROUNDS):
        known = infer_abilities(models, readings, evidence)
        middle = float(known.mean[:, 0].mean())
        spread = float((known.mean[:, 0].var() + known.covariance[:, 0, 0].mean()) ** 0.5)
        benchmarks = {
            key: _on_unit_scale(improve(one, readings, known), middle, spread)
            for key, one in evidence.benchmarks.items()
        }
        evidence = replace(evidence, benchmarks=benchmarks)
    return evidence


def _on_unit_scale(benchmark: Benchmark, middle: float, spread: float) -> Benchmark:
    """Return the benchmark for abilities of which the catalogue has a mean of 0 and a spread of 1.

    Scores alone leave that scale open, and what is assumed of kinship is said on it.
    """
    if benchmark.axis == "faithful":
        return benchmark
    mean = (benchmark.mean or 0.0) + benchmark.sd * benchmark.loading * middle
    return replace(benchmark, mean=mean, loading=benchmark.loading * spread)


def main() -> None:
    """Read the scores, fit, write the table."""
    models, _ = group_models(
        [one for one in load_shipped_catalogue().models if one.alias_of is None]
    )
    publishers, scores = read_scores()
    evidence = Evidence(
        scores=tuple(scores), benchmarks=begin(publishers, scores), twins=TWINS, version="open"
    )
    fitted = fit(models, evidence)
    table = {
        "version": f"open-scores-{AS_OF[:10]}",
        "as_of": AS_OF,
        "benchmarks": {key: _as_json(one) for key, one in sorted(fitted.benchmarks.items())},
        "twins": TWINS,
        "scores": [
            [one.model, one.benchmark, one.value, str(one.date or ""), one.effort] for one in scores
        ],
    }
    OUTPUT_PATH.write_text(_dump(table), encoding="utf-8")
    counts = Counter(one.benchmark for one in scores)
    for key, one in sorted(fitted.benchmarks.items()):
        sys.stdout.write(
            f"{key:22} {counts[key]:3}  loading {one.loading:5.2f}  axis {one.axis_loading:4.2f}"
            f"  noise {one.noise:4.2f}\n"
        )


def _as_json(benchmark: Benchmark) -> dict[str, Any]:
    values = {name: value for name, value in asdict(benchmark).items() if name != "key"}
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _dump(table: dict[str, Any]) -> str:
    """Return the table as JSON with one score a line, so that changes can be read."""
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in table["scores"])
    head = json.dumps({**table, "scores": []}, indent=1, ensure_ascii=False)
    return head.replace('"scores": []', f'"scores": [\n{rows}\n ]') + "\n"


if __name__ == "__main__":
    main()
