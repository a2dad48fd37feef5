"""Measures what the learned router saves on recorded answers, and the cost of a decision.

    uv run python benchmarks/routing.py [--quick] [--json FILE] [--data DIR]

Without `--data`: cross-validated over the public prompts in `benchmarks/data/routing` (five folds,
with `--quick` one fold of five). With `--data`: learned from all the public prompts, judged on the
rows in DIR (`*.jsonl`, `*.jsonl.gz`, same form); worlds are told by the names of benchmarks, rows
with `ood` are judged apart. The operating point is always chosen on public prompts alone: the
cheapest that keeps the quality of the best single model there.

Per world, in %: `quality_at_op` and `saved_at_op` against the best single model as public data
names it; `save_at_100`, the best point of the cost-quality curve that keeps its quality. The same
under `ood` for domains that the router was learned without, and by domain.
`apgr`, `cpt50`, `cpt80`: RouteLLM's metric on its MMLU data.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from devflow_core.request import ChatRequest
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Router, TaskClassifier
from harness import Report, parse_arguments
from routing_judged import Evaluation, interval
from routing_worlds import (
    WORLDS,
    Floats,
    World,
    WorldRouter,
    build_world,
    read_rows,
)

PUBLIC = Path(__file__).parent / "data" / "routing"
FOLDS = 5
WEAK, STRONG = "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"
PUBLISHED_APGR = {
    "RouteLLM similarity ranking": 0.603,
    "RouteLLM causal LLM, 8 billion": 0.600,
    "RouteLLM matrix factorisation": 0.597,
    "RouteLLM BERT": 0.572,
}
"""APGR on MMLU with 1,500 gold labels, from the paper (arXiv 2406.18665, table 2 and §5)."""

OTHER_ROUTERS = {
    "LiteLLM heuristic": (100.3, 2.3),
    "LiteLLM heuristic v2": (100.4, -23.5),
    "k nearest neighbours, MiniLM": (99.5, 18.1),
    "k means, MiniLM": (100.3, 7.6),
    "domain table and hashed logistic regression, no gate": (100.8, 43.5),
}
"""Quality and saving of other routers: means of the five worlds, at a blind operating point for 100
%, measured for the data set on prompts of these worlds that are not public."""

Rows = list[dict[str, Any]]


def judge_worlds(public: Rows, unseen: Rows | None, *, quick: bool) -> dict[str, Any]:
    """Judge every world, in distribution and out of it."""
    results: dict[str, Any] = {"worlds": {}, "ood": {}}
    samples: dict[str, list[Floats]] = {"worlds": [], "ood": []}
    rounds = 200 if quick else 1000
    for name, prefix in WORLDS.items():
        world = build_world([row for row in public if row["benchmark"].startswith(prefix)])
        parts = {"worlds": Evaluation(rounds), "ood": Evaluation(rounds)}
        domains: dict[str, Any] = {}
        if unseen is None:
            _judge_folds(world, parts["worlds"], 1 if quick else FOLDS)
            if not quick:
                domains = _judge_left_out(world, parts["ood"])
        else:
            rows = [row for row in unseen if row["benchmark"].startswith(prefix)]
            domains = _judge_unseen(world, rows, parts)
        for key, evaluation in parts.items():
            if len(evaluation):
                samples[key].append(evaluation.samples())
                results[key][name] = evaluation.figures()
        if name in results["ood"]:
            results["ood"][name]["domains"] = domains
    results.update(_mean_figures(results["worlds"], samples["worlds"]))
    results["others"] = {name: list(one) for name, one in OTHER_ROUTERS.items()}
    results["out_of_distribution"] = _mean_figures(results["ood"], samples["ood"])
    return results


def _mean_figures(worlds: dict[str, Any], samples: list[Floats]) -> dict[str, Any]:
    """Return the means over the worlds, with equal weights."""
    if not worlds:
        return {}
    curve = sum(one["save_at_100"] for one in worlds.values()) / len(worlds)
    return {
        **interval(np.mean(samples, axis=0)),
        "save_at_100": round(curve, 2),
        "lowest_quality_at_op": min(one["quality_at_op"] for one in worlds.values()),
    }


def _judge_folds(world: World, evaluation: Evaluation, count: int) -> None:
    fold = np.random.default_rng(0).permutation(len(world)) % FOLDS
    for one in range(count):
        evaluation.add(WorldRouter(world.select(fold != one)), world.select(fold == one))


def _judge_left_out(world: World, evaluation: Evaluation) -> dict[str, Any]:
    """Judge each domain by a router learned without it, including its gate and price."""
    domains = np.array(world.domains)
    figures: dict[str, Any] = {}
    for domain in sorted(set(world.domains)):
        part = world.select(domains == domain)
        reached = evaluation.add(WorldRouter(world.select(domains != domain)), part)
        figures[domain] = _domain_figures(reached, part)
    return figures


def _judge_unseen(world: World, rows: Rows, parts: dict[str, Evaluation]) -> dict[str, Any]:
    """Judge the rows in DIR by a router learned from all public ones."""
    router = WorldRouter(world)
    figures: dict[str, Any] = {}
    unknown = build_world(rows, world.models) if rows else None
    if unknown is None or not len(unknown):
        return figures
    if (~unknown.is_ood).any():
        parts["worlds"].add(router, unknown.select(~unknown.is_ood))
    domains = np.array(unknown.domains)
    for domain in sorted(set(domains[unknown.is_ood].tolist())):
        part = unknown.select((domains == domain) & unknown.is_ood)
        figures[domain] = _domain_figures(parts["ood"].add(router, part), part)
    return figures


def _domain_figures(reached: tuple[float, float], part: World) -> dict[str, Any]:
    quality, saved = (round(one, 2) for one in reached)
    return {"prompts": len(part), "quality_at_op": quality, "saved_at_op": saved}


def compute_apgr(wants_strong: Floats, weak: Floats, strong: Floats) -> tuple[float, float, float]:
    """Return RouteLLM's average performance gap recovered, and calls in % for 50 and 80 % of it."""
    order = np.argsort(-wants_strong, kind="stable")
    gained = np.concatenate(([0.0], np.cumsum((strong - weak)[order]))) / len(order)
    if gained[-1] <= 0:  # a resample in which the strong model wins nothing
        return np.nan, np.nan, np.nan
    recovered = gained / gained[-1]
    calls = np.linspace(0, 100, len(recovered))
    thresholds = [float(calls[int((recovered >= share).argmax())]) for share in (0.5, 0.8)]
    return float(np.trapezoid(recovered, calls) / 100), thresholds[0], thresholds[1]


def judge_routellm(public: Rows, unseen: Rows | None, *, quick: bool) -> dict[str, Any]:
    """Judge RouteLLM's MMLU: which of two models answers, by the expected difference."""
    pair = (WEAK, STRONG)
    world = build_world([row for row in public if row["benchmark"] == "rl_mmlu"], pair)
    if unseen is None:
        fold = np.random.default_rng(0).permutation(len(world)) % (FOLDS if quick else 10)
        gains = np.zeros(len(world))
        for one in range(int(fold.max()) + 1):
            router = WorldRouter(world.select(fold != one), is_gated=False)
            gains[fold == one] = _expected_gain(router, world.select(fold == one).texts)
        return _routellm_figures(gains, world, 200 if quick else 1000)
    router = WorldRouter(world, is_gated=False)
    results: dict[str, Any] = {}
    for benchmark in ("rl_mmlu", "rl_gsm8k", "rl_mtbench"):
        rows = [row for row in unseen if row["benchmark"] == benchmark]
        if rows:
            unseen_world = build_world(rows, pair)
            figures = _routellm_figures(
                _expected_gain(router, unseen_world.texts), unseen_world, 200 if quick else 1000
            )
            tail = "" if benchmark == "rl_mmlu" else f"_{benchmark[3:]}"
            results.update({f"{key}{tail}": value for key, value in figures.items()})
    return results


def _expected_gain(router: WorldRouter, texts: Sequence[str]) -> Floats:
    """Return the expected gain of the strong model over the weak one."""
    quality = router.forecast(texts).quality
    return quality[:, 1] - quality[:, 0]


def _routellm_figures(gains: Floats, world: World, rounds: int) -> dict[str, Any]:
    weak, strong = world.scores[:, 0], world.scores[:, 1]
    apgr, cpt50, cpt80 = compute_apgr(gains, weak, strong)
    random = np.random.default_rng(7)
    resamples = [random.integers(0, len(world), len(world)) for _ in range(rounds)]
    samples = [compute_apgr(gains[one], weak[one], strong[one])[0] for one in resamples]
    length = np.array([float(len(text)) for text in world.texts])
    return {
        "apgr": round(apgr, 4),
        "apgr_ci": [round(float(one), 4) for one in np.nanpercentile(samples, (2.5, 97.5))],
        "cpt50": round(cpt50, 2),
        "cpt80": round(cpt80, 2),
        "apgr_baselines": {
            "random": round(compute_apgr(random.random(len(world)), weak, strong)[0], 4),
            "prompt_length": round(compute_apgr(length, weak, strong)[0], 4),
            **PUBLISHED_APGR,
        },
        "apgr_prompts": len(world),
    }


def judge_kinds(folder: Path) -> dict[str, Any]:
    """Judge the task classifier on labelled prompts (`tasktype*`), if DIR has any."""
    import gzip
    import json

    classifier = TaskClassifier(cache_size=0)
    figures: dict[str, Any] = {}
    for path in sorted(folder.glob("tasktype*.jsonl*")):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        right: list[bool] = [
            classifier.classify(ChatRequest.from_text(row["text"])).type == row["label"]
            for row in rows
        ]
        figures[path.name] = {"accuracy": round(sum(right) / len(right), 4), "prompts": len(right)}
    return figures


def measure_stability(router: Router, texts: Sequence[str]) -> float:
    """Return the share of light rewordings that keep the chosen model, in %."""
    classifier = TaskClassifier()

    def chosen(text: str) -> str:
        request = ChatRequest.from_text(text)
        return router.route(request, classifier.classify(request)).chosen.model

    unchanged = [chosen(text) == chosen(reworded) for text in texts for reworded in _reword(text)]
    return 100 * sum(unchanged) / len(unchanged)


def _reword(text: str) -> tuple[str, ...]:
    """Return light rewordings of a text."""
    return (
        f"Please help me with this. {text}",
        f"{text}\nThank you!",
        text.replace("What is", "What's").replace("do not", "don't"),
        text.lower(),
    )


def measure_speed(report: Report, *, quick: bool) -> None:
    """Measure the CPU time of a decision over the shipped catalogue, with classification."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    router, classifier = Router(load_shipped_catalogue()), TaskClassifier()
    router.route(request := ChatRequest.from_text("warm"), classifier.classify(request))
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    report.add("memory of router and classifier", "peak growth", "MB", [grown_mb])
    words = np.array((PUBLIC / "MANIFEST.md").read_text().split())
    random = np.random.default_rng(3)
    count = 300 if quick else 2000
    texts = [" ".join(random.choice(words, 1400).tolist())[:8000] for _ in range(count)]
    for model in ("auto", "anthropic/claude-haiku-4.5"):
        requests = [ChatRequest.from_text(text, model=model) for text in texts]
        took_us: list[float] = []
        for request in requests:
            start_ns = time.process_time_ns()
            router.route(request, classifier.classify(request))
            took_us.append((time.process_time_ns() - start_ns) / 1000)
        kind = "auto" if model == "auto" else "named"
        for share, name in ((50, "p50"), (99, "p99")):
            value = float(np.percentile(took_us, share))
            report.add(
                f"decision, {len(load_shipped_catalogue())} models", f"{kind} {name}", "µs", [value]
            )


def main() -> None:
    """Run the benchmark."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, metavar="DIR", help="judge on this split")

    options = parse_arguments(__doc__, extend)
    report = Report()
    measure_speed(report, quick=options.quick)
    public = list(read_rows(PUBLIC))
    unseen = list(read_rows(options.data)) if options.data else None
    aggregate = judge_worlds(public, unseen, quick=options.quick)
    aggregate.update(judge_routellm(public, unseen, quick=options.quick))
    texts = [row["prompt"] for row in public[:: 200 if options.quick else 40]]
    aggregate["stability"] = round(measure_stability(Router(load_shipped_catalogue()), texts), 2)
    if options.data:
        aggregate["task_types"] = judge_kinds(options.data)
    aggregate["split"] = str(options.data) if options.data else "public, cross-validated"
    add_figures(report, aggregate)
    report.more["aggregate"] = aggregate
    report.finish(options)


def add_figures(report: Report, aggregate: dict[str, Any]) -> None:
    """Add the figures to the report's table."""
    parts: list[tuple[str, dict[str, Any]]] = list(aggregate["worlds"].items())
    parts += [(f"{name}, unknown domains", figures) for name, figures in aggregate["ood"].items()]
    parts += [("mean of the worlds", aggregate)]
    if unknown := aggregate["out_of_distribution"]:
        parts += [("mean of the worlds, unknown domains", unknown)]
    parts += [("RouteLLM MMLU", aggregate)]
    for title, figures in parts:
        metrics = _ROUTELLM_METRICS if title == "RouteLLM MMLU" else _WORLD_METRICS
        for metric in (one for one in metrics if one in figures):
            unit = "" if metric == "apgr" else "%"
            report.add(title, metric, unit, [figures[metric]])
    report.add("light rewordings", "same model", "%", [aggregate["stability"]])


_WORLD_METRICS = ("quality_at_op", "saved_at_op", "save_at_100", "lowest_quality_at_op")
_ROUTELLM_METRICS = ("apgr", "cpt50", "cpt80")


if __name__ == "__main__":
    main()
