"""Adds up requests: counts, tokens, money, and times as histograms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from devflow_core.dimensions import GroupBy, group_key
from devflow_core.ledger import UNCONFIRMED, Attempt, LedgerEntry
from devflow_core.usage import Usage, to_pico

Groups = Mapping[tuple[str, ...], "Summary"]
"""Summaries by group; a key holds one text for each grouping, "" if it is unknown."""

BUCKETS_PER_OCTAVE = 8
"""Each bucket of a histogram is 9 % wide, so a percentile is off by at most half of that."""
_MIN_S = 0.001
_LAST_BUCKET = 255


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration: 0 below 1.09 ms, then eight for each doubling, up to 255."""
    if seconds <= _MIN_S:
        return 0
    return min(_LAST_BUCKET, int(BUCKETS_PER_OCTAVE * math.log2(seconds / _MIN_S)))


def bucket_midpoint_s(number: int) -> float:
    """Return the geometric middle of a bucket, in seconds."""
    return _MIN_S * 2.0 ** ((number + 0.5) / BUCKETS_PER_OCTAVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The number of durations in each bucket; buckets are numbered as by `bucket_of`."""

    counts: Mapping[int, int] = field(default_factory=dict[int, int])

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.counts.values())

    def quantile_s(self, share: float) -> float | None:
        """Return the seconds that this share (0..1) did not exceed, as the middle of their bucket.

        None if there are no durations.
        """
        rank = share * self.count
        cumulative = 0
        for number in sorted(self.counts):
            cumulative += self.counts[number]
            if cumulative >= rank:
                return bucket_midpoint_s(number)
        return None

    def __add__(self, other: Histogram) -> Histogram:
        counts = dict(self.counts)
        for number, count in other.counts.items():
            counts[number] = counts.get(number, 0) + count
        return Histogram(counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Totals of the requests of one group; those of disjoint groups can be added up."""

    requests: int = 0
    """The number of requests, each counted at its deciding attempt, so no fallback counts twice."""
    attempts: int = 0
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    """Requests that failed or were cancelled, by error code."""
    cache_hits: int = 0
    """Requests answered from the gateway's response cache."""
    usage: Usage = field(default_factory=Usage)
    """The tokens of all attempts."""
    cost_pico: int = 0
    """The cost of all attempts, in 10⁻¹² USD."""
    estimated_pico: int = 0
    """The part of `cost_pico` that the provider has not confirmed."""
    doubts: int = 0
    """Attempts whose cost is final although the reported cost cannot be right."""
    retry_pico: int = 0
    """The part of `cost_pico` for attempts that did not decide their request."""
    retry_usage: Usage = field(default_factory=Usage)
    """The part of `usage` for those attempts."""
    ttft: Histogram = field(default_factory=Histogram)
    """Seconds from a request's arrival to its first event."""
    total: Histogram = field(default_factory=Histogram)
    """Seconds from a request's arrival to its end."""

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
            doubts=self.doubts + other.doubts,
            retry_pico=self.retry_pico + other.retry_pico,
            retry_usage=self.retry_usage + other.retry_usage,
            ttft=self.ttft + other.ttft,
            total=self.total + other.total,
        )


@runtime_checkable
class LedgerReader(Protocol):
    """Adds up the entries of a period: a store in SQL, or `EntriesReader`."""

    def aggregate(
        self,
        by: tuple[GroupBy, ...],
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        with_times: bool = True,
    ) -> Groups:
        """Return the groups of calls that began in a period.

        Args:
            by: what to group by; not empty.
            since: inclusive, UTC; None: from the beginning.
            until: exclusive, UTC; None: until now.
            with_times: whether to fill the histograms; if not, they may be empty.
        """
        ...


class Tally:
    """A `Summary` under construction: attempts are added one by one, each within microseconds."""

    def __init__(self) -> None:
        self._requests = self._attempts = self._cache_hits = self._doubts = 0
        self._cost_pico = self._estimated_pico = self._retry_pico = 0
        self._errors: dict[str, int] = {}
        self._tokens = [0] * 6
        self._retry_tokens = [0] * 6
        self._ttft: dict[int, int] = {}
        self._total: dict[int, int] = {}

    def add(self, entry: LedgerEntry, attempt: Attempt | None) -> None:
        """Add one attempt of an entry; None stands for an entry without attempts."""
        decides = attempt is entry.final_attempt
        if attempt is not None:
            self._add_attempt(attempt, decides=decides)
        if decides:
            self._add_request(entry)

    def _add_attempt(self, attempt: Attempt, *, decides: bool) -> None:
        pico = to_pico(attempt.cost_usd)
        self._attempts += 1
        self._cost_pico += pico
        if attempt.cost_status in UNCONFIRMED:
            self._estimated_pico += pico
        self._doubts += attempt.cost_doubt is not None and attempt.cost_status != "estimated"
        _add_tokens(self._tokens, attempt.usage)
        if not decides:
            self._retry_pico += pico
            _add_tokens(self._retry_tokens, attempt.usage)

    def _add_request(self, entry: LedgerEntry) -> None:
        self._requests += 1
        self._cache_hits += entry.is_cache_hit
        if entry.outcome != "succeeded":
            code = entry.error_code or entry.outcome
            self._errors[code] = self._errors.get(code, 0) + 1
        if entry.ttft_s is not None:
            number = bucket_of(entry.ttft_s)
            self._ttft[number] = self._ttft.get(number, 0) + 1
        number = bucket_of(entry.total_s)
        self._total[number] = self._total.get(number, 0) + 1

    def summary(self) -> Summary:
        """Return the summary of everything added so far."""
        return Summary(
            requests=self._requests,
            attempts=self._attempts,
            errors=dict(self._errors),
            cache_hits=self._cache_hits,
            usage=_to_usage(self._tokens),
            cost_pico=self._cost_pico,
            estimated_pico=self._estimated_pico,
            doubts=self._doubts,
            retry_pico=self._retry_pico,
            retry_usage=_to_usage(self._retry_tokens),
            ttft=Histogram(counts=dict(self._ttft)),
            total=Histogram(counts=dict(self._total)),
        )


class EntriesReader:
    """A `LedgerReader` over entries in memory, such as those of a `MemoryLedger`.

    Args:
        entries: returns the entries; called for each report.
    """

    def __init__(self, entries: Callable[[], Iterable[LedgerEntry]]) -> None:
        self._entries = entries

    def aggregate(
        self,
        by: tuple[GroupBy, ...],
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        with_times: bool = True,
    ) -> Groups:
        """Add up the entries by group; times are always included, since they are cheap here."""
        tallies: dict[tuple[str, ...], Tally] = {}
        for entry in self._entries():
            for attempt in entry.attempts or (None,):
                started_at = attempt.started_at if attempt else entry.started_at
                if (since is None or started_at >= since) and (until is None or started_at < until):
                    key = tuple(group_key(one, entry, attempt) for one in by)
                    tallies.setdefault(key, Tally()).add(entry, attempt)
        return {key: tally.summary() for key, tally in tallies.items()}


def _add_tokens(tokens: list[int], usage: Usage) -> None:
    tokens[0] += usage.input_tokens
    tokens[1] += usage.cache_read_tokens
    tokens[2] += usage.cache_write_tokens
    tokens[3] += usage.output_tokens
    tokens[4] += usage.reasoning_tokens
    tokens[5] += usage.cache_write_1h_tokens


def _to_usage(tokens: list[int]) -> Usage:
    return Usage(
        input_tokens=tokens[0],
        cache_read_tokens=tokens[1],
        cache_write_tokens=tokens[2],
        output_tokens=tokens[3],
        reasoning_tokens=tokens[4],
        cache_write_1h_tokens=tokens[5],
    )
