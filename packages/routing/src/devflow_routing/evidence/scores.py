"""Defines a score in a benchmark, and the evidence: all scores that are known at one time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one model scored in one benchmark."""

    model: str
    """The model's id, or its other name, without a variant such as `:free`."""
    benchmark: str
    """The key of the benchmark."""
    value: float
    """The score, in the unit of the benchmark."""
    source: str
    """Who published it, as text for people."""
    date: date | None = None
    """When it was measured or published."""
    effort: str = ""
    """The setting that it was measured with (`high`, `no thinking`); empty if it was not stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All scores that are known at one time; immutable."""

    scores: tuple[Score, ...] = ()
    version: str = "none"
    """The name of these scores in decisions."""
    fetched_at: datetime | None = None
    """When scores were last fetched from the provider, UTC; None if only shipped ones are here."""
    is_invented: bool = False
    """Whether the fetched scores are a stand-in's."""

    @classmethod
    def load_shipped(cls) -> Evidence:
        """Return the scores that ship with the package, from openly licensed sources."""
        return cls()
