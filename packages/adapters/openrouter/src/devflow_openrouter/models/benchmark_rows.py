"""Reads rows of OpenRouter's `GET /benchmarks` as scores of models."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

from devflow_core.messages import JsonObject
from devflow_core.wire import json_lenient as lenient
from devflow_routing.evidence.benchmarks import Benchmark
from devflow_routing.evidence.scores import Score

MAX_ROWS = 20_000
"""The most rows that are read; October 2026 had 1,603."""
MAX_NAME_LENGTH = 200
MAX_STDDEV = 0.09
"""The deviation between runs of one model above which a run was broken: another model answered, or
none did. Of 293 results of October 2026, seven were beyond it."""
_SETTINGS = re.compile(r"\(([^()]*)\)")

_INDICES = {
    "coding_index": "aa-coding",
    "intelligence_index": "aa-intelligence",
    "agentic_index": "aa-agentic",
}
_RUNS = {"gpqa_diamond": "or-gpqa-diamond", "tau_bench_verified_airline": "or-tau-airline"}
_ARENA = (
    "codecategories", "website", "gamedev", "3d", "dataviz", "svg", "uicomponent", "asciiart",
)  # fmt: skip


def _benchmark(key: str, name: str, kind: str, noise: float) -> Benchmark:
    """Return a benchmark of general ability; those for agents tell that axis beside it."""
    is_index = key.startswith("aa-")
    is_agentic = kind == "planning"
    return Benchmark(
        key=key,
        name=name,
        publisher="Artificial Analysis via OpenRouter" if is_index else "OpenRouter",
        kind=kind,
        unit="points" if is_index else "share",
        loading=0.9,
        axis="agentic" if is_agentic else None,
        axis_loading=(0.3 if is_index else 0.2) if is_agentic else 0.0,
        noise=noise,
    )


BENCHMARKS: tuple[Benchmark, ...] = (
    _benchmark("aa-coding", "Coding Index", "coding", 0.12),
    _benchmark("aa-intelligence", "Intelligence Index", "reasoning", 0.2),
    _benchmark("aa-agentic", "Agentic Index", "planning", 0.12),
    _benchmark("or-gpqa-diamond", "GPQA Diamond", "reasoning", 0.15),
    _benchmark("or-tau-airline", "τ-bench airline", "planning", 0.3),
    *(
        Benchmark(
            key=f"arena-{category}",
            name=f"Design Arena {category}",
            publisher="Design Arena via OpenRouter",
            kind="coding",
            unit="points",
            loading=0.85,
            # the same voters judge all eight: together they count like one
            noise=1.2,
        )
        for category in _ARENA
    ),
)
"""What OpenRouter relays and runs itself, with how well it goes with all other benchmarks.

None has a scale: Artificial Analysis moved its indices between July and October 2026 (one model
from 50.1 to 34.0), and arenas drift. Search benchmarks are left out: three or four models
are in each.
"""


def read_rows(body: Mapping[str, Any]) -> list[Score]:
    """Return the scores of a body of `GET /benchmarks`; rows that cannot be read are left out."""
    rows = lenient.as_objects(body.get("data"))[:MAX_ROWS]
    as_of = _read_day(lenient.as_object(body.get("meta")).get("as_of"))
    return [score for row in rows for score in _read_row(row, as_of)]


def _read_row(row: JsonObject, as_of: date | None) -> Iterator[Score]:
    model = lenient.as_text(row.get("model_permaslug"))
    shown_as = lenient.as_text(row.get("display_name")) or ""
    if not model or max(len(model), len(shown_as)) > MAX_NAME_LENGTH:
        return
    effort = ", ".join(_SETTINGS.findall(shown_as))
    for benchmark, value in _read_values(row):
        yield Score(
            model=model,
            benchmark=benchmark,
            value=value,
            date=_read_day(row.get("last_run_timestamp")) or as_of,
            effort=effort,
            shown_as=shown_as,
        )


def _read_values(row: JsonObject) -> Iterator[tuple[str, float]]:
    source = row.get("source")
    if source == "artificial-analysis":
        for field, key in _INDICES.items():
            value = _as_number(row.get(field))
            if value is not None:
                yield key, value
    elif source == "design-arena":
        value, category = _as_number(row.get("elo")), row.get("category")
        if value is not None and row.get("arena") == "models" and category in _ARENA:
            yield f"arena-{category}", value
    elif source == "openrouter":
        value, key = _as_number(row.get("accuracy")), _RUNS.get(str(row.get("benchmark_type")))
        deviation = _as_number(row.get("accuracy_stddev")) or 0.0
        if value is not None and key is not None and 0 <= value <= 1 and deviation <= MAX_STDDEV:
            yield key, value


def _as_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _read_day(value: object) -> date | None:
    text = lenient.as_text(value)
    try:
        return datetime.fromisoformat(text).date() if text else None
    except ValueError:
        return None
