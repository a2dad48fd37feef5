"""Defines a score in a benchmark, and the evidence: all scores that are known at one time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from devflow_routing.evidence.benchmarks import Benchmark


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one model scored in one benchmark."""

    model: str
    """The model's id or its canonical slug, without a variant such as `:free`."""
    benchmark: str
    """The key of the benchmark."""
    value: float
    """The score, in the unit of the benchmark."""
    date: date | None = None
    """When it was measured or published."""
    effort: str = ""
    """The setting that it was measured with (`high`, `no thinking`); empty if it was not stated."""
    shown_as: str = ""
    """The name under which it was published; empty if the model's id was matched by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All scores that are known at one time; immutable."""

    scores: tuple[Score, ...] = ()
    benchmarks: Mapping[str, Benchmark] = field(default_factory=dict[str, Benchmark])
    """The benchmarks of the scores, by key."""
    twins: Mapping[str, str] = field(default_factory=dict[str, str])
    """Models that borrow another one's scores, because they are the same weights."""
    version: str = "none"
    """The name of these scores in decisions."""
    as_of: datetime | None = None
    """When the newest of them were collected, UTC; None: there are no scores."""
    is_fetched: bool = False
    """Whether scores that were fetched from the provider are among them."""
    is_invented: bool = False
    """Whether the fetched scores are a stand-in's."""

    def with_fetched(
        self,
        scores: Iterable[Score],
        benchmarks: Iterable[Benchmark],
        *,
        fetched_at: datetime,
        is_invented: bool = False,
    ) -> Evidence:
        """Return the evidence with scores from the provider added.

        Args:
            scores: the fetched scores; the same ones in the same order give, on the same day, the
                same version.
            benchmarks: their benchmarks.
            fetched_at: when they were fetched, UTC.
            is_invented: whether they are a stand-in's.
        """
        added = tuple(scores)
        rows = [(one.model, one.benchmark, one.value, one.effort) for one in added]
        digest = hashlib.sha256(orjson.dumps(rows)).hexdigest()[:6]
        day = fetched_at.astimezone(UTC).date()
        return replace(
            self,
            scores=self.scores + added,
            benchmarks={**self.benchmarks, **{one.key: one for one in benchmarks}},
            version=f"{self.version}+{'invented-' if is_invented else ''}{day}/{digest}",
            as_of=fetched_at,
            is_fetched=True,
            is_invented=is_invented,
        )


@cache
def load_shipped_evidence() -> Evidence:
    """Return the scores that ship with the package; all are openly licensed.

    Their origins are in `benchmarks/data/routing/MANIFEST.md` of the repository.
    """
    table: Mapping[str, Any] = orjson.loads(
        files("devflow_routing").joinpath("data/evidence.json").read_bytes()
    )
    benchmarks = {key: Benchmark(key=key, **values) for key, values in table["benchmarks"].items()}
    scores = (
        Score(
            model=model,
            benchmark=benchmark,
            value=value,
            date=date.fromisoformat(day) if day else None,
            effort=effort,
        )
        for model, benchmark, value, day, effort in table["scores"]
    )
    return Evidence(
        scores=tuple(scores),
        benchmarks=benchmarks,
        twins=table["twins"],
        version=str(table["version"]),
        as_of=datetime.fromisoformat(table["as_of"]),
    )
