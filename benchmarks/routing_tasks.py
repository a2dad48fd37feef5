"""Measures the task classifier: kinds, difficulty, paraphrases, languages, and its time.

    uv run python benchmarks/routing_tasks.py [--quick] [--json FILE] [--data DIR]

Kinds are judged by `TaskClassifier` with a model that is trained as the shipped one is, on four
fifths of the labelled prompts, and with a whole source left out. Languages and paraphrases are
judged by the shipped one, on requests that were written to measure with. With `--data`, labelled
prompts of other sources are judged as well: `tasktype*.jsonl.gz` (`text`, `label`, `source`) and
`complexity*.jsonl.gz` (`text`, `label`: low, medium or high).
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from devflow_core.request import ChatRequest
from devflow_core.routing import Task
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Router, TaskClassifier
from devflow_routing.training.classifier import (
    LABELLED_SOURCES,
    OUTCOME_BENCHMARKS,
    WRITTEN,
    Example,
    read_examples,
    read_labelled,
    train_classifier,
)
from harness import Report, parse_arguments
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data" / "routing"
FOLDS = 5
DIFFICULTY_FOLDS = 2
"""Each is a training of the whole model, of half a minute."""
MEASURED_SOURCES = ("swe-bench-verified",)
"""Labelled sources that are measured on and never trained on."""
LEFT_OUT = ("arena-hard-v2.0", "biggen-bench", "vicuna-80")
"""Sources that are left out as a whole, to see what is reached on a style that was never seen."""

Flags = NDArray[np.bool_]


def interval(right: Sequence[bool] | Flags) -> tuple[float, float, float]:
    """Return a share in %, with its 95 % interval by bootstrap."""
    values = np.asarray(right, dtype=np.float64)
    draws = np.random.default_rng(5).integers(0, len(values), (1000, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return 100 * float(values.mean()), 100 * float(low), 100 * float(high)


class Figures:
    """Collects shares for the report, and prints them as a table for docs/routing.md."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.rows: list[str] = []

    def add(self, name: str, right: Sequence[bool] | Flags) -> None:
        """Add a share with its interval."""
        share, low, high = interval(right)
        self._report.add(name, "share", "%", [share])
        self.rows.append(f"| {name} | {len(right):,} | {share:.1f} [{low:.1f}, {high:.1f}] |")


def classify(classifier: TaskClassifier, text: str) -> Task:
    """Return the task of one prompt without anything around it."""
    return classifier.classify(ChatRequest.from_text(text))


class Asked:
    """What the shipped classifier and the shipped router say to prompts."""

    def __init__(self) -> None:
        self._classifier = TaskClassifier(cache_size=0)
        self._router = Router(load_shipped_catalogue())

    def read(self, text: str) -> tuple[Task, str]:
        """Return the task of a prompt, and the model that `auto` chooses for it."""
        request = ChatRequest.from_text(text, model="auto")
        task = self._classifier.classify(request)
        return task, self._router.route(request, task).chosen.model


def _is_alike(one: Task, other: Task) -> bool:
    return (one.type, one.complexity) == (other.type, other.complexity)


def judge_kinds(figures: Figures, *, quick: bool) -> None:
    """Judge kinds of task on prompts and sources that the model was not trained on."""
    learnable = [one for one in read_examples(DATA) if one.kind is not None]
    labelled = [one for one in learnable if one.source in LABELLED_SOURCES]
    measured = read_labelled(DATA, MEASURED_SOURCES)
    groups = sorted({one.group for one in learnable})
    order = np.random.default_rng(0).permutation(len(groups)) % FOLDS
    folds = dict(zip(groups, order.tolist(), strict=True))
    right: dict[str, bool] = {}
    for fold in range(1 if quick else FOLDS):
        classifier = _train([one for one in learnable if folds[one.group] != fold])
        for one in labelled:
            if folds[one.group] == fold:
                right[one.group] = classify(classifier, one.text).type == one.kind
    figures.add("kinds, five folds", list(right.values()))
    for source in LEFT_OUT:
        figures.add(
            f"kinds, five folds: {source}",
            [right[one.group] for one in labelled if one.source == source and one.group in right],
        )
    for source in () if quick else LEFT_OUT:
        classifier = _train([one for one in learnable if one.source != source])
        members = [one for one in labelled if one.source == source]
        figures.add(f"kinds, {source} left out", _are_right(classifier, members))
    shipped = TaskClassifier(cache_size=0)
    figures.add("kinds, issues of SWE-bench (never trained on)", _are_right(shipped, measured))


def _train(examples: list[Example]) -> TaskClassifier:
    return TaskClassifier(train_classifier(examples), cache_size=0)


def _are_right(classifier: TaskClassifier, examples: list[Example]) -> list[bool]:
    return [classify(classifier, one.text).type == one.kind for one in examples]


def judge_measured_requests(figures: Figures) -> None:
    """Judge the shipped classifier on requests in seven languages, and on their paraphrases."""
    asked = Asked()
    kinds: dict[str, list[bool]] = {}
    bands: list[bool] = []
    alike: list[bool] = []
    same: list[bool] = []
    for language, kind, band, *texts in read_measured_requests():
        (one, model), (other, other_model) = (asked.read(text) for text in texts)
        kinds.setdefault(language, []).extend(task.type == kind for task in (one, other))
        bands += [task.complexity == band for task in (one, other) if band != "-"]
        alike.append(_is_alike(one, other))
        same.append(model == other_model)
    figures.add("kinds, written requests", [one for found in kinds.values() for one in found])
    for language, found in kinds.items():
        figures.add(f"kinds, written requests: {language}", found)
    figures.add("difficulty in the right third, written requests", bands)
    figures.add("paraphrases, same model of auto", same)
    figures.add("paraphrases, same kind and third", alike)


def read_measured_requests() -> list[list[str]]:
    """Return language, kind, band, text and paraphrase of each."""
    lines = (DATA / "measured_requests.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("# ")]


def judge_rewordings(figures: Figures, *, quick: bool) -> None:
    """Judge whether light rewordings of public prompts stay of the same kind and third."""
    asked = Asked()
    texts = [row["prompt"] for row in _read_rows(DATA / "public.jsonl.gz")][:: 400 if quick else 20]
    read = [(asked.read(text), text) for text in texts]
    pairs = [(one, asked.read(other)) for one, text in read for other in _reword(text)]
    figures.add("light rewordings, same model of auto", [a[1] == b[1] for a, b in pairs])
    figures.add("light rewordings, same kind and third", [_is_alike(a[0], b[0]) for a, b in pairs])


def _reword(text: str) -> tuple[str, ...]:
    return (
        f"Please help me with this. {text}",
        f"{text}\nThank you!",
        text.replace("What is", "What's").replace("do not", "don't"),
        text.lower(),
    )


def judge_difficulty(report: Report, *, quick: bool) -> list[str]:
    """Judge difficulty by what a small model failed at, on prompts and benchmarks left out."""
    examples = read_examples(DATA)
    outcomes = [one for one in examples if one.source in OUTCOME_BENCHMARKS]
    fold = np.random.default_rng(1).permutation(len(outcomes)) % DIFFICULTY_FOLDS
    groups = sorted({one.source for one in outcomes})
    part = np.array([groups.index(one.source) % DIFFICULTY_FOLDS for one in outcomes])
    lines: list[str] = []
    for name, parts in (("prompts left out", fold), ("benchmarks left out", part)):
        rated = np.zeros(len(outcomes))
        for one in range(1 if quick else DIFFICULTY_FOLDS):
            held = [outcomes[index] for index in np.flatnonzero(parts == one)]
            hidden = {other.text for other in held}
            classifier = _train([other for other in examples if other.text not in hidden])
            rated[parts == one] = [classify(classifier, other.text).difficulty for other in held]
        seen = rated > 0
        failed = np.array([one.difficulty or 0.0 for one in outcomes])
        value = rank_correlation(rated[seen], failed[seen])
        report.add(f"difficulty, {name}", "rank correlation with failures", "", [value])
        lines.append(
            f"| difficulty, {name}: rank correlation with failures | {seen.sum():,} | {value:.2f} |"
        )
    return lines


def rank_correlation(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return Spearman's correlation; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def judge_folder(figures: Figures, folder: Path) -> None:
    """Judge the shipped classifier on labelled prompts in a folder, by source."""
    classifier = TaskClassifier(cache_size=0)
    for path in sorted(folder.glob("tasktype*.jsonl.gz")):
        rows = [row for row in _read_rows(path) if row["source"] not in LABELLED_SOURCES]
        for source in sorted({row["source"] for row in rows}):
            members = [row for row in rows if row["source"] == source]
            figures.add(
                f"kinds, {source}",
                [classify(classifier, row["text"]).type == row["label"] for row in members],
            )
    for path in sorted(folder.glob("complexity*.jsonl.gz")):
        rows = _read_rows(path)
        figures.add(
            f"three classes, {path.name}",
            [classify(classifier, row["text"]).complexity == row["label"] for row in rows],
        )


def _read_rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def measure_time(report: Report, *, quick: bool) -> None:
    """Measure the CPU time of classifying fresh prompts of about 2,000 tokens."""
    words = np.array((DATA / "MANIFEST.md").read_text(encoding="utf-8").split())
    random = np.random.default_rng(3)
    count = 200 if quick else 2000
    requests = [
        ChatRequest.from_text(" ".join(random.choice(words, 1400).tolist())[:8000])
        for _ in range(count)
    ]
    classifier = TaskClassifier()
    took_us: list[float] = []
    for request in requests:
        start_ns = time.process_time_ns()
        classifier.classify(request)
        took_us.append((time.process_time_ns() - start_ns) / 1000)
    for share in (50, 99):
        value = float(np.percentile(took_us, share))
        report.add("classify 2,000 tokens", f"p{share} of CPU time", "µs", [value])


def main() -> None:
    """Run the benchmark."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, metavar="DIR", help="also judge on these")

    options = parse_arguments(__doc__, extend)
    report = Report()
    measure_time(report, quick=options.quick)
    figures = Figures(report)
    judge_measured_requests(figures)
    judge_rewordings(figures, quick=options.quick)
    judge_kinds(figures, quick=options.quick)
    if options.data:
        judge_folder(figures, options.data)
    figures.rows += judge_difficulty(report, quick=options.quick)
    report.more["table"] = ["| measured | prompts | % |", "| --- | --- | --- |", *figures.rows]
    report.more["written"] = WRITTEN
    report.finish(options)


if __name__ == "__main__":
    main()
