"""Tracks how fast and how reliable each model has been lately, from the ledger's entries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from devflow_core.ledger import Attempt, LedgerEntry

HALF_LIFE_S = 6 * 3600.0
"""The age at which an observation of speed counts half."""
RELIABILITY_HALF_LIFE_S = 3600.0
"""The age at which a success or a failure counts half; providers recover within the hour."""
MAX_REST_S = 600.0
"""The longest that a failing model rests before the next request tries it again."""
_FIRST_REST_S = 30.0
"""The rest after a first failure; it doubles with each further failure in a row."""
MAX_VIEW_AGE_S = 60.0
"""The age at which what has faded is reckoned anew: a hundredth of what counts for reliability."""
_MAX_RUN = 8
"""The most failures whose times are kept: as many as make a rest as long as it gets, and more."""
_USUAL_RATE, _USUAL_WEIGHT = 0.98, 50.0
"""The success rate of a model that is not known yet, and the answers that it counts as.

With fewer, one failure would weigh more than the differences between good models do.
"""
_DIGITS = 5
"""The digits behind the point that figures have: every decision keeps those of every model."""
_MAX_WAIT_S = 60.0
"""A caller who leaves after waiting longer for a first word says that the model is slow."""
_BUCKETS_PER_DOUBLING = 4
"""Times to the first event are counted in logarithmic buckets, each 19 % wide."""
PROVIDER_FAULTS = frozenset(
    {
        "rate_limited",
        "structured_output_invalid",
        "upstream_incomplete",
        "upstream_model_unavailable",
        "upstream_overloaded",
        "upstream_protocol_error",
        "upstream_reply_too_large",
        "upstream_timeout",
        "upstream_unavailable",
    }
)
"""Errors of an attempt that are the doing of the model's provider, and so speak against the model.

A refused key, a spent account, a request that is refused, moderation, and a connection that fails
(all models share it) do not.
"""


PerformanceRow = tuple[float, float, float | None, float | None, float | None, bool]
"""The figures of one model in the order of the fields of `Performance`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """A model's recent performance: its speed over hours, its reliability over the last hour."""

    model: str
    weight: float
    """The number of observations, each discounted by its age."""
    success_rate: float
    """0..1, pulled towards 0.98 while there are few observations; one failure alone is forgiven."""
    ttft_p50_s: float | None
    """The median of the seconds from sending to the first event; None if none was measured."""
    ttft_p95_s: float | None
    """The 95th percentile of the same."""
    output_tokens_per_s: float | None
    """Tokens per second of replies, from the first event on; None if none was measured."""
    is_resting: bool = False
    """Whether it has just failed: until its rest is over, less is expected of it by `auto`."""

    def as_row(self) -> PerformanceRow:
        """Return the figures alone, for records."""
        return (
            self.weight,
            self.success_rate,
            self.ttft_p50_s,
            self.ttft_p95_s,
            self.output_tokens_per_s,
            self.is_resting,
        )


class PerformanceView:
    """The performance of all models at one moment, which successive views change model by model.

    Args:
        found: the performance of every model with an observation.
    """

    __slots__ = ("_length", "_log", "_rows", "known", "resting")

    def __init__(self, found: Iterable[Performance] = ()) -> None:
        self.known: dict[str, Performance] = {one.model: one for one in found}
        """By the id under which it is requested; read-only."""
        self.resting: dict[str, Performance] = {
            name: one for name, one in self.known.items() if one.is_resting
        }
        """The models that have just failed; read-only."""
        self._rows = {name: one.as_row() for name, one in self.known.items()}
        # the models that have changed, which this view shares with those that follow it
        self._log: list[str] = []
        self._length = 0

    def with_changes(self, found: Iterable[Performance]) -> PerformanceView:
        """Return the view that follows when these models have changed."""
        new = PerformanceView()
        new.known, new.resting, new._rows = dict(self.known), dict(self.resting), dict(self._rows)
        new._log = self._log if self._length == len(self._log) else self._log[: self._length]
        for one in found:
            new._log.append(one.model)
            new.known[one.model] = one
            new._rows[one.model] = one.as_row()
            new.resting.pop(one.model, None)
            if one.is_resting:
                new.resting[one.model] = one
        new._length = len(new._log)
        return new

    def find_changes(self, earlier: PerformanceView) -> Iterable[str] | None:
        """Return the models that changed since an earlier view; None if any may have."""
        if self._log is not earlier._log or self._length < earlier._length:
            return None
        return self._log[earlier._length : self._length]

    def as_json(self) -> Mapping[str, PerformanceRow]:
        """Return plain values for the record of a decision, by model; `from_json` reads them."""
        return self._rows

    @classmethod
    def from_json(cls, record: Mapping[str, Sequence[Any]]) -> PerformanceView:
        """Return the view of a record; until November 2026 it did not say which models rested."""
        return cls(
            Performance(
                model=model,
                weight=row[0],
                success_rate=row[1],
                ttft_p50_s=row[2],
                ttft_p95_s=row[3],
                output_tokens_per_s=row[4],
                is_resting=len(row) > 5 and bool(row[5]),
            )
            for model, row in record.items()
        )


NOTHING_MEASURED = PerformanceView()
"""The view before any model was asked."""


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
    last_success_s: float = -math.inf
    failed_at_s: list[float] = field(default_factory=list[float])
    """The times of the latest failures, in any order."""
    speed_log_sum: float = 0.0
    speed_weight: float = 0.0
    ttft: dict[int, float] = field(default_factory=dict[int, float])
    typical: _TypicalFigures | None = None
    """The figures that follow from the fields above; computed when read, dropped by a new entry."""

    def decay_to(self, at_s: float) -> None:
        """Discount all observations up to this time."""
        if at_s <= self.updated_s:
            return
        age_s = at_s - self.updated_s
        self.updated_s = at_s
        self.successes *= 0.5 ** (age_s / RELIABILITY_HALF_LIFE_S)
        self.failures *= 0.5 ** (age_s / RELIABILITY_HALF_LIFE_S)
        decay = 0.5 ** (age_s / HALF_LIFE_S)
        self.speed_log_sum *= decay
        self.speed_weight *= decay
        self.ttft = {bucket: mass * decay for bucket, mass in self.ttft.items() if mass > 1e-4}

    def add_failure(self, at_s: float, weight: float) -> None:
        """Count a failure, and remember its time for the model's rest."""
        self.failures += weight
        self.failed_at_s = sorted((*self.failed_at_s, at_s))[-_MAX_RUN:]

    def rests_until_s(self) -> float:
        """Return when the rest after the failures since the last success is over; -inf for none."""
        run = [one for one in self.failed_at_s if one > self.last_success_s]
        if not run:
            return -math.inf
        return run[-1] + min(_FIRST_REST_S * 2.0 ** (len(run) - 1), MAX_REST_S)

    def add_wait(self, seconds: float, weight: float) -> None:
        """Count a time to the first event."""
        bucket = round(math.log2(seconds) * _BUCKETS_PER_DOUBLING)
        self.ttft[bucket] = self.ttft.get(bucket, 0.0) + weight


class PerformanceTracker:
    """A view of the ledger: `record` feeds it entries, `view` and `snapshot` return what they tell.

    Choices read `view`, which costs the same however many models were observed.
    """

    def __init__(self) -> None:
        self._stats: dict[str, _ModelStats] = {}
        self._entries = 0
        self._view = PerformanceView()
        self._viewed_s = -math.inf
        self._fresh_until_s = -math.inf
        self._changed: set[str] = set()

    @property
    def version(self) -> str:
        """The name of this view's state in decisions: the number of entries recorded."""
        return str(self._entries)

    def record(self, entry: LedgerEntry, /) -> None:
        self._entries += 1
        for attempt in entry.attempts:
            self._record_attempt(attempt)

    def snapshot(self, model: str, *, as_of: datetime | None = None) -> Performance | None:
        """Return the model's recent performance; None if it was never observed.

        Args:
            model: the id under which it is requested.
            as_of: the time of the view, up to which observations have faded; None: that of the
                latest one, without a rest.
        """
        stats = self._stats.get(model)
        if stats is None:
            return None
        now_s = stats.updated_s if as_of is None else as_of.timestamp()
        decay = 0.5 ** (max(0.0, now_s - stats.updated_s) / RELIABILITY_HALF_LIFE_S)
        good, bad = stats.successes * decay, stats.failures * decay
        typical = stats.typical
        if typical is None:
            typical = stats.typical = _summarize(stats)
        return Performance(
            model=model,
            weight=round(good + bad, _DIGITS),
            success_rate=round(
                (good + _USUAL_RATE * _USUAL_WEIGHT) / (good + max(0.0, bad - 1.0) + _USUAL_WEIGHT),
                _DIGITS,
            ),
            ttft_p50_s=typical.ttft_p50_s,
            ttft_p95_s=typical.ttft_p95_s,
            output_tokens_per_s=typical.output_tokens_per_s,
            is_resting=as_of is not None and now_s < stats.rests_until_s(),
        )

    def view(self, *, as_of: datetime) -> PerformanceView:
        """Return the recent performance of every model with an observation.

        It is the same object until something changes. What only fades with time is up to
        `MAX_VIEW_AGE_S` old; a rest ends when it is over.
        """
        now_s = as_of.timestamp()
        if not self._viewed_s <= now_s < self._fresh_until_s:
            self._viewed_s, self._fresh_until_s = now_s, now_s + MAX_VIEW_AGE_S
            self._changed.clear()
            self._view = PerformanceView(self._look_at(self._stats, as_of))
        elif self._changed:
            self._view = self._view.with_changes(self._look_at(self._changed, as_of))
            self._changed.clear()
        return self._view

    def _look_at(self, models: Iterable[str], as_of: datetime) -> list[Performance]:
        """Return the performance of some models, and see to it that none rests too long."""
        found: list[Performance] = []
        for name in models:
            one = self.snapshot(name, as_of=as_of)
            if one is not None:
                found.append(one)
                if one.is_resting:
                    over_s = self._stats[name].rests_until_s()
                    self._fresh_until_s = min(self._fresh_until_s, over_s)
        return found

    def _record_attempt(self, attempt: Attempt) -> None:
        is_left = attempt.outcome == "cancelled"
        if is_left and (attempt.ttft_s is not None or attempt.total_s < _MAX_WAIT_S):
            return
        if attempt.outcome == "failed" and attempt.error_code not in PROVIDER_FAULTS:
            return
        at_s = attempt.started_at.timestamp()
        stats = self._stats.get(attempt.model)
        if stats is None:
            stats = self._stats[attempt.model] = _ModelStats(updated_s=at_s)
        self._changed.add(attempt.model)
        stats.typical = None
        stats.decay_to(at_s)
        age_s = stats.updated_s - at_s
        weight = 0.5 ** (age_s / HALF_LIFE_S)
        if is_left:
            stats.add_wait(attempt.total_s, weight)
        elif attempt.outcome == "failed":
            stats.add_failure(at_s, 0.5 ** (age_s / RELIABILITY_HALF_LIFE_S))
        else:
            stats.successes += 0.5 ** (age_s / RELIABILITY_HALF_LIFE_S)
            stats.last_success_s = max(stats.last_success_s, at_s)
            _record_speed(stats, attempt, weight)


def _record_speed(stats: _ModelStats, attempt: Attempt, weight: float) -> None:
    if attempt.ttft_s is None or attempt.ttft_s <= 0:
        return
    stats.add_wait(attempt.ttft_s, weight)
    streaming_s = attempt.total_s - attempt.ttft_s
    if streaming_s > 0 and attempt.usage.completion_tokens >= 16:
        speed = attempt.usage.completion_tokens / streaming_s
        stats.speed_log_sum += weight * math.log(speed)
        stats.speed_weight += weight


def _summarize(stats: _ModelStats) -> _TypicalFigures:
    speed = None
    if stats.speed_weight > 1e-9:
        speed = round(math.exp(stats.speed_log_sum / stats.speed_weight), _DIGITS)
    return _TypicalFigures(_quantile(stats.ttft, 0.5), _quantile(stats.ttft, 0.95), speed)


def _quantile(buckets: dict[int, float], share: float) -> float | None:
    """Return the value below which this share of the mass lies, to the width of its bucket.

    None without any mass.
    """
    total = sum(buckets.values())
    if total <= 0:
        return None
    seen = 0.0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= share * total - 1e-12:
            return round(2 ** (bucket / _BUCKETS_PER_DOUBLING), _DIGITS)
    return None
