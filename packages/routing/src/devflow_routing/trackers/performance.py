"""How fast and how reliable each model has been lately: a fold over the ledger's entries."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

from devflow_core.ledger import Attempt, LedgerEntry

HALF_LIFE_S = 6 * 3600.0
"""After so long an observation counts half."""
_BUCKETS_PER_DOUBLING = 4
_NEUTRAL_ERRORS = frozenset(
    {"cancelled", "budget_exceeded", "unknown_price", "circuit_open", "machine_exhausted"}
)
"""Ends of an attempt that say nothing about the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What a model has done lately; a half-life of six hours."""

    model: str
    weight: float
    """Observations, each counted less the older it is."""
    success_rate: float
    """0..1, drawn towards 0.98 while little is known."""
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    output_tokens_per_s: float | None
    """Of replies, from the first event on."""


@dataclass(frozen=True, slots=True)
class _TypicalFigures:
    """What age does not change, because all observations of a model fade alike."""

    ttft_p50_s: float | None
    ttft_p95_s: float | None
    output_tokens_per_s: float | None


@dataclass(slots=True)
class _ModelStats:
    updated_s: float
    successes: float = 0.0
    failures: float = 0.0
    speed_log_sum: float = 0.0
    speed_weight: float = 0.0
    ttft: dict[int, float] = field(default_factory=dict[int, float])
    typical: _TypicalFigures | None = None
    """What follows from the above; every decision reads it, only an entry changes it."""

    def decay_to(self, at_s: float) -> None:
        """Let everything known fade up to this time."""
        if at_s <= self.updated_s:
            return
        decay = 0.5 ** ((at_s - self.updated_s) / HALF_LIFE_S)
        self.updated_s = at_s
        self.successes *= decay
        self.failures *= decay
        self.speed_log_sum *= decay
        self.speed_weight *= decay
        self.ttft = {bucket: mass * decay for bucket, mass in self.ttft.items() if mass > 1e-4}


class PerformanceTracker:
    """A view of the ledger: feed it entries, ask it about models."""

    def __init__(self) -> None:
        self._stats: dict[str, _ModelStats] = {}
        self._entries = 0

    @property
    def version(self) -> str:
        """Names the state of this view in decisions: how many entries it has taken in."""
        return str(self._entries)

    @property
    def models(self) -> tuple[str, ...]:
        """The models something is known of."""
        return tuple(self._stats)

    def record(self, entry: LedgerEntry, /) -> None:
        self._entries += 1
        for attempt in entry.attempts:
            self._record_attempt(attempt)

    def snapshot(self, model: str, *, as_of: datetime | None = None) -> Performance | None:
        """What the model has done lately; None when nothing is known.

        Args:
            model: the id it is asked for with.
            as_of: seen from when: older observations have faded by then.
        """
        stats = self._stats.get(model)
        if stats is None:
            return None
        decay = (
            1.0
            if as_of is None
            else 0.5 ** (max(0.0, as_of.timestamp() - stats.updated_s) / HALF_LIFE_S)
        )
        good, bad = stats.successes * decay, stats.failures * decay
        typical = stats.typical
        if typical is None:
            typical = stats.typical = _summarize(stats)
        return Performance(
            model=model,
            weight=good + bad,
            success_rate=(good + 9.8) / (good + bad + 10.0),
            ttft_p50_s=typical.ttft_p50_s,
            ttft_p95_s=typical.ttft_p95_s,
            output_tokens_per_s=typical.output_tokens_per_s,
        )

    def _record_attempt(self, attempt: Attempt) -> None:
        if attempt.outcome == "cancelled" or attempt.error_code in _NEUTRAL_ERRORS:
            return
        at_s = attempt.started_at.timestamp()
        stats = self._stats.get(attempt.model)
        if stats is None:
            stats = self._stats[attempt.model] = _ModelStats(updated_s=at_s)
        stats.typical = None
        stats.decay_to(at_s)
        weight = 0.5 ** ((stats.updated_s - at_s) / HALF_LIFE_S)
        if attempt.outcome == "failed":
            stats.failures += weight
            return
        stats.successes += weight
        if attempt.ttft_s is not None and attempt.ttft_s > 0:
            bucket = round(math.log2(attempt.ttft_s) * _BUCKETS_PER_DOUBLING)
            stats.ttft[bucket] = stats.ttft.get(bucket, 0.0) + weight
            streaming_s = attempt.total_s - attempt.ttft_s
            if streaming_s > 0 and attempt.usage.completion_tokens >= 16:
                speed = attempt.usage.completion_tokens / streaming_s
                stats.speed_log_sum += weight * math.log(speed)
                stats.speed_weight += weight


def _summarize(stats: _ModelStats) -> _TypicalFigures:
    speed = None
    if stats.speed_weight > 1e-9:
        speed = math.exp(stats.speed_log_sum / stats.speed_weight)
    return _TypicalFigures(_quantile(stats.ttft, 0.5), _quantile(stats.ttft, 0.95), speed)


def _quantile(buckets: dict[int, float], share: float) -> float | None:
    """The value below which this share of the mass lies; its bucket is 19 % wide."""
    total = sum(buckets.values())
    if total <= 0:
        return None
    seen = 0.0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= share * total - 1e-12:
            return 2 ** (bucket / _BUCKETS_PER_DOUBLING)
    return None
