"""What many requests add up to: counts, tokens, money, and times as histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from devflow_core.usage import Usage

GroupBy = Literal[
    "model",
    "provider",
    "task",
    "session",
    "project",
    "branch",
    "agent",
    "key",
    "node",
    "day",
    "error",
]
"""What requests can be grouped by; `day` is the day in UTC, `key` the client key's name."""

BUCKETS_PER_OCTAVE = 8
"""Each bucket of a histogram is 9 % wide, so a percentile is off by at most half of that."""
_LEAST_S = 0.001
_LAST_BUCKET = 255


def bucket(seconds: float) -> int:
    """The bucket of a duration: 0 up to a millisecond, then eight for each doubling."""
    if seconds <= _LEAST_S:
        return 0
    return min(_LAST_BUCKET, int(BUCKETS_PER_OCTAVE * math.log2(seconds / _LEAST_S)))


def bucket_s(number: int) -> float:
    """The geometric middle of a bucket, in seconds."""
    return _LEAST_S * 2.0 ** ((number + 0.5) / BUCKETS_PER_OCTAVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often a duration fell into each bucket."""

    counts: Mapping[int, int] = field(default_factory=dict[int, int])

    @property
    def count(self) -> int:
        """How many durations."""
        return sum(self.counts.values())

    def quantile_s(self, share: float) -> float | None:
        """The duration that `share` (0..1) of them did not exceed; None when there are none."""
        rank = share * self.count
        seen = 0
        for number in sorted(self.counts):
            seen += self.counts[number]
            if seen >= rank:
                return bucket_s(number)
        return None

    def __add__(self, other: Histogram) -> Histogram:
        counts = dict(self.counts)
        for number, count in other.counts.items():
            counts[number] = counts.get(number, 0) + count
        return Histogram(counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Requests of one group. Summaries of disjoint groups add up to that of the whole."""

    requests: int = 0
    """Counted at the attempt that decided: a fallback does not count twice."""
    attempts: int = 0
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    """Requests that failed or were cancelled, by error code."""
    cache_hits: int = 0
    """Answered from the gateway's own response cache."""
    usage: Usage = field(default_factory=Usage)
    """Tokens of all attempts."""
    cost_pico: int = 0
    """Cost of all attempts, in 1e-12 USD."""
    estimated_pico: int = 0
    """The part of `cost_pico` that the provider has not confirmed."""
    ttft: Histogram = field(default_factory=Histogram)
    """From a request's arrival to its first event."""
    total: Histogram = field(default_factory=Histogram)
    """From a request's arrival to its end."""

    @property
    def failed(self) -> int:
        """Requests that did not succeed."""
        return sum(self.errors.values())

    def __add__(self, other: Summary) -> Summary:
        errors = dict(self.errors)
        for code, count in other.errors.items():
            errors[code] = errors.get(code, 0) + count
        return Summary(
            requests=self.requests + other.requests,
            attempts=self.attempts + other.attempts,
            errors=errors,
            cache_hits=self.cache_hits + other.cache_hits,
            usage=self.usage + other.usage,
            cost_pico=self.cost_pico + other.cost_pico,
            estimated_pico=self.estimated_pico + other.estimated_pico,
            ttft=self.ttft + other.ttft,
            total=self.total + other.total,
        )
