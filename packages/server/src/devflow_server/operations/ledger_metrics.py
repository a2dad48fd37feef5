"""Reports the ledger's state to Prometheus, reading it from the store at each scrape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Protocol

from devflow_store import LedgerHealth, LedgerState
from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

_LABELS = ["worker"]


class ObservedLedger(Protocol):
    """The store as the metrics need it."""

    @property
    def health(self) -> LedgerHealth:
        """The ledger's state and counters."""
        ...

    @property
    def queued(self) -> int:
        """The number of writes that wait for their turn."""
        ...

    @property
    def emergency_entries(self) -> int:
        """The number of entries that wait for the ledger in the emergency file."""
        ...


class LedgerCollector(Collector):
    """The metrics of one worker's ledger.

    Args:
        ledger: the worker's store.
        worker: number of the worker, from 0.
    """

    def __init__(self, ledger: ObservedLedger, worker: int) -> None:
        self._ledger = ledger
        self._worker = [str(worker)]

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now; the registry calls this at each scrape."""
        health = self._ledger.health
        state = health.current()[0]
        yield self._gauge("up", "Whether the ledger can be written", state is LedgerState.READY)
        states = GaugeMetricFamily(
            "devflow_ledger_state", "1 for the ledger's state", labels=[*_LABELS, "state"]
        )
        failures = CounterMetricFamily(
            "devflow_ledger_failures",
            "Writes that have found the ledger in a state in which it cannot be written",
            labels=[*_LABELS, "state"],
        )
        for one in LedgerState:
            states.add_metric([*self._worker, one.value], one is state)
            if one is not LedgerState.READY:
                failures.add_metric([*self._worker, one.value], health.failures[one])
        yield states
        yield failures
        yield from self._collect_commits(health)
        yield self._gauge("queue", "Writes that wait for their turn", self._ledger.queued)
        waiting = GaugeMetricFamily(
            "devflow_emergency_entries", "Entries that wait for the ledger", labels=_LABELS
        )
        waiting.add_metric(self._worker, self._ledger.emergency_entries)
        yield waiting

    def _collect_commits(self, health: LedgerHealth) -> Iterator[Metric]:
        commits = CounterMetricFamily(
            "devflow_ledger_commits", "Groups of writes made durable", labels=_LABELS
        )
        commits.add_metric(self._worker, health.commits)
        yield commits
        seconds = HistogramMetricFamily(
            "devflow_ledger_commit_seconds", "Until a group was durable", labels=_LABELS
        )
        bounds = [*map(str, health.bucket_bounds_s), "+Inf"]
        counts = accumulate(health.commit_buckets)
        seconds.add_metric(self._worker, list(zip(bounds, counts, strict=True)), health.commit_s)
        yield seconds

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"devflow_ledger_{name}", text, labels=_LABELS)
        family.add_metric(self._worker, value)
        return family
