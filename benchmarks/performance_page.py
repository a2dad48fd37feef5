"""Writes docs/performance.md from its template and docs/performance-tables.md from all figures.

The template is `data/performance.md`. In it `@{suite|name|metric}` is a figure,
`@{ratio|suite|name|metric|peer}` its quotient by a peer's, and a word alone one of the tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scenes import DEVFLOW, VARIANTS
from targets import GOALS, Goal

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).parent / "data" / "performance.md"
PAGE = ROOT / "docs" / "performance.md"
TABLES = ROOT / "docs" / "performance-tables.md"
MISSING = "—"
GATEWAYS = (DEVFLOW, "tensorzero", "portkey", "claude-code-router", "litellm", "nginx")
COMPARED = (
    ("whole request, CPU µs", "whole/50: cpu"),
    ("whole requests a second, 64 connections", "whole/50: rate"),
    ("stream of 4 at once, CPU µs", "stream of 4: cpu"),
    ("stream of 50 at once, CPU µs", "stream of 50: cpu"),
    ("stream of 500 at once, CPU µs", "stream of 500: cpu"),
    ("a paced chunk, 32 streams, CPU µs", "paced chunk, 32 streams: cpu"),
    ("`/v1/messages`, CPU µs", "messages/50: cpu"),
    ("`/v1/messages`, stream of 50, CPU µs", "messages, stream of 50: cpu"),
    ("start to the first answer, s", "start"),
    ("memory, idle, MB", "memory, idle"),
    ("memory, after all of this, MB", "memory, after all"),
)
LATENCIES = (
    ("whole, 1 connection", "1 connection"),
    ("whole, 8 connections", "8 connections"),
    ("whole, 64 connections", "whole/50"),
    ("paced, 8 streams", "paced, 8 streams"),
    ("paced, 64 streams", "paced, 64 streams"),
    ("paced, 500 streams", "paced, 500 streams"),
    ("paced, 2,000 streams", "paced, 2,000 streams"),
)
SIZES = (
    ("1 kB", "8 connections"),
    ("10 kB", "agent, 10 kB"),
    ("100 kB", "agent, 100 kB"),
    ("430 kB", "agent, 430 kB"),
    ("1 MB", "agent, 1 MB"),
)


class Figures:
    """The figures of all suites.

    Args:
        documents: what each suite wrote, by its name.
    """

    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self.documents = documents
        self._medians = {
            (suite, row["name"], row["metric"]): float(row["median"])
            for suite, document in documents.items()
            for row in document["results"]
        }

    def get(self, suite: str, name: str, metric: str) -> float | None:
        """Return a figure's median; None if it was not measured."""
        return self._medians.get((suite, name, metric))

    def show(self, suite: str, name: str, metric: str, scale: float = 1.0) -> str:
        """Return a figure as it is written, or a dash."""
        value = self.get(suite, name, metric)
        return MISSING if value is None else format_figure(value * scale)

    def ratio(self, suite: str, name: str, metric: str, peer: str) -> str:
        """Return a figure over a peer's, or a dash."""
        value, other = self.get(suite, name, metric), self.get(suite, peer, metric)
        return format_figure(value / other) if value is not None and other else MISSING

    def judge(self, goal: Goal) -> tuple[str, str]:
        """Return what a goal's figure is, and whether it is reached."""
        value = self.get(goal.suite, goal.name, goal.metric)
        if value is not None and goal.over is not None:
            other = self.get(goal.suite, goal.over, goal.metric)
            value = value / other if other else None
        if value is None:
            return MISSING, "not measured"
        value *= goal.scale
        if value <= goal.limit:
            return format_figure(value), "reached"
        times = format_figure(value / goal.limit)
        return format_figure(value), f"{times} times the goal: {goal.obstacle}"


def write_pages(documents: Mapping[str, Mapping[str, Any]], suites: Mapping[str, str]) -> None:
    """Write both pages.

    Args:
        documents: what each suite wrote, by its name.
        suites: the title of each suite.
    """
    PAGE.write_text(render_page(Figures(documents)), encoding="utf-8")
    TABLES.write_text(render_tables(documents, suites), encoding="utf-8")


def render_page(figures: Figures) -> str:
    """Return docs/performance.md.

    Raises:
        KeyError: the template names a table that there is not.
    """

    def fill(match: re.Match[str]) -> str:
        kind, *words = match[1].replace("\n", " ").split("|")
        if not words:
            return _TABLES[kind](figures)
        return figures.ratio(*words) if kind == "ratio" else figures.show(kind, words[0], words[1])

    return re.sub(r"@\{([^}]+)\}", fill, TEMPLATE.read_text(encoding="utf-8"))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _present(figures: Figures) -> list[str]:
    return [name for name in GATEWAYS if figures.get("server", name, "start") is not None]


def _render_peers(figures: Figures) -> str:
    names = _present(figures)
    rows = [
        [label, *(figures.show("server", name, metric) for name in names)]
        for label, metric in COMPARED
    ]
    return _table(["", *names], rows)


def _render_latency(figures: Figures) -> str:
    names = _present(figures)

    def cell(name: str, scene: str) -> str:
        pair = [figures.show("server", name, f"{scene}: first p{one}") for one in (50, 99)]
        return MISSING if pair[0] == MISSING else " / ".join(pair)

    rows = [[label, *(cell(name, scene) for name in names)] for label, scene in LATENCIES]
    return _table(["", *names], rows)


def _render_sizes(figures: Figures) -> str:
    names = _present(figures)
    rows = [
        [label, *(figures.show("server", name, f"{scene}: cpu", 1e-3) for name in names)]
        for label, scene in SIZES
    ]
    return _table(["", *names], rows)


def _render_ways(figures: Figures) -> str:
    names = (DEVFLOW, *VARIANTS)
    metrics = ("ways/50: cpu", "ways/50: rate", "1 connection, ways: whole p50")
    head = ["", "CPU µs", "requests a second", "added at 1 connection, p50 µs"]
    rows = [[name, *(figures.show("server", name, metric) for metric in metrics)] for name in names]
    return _table(head, rows)


def _render_pipeline(figures: Figures) -> str:
    def cell(name: str) -> str:
        return figures.show("pipeline", name, "cpu_us")

    rows = [
        [kind, *(cell(f"{kind}/{chunks} + ledger") for chunks in (4, 50, 500))]
        for kind in ("named", "auto")
    ]
    rows.append(["named, ledger in memory", cell("named/4"), MISSING, MISSING])
    rows.append(
        ["auto, with a session's context", cell("auto/4 + ledger + context")] + [MISSING] * 2
    )
    return _table(["", "4 chunks", "50 chunks", "500 chunks"], rows)


def _render_goals(figures: Figures) -> str:
    rows = [
        [
            one.what + (" (design)" if one.asked_by == "design" else ""),
            f"≤ {format_figure(one.limit)} {one.unit}",
            *figures.judge(one),
        ]
        for one in GOALS
    ]
    return _table(["what", "goal", "measured", "reached, or what stands in the way"], rows)


def _render_absent(figures: Figures) -> str:
    absent: dict[str, str] = figures.documents.get("server", {}).get("absent", {})
    if not absent:
        return "Nothing."
    return "\n".join(f"* {name}: {' '.join(reason.split())}" for name, reason in absent.items())


def _newest(figures: Figures, part: str) -> str:
    document = next(iter(figures.documents.values()), None)
    values: dict[str, object] = {} if document is None else document[part]
    return ", ".join(f"{name} {value}" for name, value in values.items())


_TABLES: Mapping[str, Callable[[Figures], str]] = {
    "peers": _render_peers,
    "latency": _render_latency,
    "sizes": _render_sizes,
    "ways": _render_ways,
    "pipeline": _render_pipeline,
    "goals": _render_goals,
    "absent": _render_absent,
    "rows": lambda figures: f"{figures.documents['server']['rows']:,}",
    "machine": lambda figures: _newest(figures, "machine"),
    "versions": lambda figures: _newest(figures, "versions"),
}


def render_tables(documents: Mapping[str, Mapping[str, Any]], suites: Mapping[str, str]) -> str:
    """Return docs/performance-tables.md: every figure of every suite."""
    lines = [
        "# Every figure of the benchmarks",
        "",
        "Written by `make bench`; what they say is in [performance.md](performance.md).",
        "",
    ]
    for name, document in documents.items():
        lines += [f"## {suites[name]}", "", f"`uv run python benchmarks/{name}.py`", ""]
        lines += ["| what | metric | median | range of rounds | rounds | unit |"]
        lines += ["| --- | --- | ---: | ---: | ---: | --- |"]
        lines += [_render_row(one) for one in document["results"]] + [""]
    return "\n".join(lines)


def _render_row(one: Mapping[str, Any]) -> str:
    low, high = format_figure(one["min"]), format_figure(one["max"])
    span = f"{low} – {high}" if one["rounds"] > 1 else ""
    median, rounds = format_figure(one["median"]), str(one["rounds"])
    return f"| {' | '.join((one['name'], one['metric'], median, span, rounds, one['unit']))} |"


def format_figure(value: float) -> str:
    """Return a figure with three significant digits, or with thousands separated."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def read_documents(folder: Path, suites: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Return what the suites left in a folder, by their names."""
    return {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name in suites
        if (file := folder / f"{name}.json").is_file()
    }
