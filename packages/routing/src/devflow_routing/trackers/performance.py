"""Tracks how fast and how reliable each model has been lately, from the ledger's entries."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

from devflow_core.ledger import Attempt, LedgerEntry

HALF_LIFE_S = 6 * 3600.0
"""The age at which an observation counts half."""
_BUCKETS_PER_DOUBLING = 4
"""Times to the first event are counted in logarithmic buckets, each 19 % wide."""
_NEUTRAL_ERRORS = frozenset(
    {"cancelled", "budget_exceeded", "unknown_price", "circuit_open", "machine_exhausted"}
)
"""Errors of an attempt that say nothing about the model's performance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """A model's recent performance, with a half-life of six hours."""

    model: str
    weight: float
    """The number of observations, each discounted by its age."""
    success_rate: float
    """0..1, pulled towards 0.98 while there are few observations."""
    ttft_p50_s: float | None
    """The median of the seconds from sending to the first event; None if none was measured."""
    ttft_p95_s: float | None
    """The 95th percentile of the same."""
    output_tokens_per_s: float | None
    """Tokens per second of replies, from the first event on; None if none was measured."""


@dataclass(frozen=True, slots=True)
class _TypicalFigures:
    """The figures that age does not change, since all observations of a model fade alike."""

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
    """The figures that follow from the fields above; computed when read, dropped by a new entry."""

    def decay_to(self, at_s: float) -> None:
        """Discount all observations up to this time."""
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
    """A view of the ledger: `record` feeds it entries, `snapshot` returns a model's performance."""

    def __init__(self) -> None:
        self._stats: dict[str, _ModelStats] = {}
        self._entries = 0

    @property
    def version(self) -> str:
        """The name of this view's state in decisions: the number of entries recorded."""
        return str(self._entries)

    @property
    def models(self) -> tuple[str, ...]:
        """The models with at least one observation."""
        return tuple(self._stats)

    def record(self, entry: LedgerEntry, /) -> None:
        self._entries += 1
        for attempt in entry.attempts:
            self._record_attempt(attempt)

    def snapshot(self, model: str, *, as_of: datetime | None = None) -> Performance | None:
        """Return the model's recent performance; None if it was never observed.

        Args:
            model: the id under which it is requested.
            as_of: the time of the view, up to which observations have faded; None: no fading.
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
    """Return the value below which this share of the mass lies, to the width of its bucket."""
    total = sum(buckets.values())
    if total <= 0:
        return None
    seen = 0.0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= share * total - 1e-12:
            return 2 ** (bucket / _BUCKETS_PER_DOUBLING)
    return None
