"""Does routing save money? The learned router on recorded answers, and what a decision costs.

    uv run python benchmarks/routing.py [--quick] [--json FILE] [--data DIR]

Without `--data`: cross-validated over the public prompts in `benchmarks/data/routing` (five folds,
with `--quick` one fold of five). With `--data`: learned from all the public prompts, judged on the
rows in DIR (`*.jsonl`, `*.jsonl.gz`, same form); worlds are told by the names of benchmarks, rows
with `ood` are judged apart. The operating point is always chosen on public prompts alone: the
cheapest that keeps the quality of the best single model there.

Per world, in %: `quality_at_op` and `saved_at_op` against the best single model as public data
names it; `save_at_100`, the best point of the cost-quality curve that keeps its quality.
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
from devflow_core.chat import ChatRequest
from devflow_openrouter.models import Catalogue, TaskClassifier
from devflow_openrouter.routing import Router
from harness import Report, arguments
from routing_worlds import (
    PRICES,
    WORLDS,
    Floats,
    Forecast,
    World,
    WorldRouter,
    rows_of,
    world_of,
)

PUBLIC = Path(__file__).parent / "data" / "routing"
FOLDS = 5
WEAK, STRONG = "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"
PUBLISHED = {
    "RouteLLM similarity ranking": 0.603,
    "RouteLLM causal LLM, 8 billion": 0.600,
    "RouteLLM matrix factorisation": 0.597,
    "RouteLLM BERT": 0.572,
}
"""APGR on MMLU with 1,500 gold labels, from the paper (arXiv 2406.18665, table 2 and §5)."""

Rows = list[dict[str, Any]]


class Judged:
    """Choices on prompts that the router has not seen, joined over folds."""

    def __init__(self) -> None:
        self.quality: list[Floats] = []
        self.cost: list[Floats] = []
        self.best_quality: list[Floats] = []
        self.best_cost: list[Floats] = []
        self._parts: list[tuple[WorldRouter, Forecast, World]] = []

    def add(self, router: WorldRouter, world: World) -> None:
        """Judge a router on a world."""
        places = np.arange(len(world))
        forecast = router.forecast(world.texts)
        chosen = forecast.choices(router.price, router.most_novelty, router.best)
        self.quality.append(world.scores[places, chosen])
        self.cost.append(world.costs_usd[places, chosen])
        self.best_quality.append(world.scores[:, router.best])
        self.best_cost.append(world.costs_usd[:, router.best])
        self._parts.append((router, forecast, world))

    def figures(self, rounds: int) -> dict[str, Any]:
        """What the world's part of `aggregate` holds."""
        columns = [
            np.concatenate(one)
            for one in (self.quality, self.cost, self.best_quality, self.best_cost)
        ]
        samples = [_at_op(*columns)]
        random = np.random.default_rng(7)
        count = len(columns[0])
        for _ in range(rounds):
            drawn = random.integers(0, count, count)
            samples.append(_at_op(*(column[drawn] for column in columns)))
        table = np.array(samples)
        low, high = (
            np.percentile(table[1:], (2.5, 97.5), axis=0) if rounds else (table[0], table[0])
        )
        scores = np.concatenate([world.scores for _, _, world in self._parts])
        costs = np.concatenate([world.costs_usd for _, _, world in self._parts])
        return {
            "prompts": count,
            "models": scores.shape[1],
            "quality_at_op": round(table[0, 0], 2),
            "quality_at_op_ci": [round(low[0], 2), round(high[0], 2)],
            "saved_at_op": round(table[0, 1], 2),
            "saved_at_op_ci": [round(low[1], 2), round(high[1], 2)],
            "save_at_100": round(self._save_at_100(columns), 2),
            "baselines": _baselines(scores, costs, columns[2].mean(), columns[3].mean()),
        }

    def _save_at_100(self, columns: list[Floats]) -> float:
        """The most that any price saves at the best single model's quality, gate on or off."""
        count, best_quality, best_cost = len(columns[0]), columns[2].mean(), columns[3].mean()
        found = 0.0
        for price in PRICES.tolist():
            for is_gated in (True, False):
                quality = cost = 0.0
                for router, forecast, world in self._parts:
                    limit = router.most_novelty if is_gated else np.inf
                    chosen = forecast.choices(price, limit, router.best)
                    places = np.arange(len(world))
                    quality += world.scores[places, chosen].sum()
                    cost += world.costs_usd[places, chosen].sum()
                if quality / count >= best_quality:
                    found = max(found, 100 * (1 - cost / count / best_cost))
        return found


def _at_op(
    quality: Floats, cost: Floats, best_quality: Floats, best_cost: Floats
) -> tuple[float, float]:
    kept = 100 * quality.sum() / max(best_quality.sum(), 1e-9)
    return float(kept), float(100 * (1 - cost.sum() / best_cost.sum()))


def _baselines(scores: Floats, costs: Floats, quality: float, cost: float) -> dict[str, Any]:
    """Single models and mixtures, as [quality, saved] in % of the best single model's."""
    means, prices = scores.mean(axis=0), costs.mean(axis=0)
    right = np.where(scores == scores.max(axis=1, keepdims=True), costs, np.inf)

    def shown(reached: float, paid: float) -> list[float]:
        return [round(100 * float(reached) / quality, 1), round(100 * (1 - float(paid) / cost), 1)]

    cheapest, dearest = int(prices.argmin()), int(prices.argmax())
    return {
        "always_cheapest": shown(means[cheapest], prices[cheapest]),
        "always_most_expensive": shown(means[dearest], prices[dearest]),
        "best_single": [100.0, 0.0],
        "random": shown(means.mean(), prices.mean()),
        "oracle": shown(scores.max(axis=1).mean(), right.min(axis=1).mean()),
    }


def judge_worlds(public: Rows, unseen: Rows | None, *, quick: bool) -> dict[str, Any]:
    """Every world: figures in distribution, and out of it."""
    found: dict[str, Any] = {"worlds": {}, "ood": {}}
    rounds = 200 if quick else 1000
    for name, prefix in WORLDS.items():
        world = world_of([row for row in public if row["benchmark"].startswith(prefix)])
        if unseen is None:
            judged = _folds(world, 1 if quick else FOLDS)
            found["worlds"][name] = judged.figures(rounds)
            if not quick:
                found["ood"].update(_left_out(name, world))
            continue
        rows = [row for row in unseen if row["benchmark"].startswith(prefix)]
        router = WorldRouter(world)
        for key, is_ood in (("worlds", False), ("ood", True)):
            part = [row for row in rows if bool(row.get("ood")) is is_ood]
            judged = Judged()
            if part and len(unknown := world_of(part, world.models)):
                judged.add(router, unknown)
                found[key][name] = judged.figures(rounds)
    figures = list(found["worlds"].values())
    for key in ("quality_at_op", "saved_at_op", "save_at_100"):
        if figures:
            found[key] = round(sum(one[key] for one in figures) / len(figures), 2)
    return found


def _folds(world: World, count: int) -> Judged:
    fold = np.random.default_rng(0).permutation(len(world)) % FOLDS
    judged = Judged()
    for one in range(count):
        judged.add(WorldRouter(world.take(fold != one)), world.take(fold == one))
    return judged


def _left_out(name: str, world: World) -> dict[str, Any]:
    """Each domain with the whole of it left out of the fit."""
    router = WorldRouter(world)
    places, chosen = router.left_out()
    if not len(places):
        return {}
    scores, costs = world.scores, world.costs_usd
    kept, saved = _at_op(
        scores[places, chosen],
        costs[places, chosen],
        scores[places, router.best],
        costs[places, router.best],
    )
    return {name: {"quality_at_op": round(kept, 2), "saved_at_op": round(saved, 2)}}


def apgr_of(wants_strong: Floats, weak: Floats, strong: Floats) -> tuple[float, float, float]:
    """RouteLLM's average gap recovered, and the calls in % for half and four fifths of the gap."""
    order = np.argsort(-wants_strong, kind="stable")
    gained = np.concatenate(([0.0], np.cumsum((strong - weak)[order]))) / len(order)
    recovered = gained / gained[-1]
    calls = np.linspace(0, 100, len(recovered))
    at = [float(calls[int((recovered >= share).argmax())]) for share in (0.5, 0.8)]
    return float(np.trapezoid(recovered, calls) / 100), at[0], at[1]


def judge_routellm(public: Rows, unseen: Rows | None, *, quick: bool) -> dict[str, Any]:
    """RouteLLM's MMLU: who of the two answers, by the difference expected."""
    pair = (WEAK, STRONG)
    world = world_of([row for row in public if row["benchmark"] == "rl_mmlu"], pair)
    if unseen is None:
        fold = np.random.default_rng(0).permutation(len(world)) % (FOLDS if quick else 10)
        gains = np.zeros(len(world))
        for one in range(int(fold.max()) + 1):
            router = WorldRouter(world.take(fold != one), is_gated=False)
            gains[fold == one] = _gain(router, world.take(fold == one).texts)
        return _routellm_figures(gains, world, 200 if quick else 1000)
    router = WorldRouter(world, is_gated=False)
    found: dict[str, Any] = {}
    for benchmark in ("rl_mmlu", "rl_gsm8k", "rl_mtbench"):
        rows = [row for row in unseen if row["benchmark"] == benchmark]
        if rows:
            judged = world_of(rows, pair)
            figures = _routellm_figures(_gain(router, judged.texts), judged, 200 if quick else 1000)
            tail = "" if benchmark == "rl_mmlu" else f"_{benchmark[3:]}"
            found.update({f"{key}{tail}": value for key, value in figures.items()})
    return found


def _gain(router: WorldRouter, texts: Sequence[str]) -> Floats:
    """What the strong model is expected to win."""
    quality = router.forecast(texts).quality
    return quality[:, 1] - quality[:, 0]


def _routellm_figures(gains: Floats, world: World, rounds: int) -> dict[str, Any]:
    weak, strong = world.scores[:, 0], world.scores[:, 1]
    apgr, cpt50, cpt80 = apgr_of(gains, weak, strong)
    random = np.random.default_rng(7)
    drawn = [random.integers(0, len(world), len(world)) for _ in range(rounds)]
    samples = [apgr_of(gains[one], weak[one], strong[one])[0] for one in drawn]
    length = np.array([float(len(text)) for text in world.texts])
    return {
        "apgr": round(apgr, 4),
        "apgr_ci": [round(float(one), 4) for one in np.percentile(samples, (2.5, 97.5))],
        "cpt50": round(cpt50, 2),
        "cpt80": round(cpt80, 2),
        "apgr_baselines": {
            "random": round(apgr_of(random.random(len(world)), weak, strong)[0], 4),
            "prompt_length": round(apgr_of(length, weak, strong)[0], 4),
            **PUBLISHED,
        },
        "apgr_prompts": len(world),
    }


def judge_kinds(folder: Path) -> dict[str, Any]:
    """The task classifier on files of labelled prompts (`tasktype*`), where DIR has some."""
    import gzip
    import json

    classifier = TaskClassifier(remembered=0)
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("tasktype*.jsonl*")):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        right: list[bool] = [
            classifier.classify(ChatRequest.from_text(row["text"])).type == row["label"]
            for row in rows
        ]
        found[path.name] = {"accuracy": round(sum(right) / len(right), 4), "prompts": len(right)}
    return found


def stability(router: Router, texts: Sequence[str]) -> float:
    """Share of light rewordings that keep the model chosen, in %."""
    classifier = TaskClassifier()

    def chosen(text: str) -> str:
        request = ChatRequest.from_text(text)
        return router.route(request, classifier.classify(request)).chosen.model

    kept = [chosen(text) == chosen(other) for text in texts for other in _reworded(text)]
    return 100 * sum(kept) / len(kept)


def _reworded(text: str) -> tuple[str, ...]:
    """The same said a little differently."""
    return (
        f"Please help me with this. {text}",
        f"{text}\nThank you!",
        text.replace("What is", "What's").replace("do not", "don't"),
        text.lower(),
    )


def measure_speed(report: Report, *, quick: bool) -> None:
    """A decision over the shipped catalogue, classification included; CPU time of each."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    router, classifier = Router(), TaskClassifier()
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
                f"decision, {len(Catalogue.shipped())} models", f"{kind} {name}", "µs", [value]
            )


def main() -> None:
    """Measure, print, write."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, metavar="DIR", help="judge on this split")

    options = arguments(__doc__, extend)
    report = Report()
    measure_speed(report, quick=options.quick)
    public = list(rows_of(PUBLIC))
    unseen = list(rows_of(options.data)) if options.data else None
    aggregate = judge_worlds(public, unseen, quick=options.quick)
    aggregate.update(judge_routellm(public, unseen, quick=options.quick))
    texts = [row["prompt"] for row in public[:: 200 if options.quick else 40]]
    aggregate["stability"] = round(stability(Router(), texts), 2)
    if options.data:
        aggregate["task_types"] = judge_kinds(options.data)
    aggregate["split"] = str(options.data) if options.data else "public, cross-validated"
    add_figures(report, aggregate)
    report.more["aggregate"] = aggregate
    report.finish(options)


def add_figures(report: Report, aggregate: dict[str, Any]) -> None:
    """The figures as rows of the table."""
    parts: list[tuple[str, dict[str, Any]]] = list(aggregate["worlds"].items())
    parts += [(f"{name}, unknown domains", figures) for name, figures in aggregate["ood"].items()]
    parts += [("five worlds", aggregate), ("RouteLLM MMLU", aggregate)]
    for title, figures in parts:
        metrics = _OF_ROUTELLM if title == "RouteLLM MMLU" else _OF_WORLDS
        for metric in (one for one in metrics if one in figures):
            unit = "" if metric == "apgr" else "%"
            report.add(title, metric, unit, [figures[metric]])
    report.add("light rewordings", "same model", "%", [aggregate["stability"]])


_OF_WORLDS = ("quality_at_op", "saved_at_op", "save_at_100")
_OF_ROUTELLM = ("apgr", "cpt50", "cpt80")


if __name__ == "__main__":
    main()
