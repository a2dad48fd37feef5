"""Measures the choice of a model on recorded answers, through the router that ships.

    uv run python benchmarks/routing.py [--quick] [--json FILE] [--data DIR] [--worlds RB,ZE]

Tables are learned by the product's `train`, as `devflow routing train` does it; every choice is
`Router.route`'s over a catalogue of the models that the answers are of. This file holds no router
and no classifier of its own. The operating point is part of the table: it is chosen on the prompts
that were learned from alone.

Without `--data`: cross-validated over the public prompts in `benchmarks/data/routing` (five folds,
ten for RouteLLM; with `--quick` one of five, and five for RouteLLM), and each domain in turn left
out of everything, unless `--quick`. That takes ten minutes on a free core; `--worlds` takes some of
the worlds. With `--data`: learned from
all the public prompts, judged on the rows in DIR (`*.jsonl`, `*.jsonl.gz`, same form) that are not
among them. Rows with `ood` are judged apart, SWE-bench's only under `simulated`. Nothing in DIR is
learned from, and no set in it is dropped without being named.

Per world, in % of the best single model as the learned examples name it: `quality` and `saved`,
with intervals of 95 %. `apgr`, `cpt50`, `cpt80`: RouteLLM's metric, by the expected gain of the
strong model in `Router.explain`.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from devflow_core.request import ChatRequest
from devflow_core.routing import SelectionCriteria
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import LearnedTable, Router, TaskClassifier
from devflow_routing.training.answers import Answers, arrange_answers
from devflow_routing.training.cross_validation import join_judgements
from devflow_routing.training.evaluate import Judgement, build_catalogue, judge_router
from devflow_routing.training.examples import Example
from devflow_routing.training.train import train
from harness import Report, parse_arguments
from numpy.typing import NDArray
from routing_judged import find_baselines, interval, resample
from routing_rows import (
    ROUTELLM,
    SWE_BENCH,
    WORLDS,
    Rows,
    domain_of,
    find_models,
    make_examples,
    read_rows,
    read_unseen,
    rows_of_world,
)
from routing_simulated import (
    CHEAP_PRIORITY,
    check_then_best,
    judge_swe_bench,
    select_free_form,
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

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
CLASSIFIER = TaskClassifier(cache_size=0)
CHECKED = SelectionCriteria(cost_priority=CHEAP_PRIORITY)


class Judged:
    """Choices of one world, joined over folds or left-out domains.

    Args:
        rounds: how many resamples its intervals are made of.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self.parts: list[tuple[Answers, Judgement]] = []
        self.checked: list[Judgement] = []
        self.checked_free: list[Judgement] = []

    def judge(self, table: LearnedTable, examples: Sequence[Example]) -> Judgement:
        """Ask the router about examples, and simulate a check behind a cheaper pick."""
        answers = arrange_answers(examples, CLASSIFIER, table.models)
        best = table.models[table.best]
        found = judge_router(answers, learned=table, best=best)
        cheap = judge_router(answers, learned=table, best=best, criteria=CHECKED)
        self.parts.append((answers, found))
        self.checked.append(check_then_best(cheap))
        free = select_free_form(answers)
        if free.any():
            chosen = judge_router(answers.select(free), learned=table, best=best, criteria=CHECKED)
            self.checked_free.append(check_then_best(chosen))
        return found

    def samples(self) -> Floats:
        """Return quality and saving: as measured, then of resampled prompts."""
        return resample(join_judgements([one for _, one in self.parts]), self._rounds)

    def figures(self) -> dict[str, Any]:
        """Return the world's figures."""
        judgement = join_judgements([one for _, one in self.parts])
        scores = np.concatenate([answers.scores for answers, _ in self.parts])
        costs = np.concatenate([answers.costs_usd for answers, _ in self.parts])
        whole = replace(self.parts[0][0], scores=scores, costs_usd=costs)
        return {
            "prompts": len(scores),
            "models": scores.shape[1],
            **interval(self.samples()),
            "baselines": find_baselines(whole, judgement),
        }


def judge_worlds(
    public: Rows, unseen: Rows | None, names: Sequence[str], *, quick: bool
) -> dict[str, Any]:
    """Judge every world, in known domains and in unknown ones."""
    rounds = 200 if quick else 1000
    known = {name: Judged(rounds) for name in names}
    unknown = {name: Judged(rounds) for name in names}
    domains: dict[str, Any] = {}
    for name in names:
        rows = rows_of_world(public, name)
        models = find_models(rows)
        examples = make_examples(rows, models)
        if unseen is not None:
            own = rows_of_world(unseen, name)
            _judge_unseen(examples, own, models, known[name], unknown[name], domains)
            continue
        _judge_folds(examples, known[name], 1 if quick else FOLDS)
        if not quick:
            _judge_left_out(examples, unknown[name], domains)
    return {
        "worlds": _figures(known),
        "mean": _mean(known),
        "unknown": _figures(unknown),
        "unknown_mean": _mean(unknown),
        "unknown_domains": domains,
        "simulated": _simulated(known),
    }


def _judge_folds(examples: list[Example], judged: Judged, count: int) -> None:
    fold = np.random.default_rng(0).permutation(len(examples)) % FOLDS
    for one in range(count):
        judged.judge(_learn(examples, fold != one), _select(examples, fold == one))


def _judge_left_out(examples: list[Example], judged: Judged, domains: dict[str, Any]) -> None:
    """Judge each domain by a table learned without it, its gate and operating point included."""
    names = np.array([one.domain for one in examples])
    for name in sorted(set(names.tolist())):
        found = judged.judge(_learn(examples, names != name), _select(examples, names == name))
        domains[name] = _in_percent(found)


def _judge_unseen(
    examples: list[Example],
    rows: Rows,
    models: tuple[str, ...],
    known: Judged,
    unknown: Judged,
    domains: dict[str, Any],
) -> None:
    """Judge the rows in DIR by a table learned from all the public ones."""
    if not rows:
        return
    table = train(examples, classifier=CLASSIFIER)
    inside = make_examples([row for row in rows if not row.get("ood")], models)
    if inside:
        known.judge(table, inside)
    for name in sorted({domain_of(row) for row in rows if row.get("ood")}):
        own = [row for row in rows if row.get("ood") and domain_of(row) == name]
        if part := make_examples(own, models):
            domains[name] = _in_percent(unknown.judge(table, part))


def _select(examples: list[Example], places: Flags) -> list[Example]:
    return [one for one, is_in in zip(examples, places, strict=True) if is_in]


def _learn(examples: list[Example], places: Flags) -> LearnedTable:
    return train(_select(examples, places), classifier=CLASSIFIER)


def _in_percent(found: Judgement) -> dict[str, Any]:
    quality, saved = round(100 * found.quality_kept, 2), round(100 * found.saved, 2)
    return {"prompts": len(found.scores), "quality": quality, "saved": saved}


def _figures(worlds: dict[str, Judged]) -> dict[str, Any]:
    return {name: one.figures() for name, one in worlds.items() if one.parts}


def _mean(worlds: dict[str, Judged]) -> dict[str, Any]:
    """Return the means over the worlds, with equal weights."""
    samples = [one.samples() for one in worlds.values() if one.parts]
    if not samples:
        return {}
    lowest = min(float(one[0, 0]) for one in samples)
    return {**interval(np.mean(samples, axis=0)), "lowest_quality": round(lowest, 2)}


def _simulated(worlds: dict[str, Judged]) -> dict[str, Any]:
    """Return what a check behind a cheaper pick would bring: means of the worlds."""
    found: dict[str, Any] = {}
    groups: dict[str, Callable[[Judged], list[Judgement]]] = {
        "check": lambda one: one.checked,
        "check_free_form": lambda one: one.checked_free,
    }
    for key, parts_of in groups.items():
        parts = [join_judgements(own) for one in worlds.values() if (own := parts_of(one))]
        if parts:
            found[key] = interval(np.mean([resample(one, 200) for one in parts], axis=0))
    return found


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
    """Judge RouteLLM's sets: which of two models answers, by the expected difference."""
    pair, rounds = (WEAK, STRONG), 200 if quick else 1000
    examples = make_examples([row for row in public if row["benchmark"] == ROUTELLM[0]], pair)
    if unseen is None:
        fold = np.random.default_rng(0).permutation(len(examples)) % (FOLDS if quick else 10)
        gains = np.zeros(len(examples))
        for one in range(int(fold.max()) + 1):
            part = arrange_answers(_select(examples, fold == one), CLASSIFIER, pair)
            gains[fold == one] = _expected_gain(_learn(examples, fold != one), part)
        answers = arrange_answers(examples, CLASSIFIER, pair)
        return {ROUTELLM[0]: _routellm_figures(gains, answers, rounds)}
    table = train(examples, classifier=CLASSIFIER)
    results: dict[str, Any] = {}
    for name in ROUTELLM:
        part = make_examples([row for row in unseen if row["benchmark"] == name], pair)
        if part:
            answers = arrange_answers(part, CLASSIFIER, pair)
            results[name] = _routellm_figures(_expected_gain(table, answers), answers, rounds)
    return results


def _expected_gain(table: LearnedTable, answers: Answers) -> Floats:
    """Return the expected gain of the strong model over the weak one, as the router explains it."""
    router = Router(build_catalogue(answers), learned=table)
    gains: list[float] = []
    for task in answers.tasks:
        route = router.explain(ChatRequest.from_text(task.text, model="auto"), task)
        quality = {one.model: one.terms.quality for one in route.candidates if one.terms}
        gains.append(quality.get(STRONG, 0.0) - quality.get(WEAK, 0.0))
    return np.array(gains)


def _routellm_figures(gains: Floats, answers: Answers, rounds: int) -> dict[str, Any]:
    weak, strong = answers.scores[:, 0], answers.scores[:, 1]
    apgr, cpt50, cpt80 = compute_apgr(gains, weak, strong)
    random = np.random.default_rng(7)
    resamples = [random.integers(0, len(answers), len(answers)) for _ in range(rounds)]
    samples = [compute_apgr(gains[one], weak[one], strong[one])[0] for one in resamples]
    length = np.array([float(len(task.text)) for task in answers.tasks])
    return {
        "prompts": len(answers),
        "apgr": round(apgr, 4),
        "apgr_ci": [round(float(one), 4) for one in np.nanpercentile(samples, (2.5, 97.5))],
        "cpt50": round(cpt50, 2),
        "cpt80": round(cpt80, 2),
        "baselines": {
            "random": round(compute_apgr(random.random(len(answers)), weak, strong)[0], 4),
            "prompt_length": round(compute_apgr(length, weak, strong)[0], 4),
            **PUBLISHED_APGR,
        },
    }


def measure_speed(report: Report, public: Rows, *, quick: bool) -> None:
    """Measure the CPU time of a decision on fresh prompts of 2,000 tokens, and the memory."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    catalogue = load_shipped_catalogue()
    routers = {"by evidence": Router(catalogue)}
    routers["by evidence"].route(ChatRequest.from_text("warm"), CLASSIFIER.classify(_WARM))
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    report.add("memory of router and classifier", "peak growth", "MB", [grown_mb])
    table = _name_as_listed(
        train(make_examples(rows_of_world(public, "BF"), _FEW), classifier=CLASSIFIER)
    )
    routers["with a learned table"] = Router(catalogue, learned=table)
    words = np.array((PUBLIC / "MANIFEST.md").read_text().split())
    random = np.random.default_rng(3)
    count = 300 if quick else 2000
    for name, router in routers.items():
        texts = [" ".join(random.choice(words, 1400).tolist())[:8000] for _ in range(count)]
        took_us: list[float] = []
        for request in [ChatRequest.from_text(text, model="auto") for text in texts]:
            start_ns = time.process_time_ns()
            router.route(request, CLASSIFIER.classify(request))
            took_us.append((time.process_time_ns() - start_ns) / 1000)
        for share in (50, 99):
            value = float(np.percentile(took_us, share))
            report.add(f"decision, {len(catalogue)} models, {name}", f"p{share}", "µs", [value])


_WARM = ChatRequest.from_text("warm")
_FEW = ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "gpt-3.5-turbo-0125")
_LISTED = ("openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-3.5-turbo")


def _name_as_listed(table: LearnedTable) -> LearnedTable:
    names = dict[str, str](zip(_FEW, _LISTED, strict=True))
    return replace(table, models=tuple(names[one] for one in table.models))


def main() -> None:
    """Run the benchmark."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, metavar="DIR", help="judge on this split")
        parser.add_argument("--worlds", default=",".join(WORLDS), help="judge these alone")

    options = parse_arguments(__doc__, extend)
    report = Report()
    public = list(read_rows(PUBLIC))
    unseen = read_unseen(options.data, public) if options.data else None
    measure_speed(report, public, quick=options.quick)
    aggregate = judge_worlds(public, unseen, options.worlds.split(","), quick=options.quick)
    aggregate["routellm"] = judge_routellm(public, unseen, quick=options.quick)
    if swe := [row for row in unseen or [] if row["benchmark"] == SWE_BENCH]:
        aggregate["simulated"]["swe_bench_chain"] = judge_swe_bench(swe)
    aggregate["not_judged"] = _name_others(unseen or [])
    aggregate["split"] = str(options.data) if options.data else "public, cross-validated"
    add_figures(report, aggregate)
    report.more["aggregate"] = aggregate
    report.finish(options)


def _name_others(rows: Rows) -> dict[str, int]:
    """Return the benchmarks in DIR that nothing was learned for, with their numbers of rows."""
    known = (*WORLDS.values(), *ROUTELLM, SWE_BENCH)
    return dict(Counter(row["benchmark"] for row in rows if not row["benchmark"].startswith(known)))


def add_figures(report: Report, aggregate: dict[str, Any]) -> None:
    """Add the figures to the report's table."""
    parts: list[tuple[str, dict[str, Any]]] = list(aggregate["worlds"].items())
    parts += [("mean of the worlds", aggregate["mean"])]
    parts += [(f"{name}, unknown domains", one) for name, one in aggregate["unknown"].items()]
    parts += [("mean, unknown domains", aggregate["unknown_mean"])]
    parts += [(f"RouteLLM {name}", one) for name, one in aggregate["routellm"].items()]
    parts += [(f"simulated: {name}", one) for name, one in aggregate["simulated"].items()]
    for title, figures in parts:
        for metric in ("quality", "saved", "lowest_quality", "apgr", "cpt50", "cpt80"):
            if metric in figures:
                unit = "" if metric == "apgr" else "%"
                report.add(title, metric, unit, [figures[metric]])


if __name__ == "__main__":
    main()
