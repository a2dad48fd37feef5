"""Builds `data/quality.json`: what public leaderboards say of the catalogue's models.

    uv run python packages/routing/training/build_quality.py

Benchmarks differ in difficulty and no model is in all of them. So every score is taken as
logit(score) = ability(model) + difficulty(benchmark) + strength(model, kind of task), fitted by
alternating ridge steps; a strength is drawn to zero where few benchmarks of its kind were run. The
abilities come out on one scale, whose zero is the mean of all models scored.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from devflow_core.errors import UnknownModel
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Catalogue

PRIORS = Path(__file__).parents[3] / "benchmarks" / "data" / "routing" / "priors"
OUTPUT_PATH = Path(__file__).parents[1] / "src" / "devflow_routing" / "data" / "quality.json"
AGE_EPOCH_S, YEAR_S = 1_750_000_000, 365.25 * 86_400
"""Ages are counted from June 2025, in years."""
ABILITY_PENALTY, STRENGTH_PENALTY = 1.0, 2.0

Strengths = dict[str, dict[str, float]]
MeanScores = dict[tuple[str, str, str], float]
Scores = dict[tuple[str, str, str], list[float]]
"""By (model's own name, benchmark, kind of task): shares of tasks solved."""

TASK_TYPES = {
    "AIME": "math", "LiveMathBench": "math", "LiveCodeBench": "coding", "SWE-Bench": "coding",
    "GPQA": "reasoning", "HLE": "reasoning", "MMLU-Pro": "knowledge", "SimpleQA": "knowledge",
    "ArenaHard": "creative", "Tau2": "planning",
}  # fmt: skip

MODEL_IDS = {
    "Claude-v4": "anthropic/claude-sonnet-4", "DeepSeek-R1": "deepseek/deepseek-r1-0528",
    "DeepSeek-V3": "deepseek/deepseek-chat-v3-0324",
    "DS-V3.1-Tms": "deepseek/deepseek-v3.1-terminus",
    "Gemini-Flash": "google/gemini-2.5-flash", "Gemini-Pro": "google/gemini-2.5-pro",
    "GLM-4.6": "z-ai/glm-4.6", "GPT-5": "openai/gpt-5", "GPT-5-Chat": "openai/gpt-5-chat",
    "Kimi-K2": "moonshotai/kimi-k2-0905", "Qwen3-235B": "qwen/qwen3-235b-a22b-2507",
    "Qwen3-Thinking": "qwen/qwen3-235b-a22b-thinking-2507",
    "Claude-3.7-Sonnet": "anthropic/claude-3.7-sonnet", "DeepSeek-V3.2": "deepseek/deepseek-v3.2",
    "Gemini 3.0 Pro": "google/gemini-3-pro-preview", "Gemini 3 Pro": "google/gemini-3-pro-preview",
    "Gemini 3 Flash": "google/gemini-3-flash-preview", "Grok 4.2": "x-ai/grok-4.20",
    "Kimi-k2": "moonshotai/kimi-k2", "o3": "openai/o3", "o4-mini": "openai/o4-mini",
    "Inkling": "thinkingmachines/inkling", "Muse Spark 1.1": "meta/muse-spark-1.1",
    "DeepSeek R1": "deepseek/deepseek-r1", "DeepSeek R1 (0528)": "deepseek/deepseek-r1-0528",
    "DeepSeek Chat V3 (prev)": "deepseek/deepseek-chat",
    "DeepSeek V3 (0324)": "deepseek/deepseek-chat-v3-0324",
    "DeepSeek-V3.2-Exp (Chat)": "deepseek/deepseek-v3.2-exp",
    "o3-mini (medium)": "openai/o3-mini", "o3-mini (high)": "openai/o3-mini-high",
    "o4-mini (high)": "openai/o4-mini-high", "o3-pro (high)": "openai/o3-pro",
    "o1-2024-12-17 (high)": "openai/o1", "gpt-5 (medium)": "openai/gpt-5",
    "gpt-oss-120b (high)": "openai/gpt-oss-120b", "command-a-03-2025-quality": "cohere/command-a",
    "Gemini 2.5 Pro Preview 05-06": "google/gemini-2.5-pro-preview-05-06",
    "gemini-2.5-pro-preview-06-05 (default think)": "google/gemini-2.5-pro",
    "gemini-2.5-flash-preview-05-20 (no think)": "google/gemini-2.5-flash",
    "claude-sonnet-4-20250514 (no thinking)": "anthropic/claude-sonnet-4",
    "claude-opus-4-20250514 (no think)": "anthropic/claude-opus-4",
    "Qwen3 235B A22B diff, no think, Alibaba API": "qwen/qwen3-235b-a22b",
    "Qwen3 32B": "qwen/qwen3-32b", "Llama 4 Maverick": "meta-llama/llama-4-maverick",
}  # fmt: skip
"""Names that the catalogue's own look-up of names does not find."""


def llmrouterbench() -> Scores:
    """Return the scores of LLMRouterBench, tables 9 and 10: 13 models, 10 benchmarks."""
    scores: Scores = defaultdict(list)
    for model, row in json.loads((PRIORS / "llmrouterbench_table9_10.json").read_text()).items():
        for benchmark, percent in row["acc"].items():
            scores[model, benchmark, TASK_TYPES[benchmark]].append(percent / 100)
    return scores


def tau2() -> Scores:
    """Return the scores of τ²-bench, by domain: agents that act for a customer."""
    scores: Scores = defaultdict(list)
    for row in json.loads((PRIORS / "tau2_submissions.json").read_text()):
        for domain, result in row["results"].items():
            if result and result.get("pass_1") is not None:
                name = f"τ² {domain}"
                scores[row["model_name"], name, "planning"].append(result["pass_1"] / 100)
    return scores


def aider() -> Scores:
    """Return the scores of Aider's polyglot leaderboard: 225 exercises in six languages."""
    text = (PRIORS / "aider_polyglot_leaderboard.yml").read_text()
    rows = re.findall(r"^  model: (.+)\n(?:.*\n)*?  pass_rate_2: ([\d.]+)", text, re.MULTILINE)
    scores: Scores = defaultdict(list)
    for model, percent in rows:
        scores[model.strip(), "aider polyglot", "coding"].append(float(percent) / 100)
    return scores


SOURCES = (aider, llmrouterbench, tau2)
"""Leaderboards that share enough models to be put on one scale. WildBench and EvalPlus stopped in
2024 and share almost none with these, so that their models came out as good as today's."""


def resolve_model(catalogue: Catalogue, name: str) -> str:
    """Return the catalogue's id for a leaderboard's name; the name itself if there is none."""
    if name in MODEL_IDS:
        return MODEL_IDS[name]
    try:
        return catalogue.find(re.sub(r"\s+", "-", name.lower())).id
    except UnknownModel:
        return name


def fit(mean_scores: MeanScores, expected: dict[str, float]) -> tuple[dict[str, float], Strengths]:
    """Return each model's ability and its strengths by kind of task, in logits.

    Args:
        mean_scores: by (model, benchmark, kind of task): the share of tasks solved.
        expected: the ability that a model is drawn to; 0 for a model that is not in it.
    """
    ability: dict[str, float] = defaultdict(float)
    difficulty: dict[str, float] = defaultdict(float)
    strength: dict[tuple[str, str], float] = defaultdict(float)
    rows = [(m, b, k, math.log(score / (1 - score))) for (m, b, k), score in mean_scores.items()]
    for _ in range(200):
        residuals: dict[object, list[float]] = defaultdict(list)
        for model, benchmark, kind, value in rows:
            residuals[benchmark].append(value - ability[model] - strength[model, kind])
        difficulty.update(
            {b: sum(residuals[b]) / len(residuals[b]) for b in {row[1] for row in rows}}
        )
        residuals.clear()
        for model, benchmark, kind, value in rows:
            residuals[model].append(value - difficulty[benchmark] - strength[model, kind])
        for model in residuals:
            residuals[model] = [value - expected.get(str(model), 0.0) for value in residuals[model]]
        drawn = _shrink_means(residuals, ABILITY_PENALTY)
        ability.update({m: one + expected.get(m, 0.0) for m, one in drawn.items()})
        residuals.clear()
        for model, benchmark, kind, value in rows:
            residuals[model, kind].append(value - difficulty[benchmark] - ability[model])
        strength.update(_shrink_means(residuals, STRENGTH_PENALTY))
    by_model: Strengths = defaultdict(dict)
    for (model, kind), value in sorted(strength.items()):
        by_model[model][kind] = round(value, 3)
    return ability, by_model


def _shrink_means(residuals: dict[Any, list[float]], penalty: float) -> dict[Any, float]:
    """Return the mean of each group's residuals, drawn to zero."""
    return {group: sum(values) / (len(values) + penalty) for group, values in residuals.items()}


def fit_prior(catalogue: Catalogue, ability: dict[str, float]) -> dict[str, Any]:
    """Return how ability depends on price, age and maker, by least squares over scored models.

    The keys are those of `others` in the table, which `devflow_routing.quality` guesses from.
    """
    rows: list[list[float]] = []
    values: list[float] = []
    authors: list[str] = []
    for model, value in ability.items():
        known = catalogue.get(model)
        if known is None or known.price is None or not known.price.completion:
            continue
        usd = float(known.price.prompt * 3 + known.price.completion) / 4 * 1e6
        rows.append([1.0, math.log(usd), (known.created - AGE_EPOCH_S) / YEAR_S])
        values.append(value)
        authors.append(known.author)
    design, target = np.array(rows), np.array(values)
    penalty = np.diag([0.0, 1.0, 1.0])
    solution = np.linalg.solve(design.T @ design + penalty, design.T @ target)
    error = float(np.std(target - design @ solution))
    names = ("base", "per_log_usd_per_mtok", "per_year")
    coefficients = {
        name: round(float(value), 3) for name, value in zip(names, solution, strict=True)
    }
    residuals: dict[str, list[float]] = defaultdict(list)
    for author, residual in zip(authors, (target - design @ solution).tolist(), strict=True):
        residuals[author].append(residual)
    by_author = {
        author: round(one, 3) for author, one in sorted(_shrink_means(residuals, 3.0).items())
    }
    return {**coefficients, "error": round(error, 3), "models": len(values), "authors": by_author}


def predict_prior(prior: dict[str, Any], catalogue: Catalogue, model: str) -> float:
    """Return the ability to expect by price and age; 0, the mean, if they are unknown."""
    known = catalogue.get(model)
    if known is None or known.price is None or not known.price.completion:
        return 0.0
    usd = float(known.price.prompt * 3 + known.price.completion) / 4 * 1e6
    years = (known.created - AGE_EPOCH_S) / YEAR_S
    return float(
        prior["base"] + prior["per_log_usd_per_mtok"] * math.log(usd) + prior["per_year"] * years
    )


def main() -> None:
    """Read the leaderboards, fit, write the table."""
    catalogue = load_shipped_catalogue()
    collected: Scores = defaultdict(list)
    sources: dict[str, set[str]] = defaultdict(set)
    for source in SOURCES:
        for (name, benchmark, kind), values in source().items():
            model = resolve_model(catalogue, name)
            if not all(math.isfinite(value) for value in values):
                continue
            collected[model, benchmark, kind] += values
            sources[model].add(benchmark if source in (aider,) else source.__name__)
    mean_scores = {key: min(max(sum(v) / len(v), 0.02), 0.98) for key, v in collected.items()}
    ability, strength = fit(mean_scores, {})
    for _ in range(4):  # eras without a model in common are held together by what price and age say
        prior = fit_prior(catalogue, ability)
        expected = {model: predict_prior(prior, catalogue, model) for model in ability}
        ability, strength = fit(mean_scores, expected)
    models = {
        model: {
            "ability": round(value, 3),
            "strength": strength[model],
            "scores": sum(1 for one, _, _ in mean_scores if one == model),
            "sources": sorted(sources[model]),
        }
        for model, value in sorted(ability.items())
        if model in catalogue
    }
    table = {
        "version": "public-scores-1",
        "models": models,
        "others": fit_prior(catalogue, ability),
    }
    OUTPUT_PATH.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(models)} of {len(catalogue)} models scored\n")


if __name__ == "__main__":
    main()
