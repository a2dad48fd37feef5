"""Counts requests, costs and failures for Prometheus, with labels that cannot grow unbounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from devflow_core.ledger import LedgerEntry
from devflow_store import Alert, BudgetState, CostDoubtAlert
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from devflow_server.operations.ledger_metrics import LedgerCollector, ObservedLedger

MAX_MODELS = 1_000
"""The most distinct values of the label `model`.

Further ones, and names not in the catalogue, count as `other`.
"""
# from a reply of the cache to the usual deadline of a request, 600 s
_DURATION_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The metrics of this process; each worker has its own, distinguished by the label `worker`.

    It is also a view of the ledger (`record`), so that money and tokens are counted exactly as they
    are booked.

    Args:
        worker: number of the worker, from 0.
    """

    knows_model: Callable[[str], bool]
    """Returns whether a model is in the catalogue; names that clients invent count as `other`."""

    def __init__(self, worker: int = 0) -> None:
        self.knows_model = lambda _model: False
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "devflow_http_requests",
            "Requests by route and status",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "devflow_http_request_seconds",
            "From a whole request to the end of its reply",
            ["route"],
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self._rejected = Counter(
            "devflow_http_refused",
            "Requests that are not acceptable HTTP",
            ["status"],
            registry=registry,
        )
        self._auth_failures = Counter(
            "devflow_auth_failures",
            "Requests without a valid key, where one is needed",
            registry=registry,
        )
        self._add_money()
        self._worker = worker
        self._add_load(worker)
        self._models: set[str] = set()

    def _add_money(self) -> None:
        registry = self._registry
        self._cost = Counter("devflow_cost_usd", "USD by model", ["model"], registry=registry)
        self._tokens = Counter(
            "devflow_tokens", "Tokens by model and kind", ["model", "kind"], registry=registry
        )
        self._attempts = Counter(
            "devflow_attempts",
            "Calls to providers by outcome",
            ["model", "outcome"],
            registry=registry,
        )
        self._retries = Counter(
            "devflow_retries", "Calls to providers after a request's first", registry=registry
        )
        self._budgets = Gauge(
            "devflow_budget_used_ratio",
            "The spent share of a budget; of one with several subjects, the highest",
            ["budget"],
            registry=registry,
        )
        self._doubts = Counter(
            "devflow_cost_doubts", "Reported costs that are impossible", ["kind"], registry=registry
        )

    def _add_load(self, worker: int) -> None:
        registry = self._registry
        self._no_descriptors = Counter(
            "devflow_descriptor_shortages",
            "Checks, two a second, that found no free descriptor",
            registry=registry,
        )
        self._in_flight = Gauge(
            "devflow_in_flight", "Requests being answered", ["worker"], registry=registry
        ).labels(str(worker))
        self._connections = Gauge(
            "devflow_connections", "Open client connections", ["worker"], registry=registry
        ).labels(str(worker))
        self._held_bytes = Gauge(
            "devflow_held_bytes", "Bytes of requests in memory", ["worker"], registry=registry
        ).labels(str(worker))

    def watch_ledger(self, ledger: ObservedLedger) -> None:
        """Report this worker's ledger from now on."""
        self._registry.register(LedgerCollector(ledger, self._worker))

    def observe_request(self, route: str, status: int, total_s: float) -> None:
        """Count an answered request.

        Args:
            route: its path as declared, never as sent.
            status: the status of the reply; 499 if the client left before one.
            total_s: how long it took, in seconds.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(total_s)

    def set_load(self, *, in_flight: int, connections: int, held_bytes: int) -> None:
        """Set the current load; called at every sweep."""
        self._in_flight.set(in_flight)
        self._connections.set(connections)
        self._held_bytes.set(held_bytes)

    def count_rejected(self, status: int) -> None:
        """Count a request that reached no handler, by its status."""
        self._rejected.labels(str(status)).inc()

    def count_auth_failure(self) -> None:
        """Count a request without a valid key."""
        self._auth_failures.inc()

    def count_descriptor_shortage(self) -> None:
        """Count a check that found no free descriptor."""
        self._no_descriptors.inc()

    def set_budgets(self, states: Iterable[BudgetState]) -> None:
        """Set the spent share of every budget; those that are gone are forgotten."""
        shares: dict[str, float] = {}
        for state in states:
            limit, spent = state.budget.limit_usd, state.spent_usd
            share = float(spent / limit) if limit else 1.0
            shares[state.budget.id] = max(share, shares.get(state.budget.id, 0.0))
        self._budgets.clear()
        for name, share in shares.items():
            self._budgets.labels(name).set(share)

    async def count_alert(self, alert: Alert) -> None:
        """Count a cost doubt (`AlertHook`); alerts of budgets are not counted."""
        if isinstance(alert, CostDoubtAlert):
            self._doubts.labels(alert.doubt).inc()

    def record(self, entry: LedgerEntry, /) -> None:
        if len(entry.attempts) > 1:
            self._retries.inc(len(entry.attempts) - 1)
        for attempt in entry.attempts:
            model = self._model_label(attempt.model)
            self._attempts.labels(model, attempt.outcome).inc()
            # Prometheus counts in floats; the exact amounts are in the ledger
            self._cost.labels(model).inc(float(attempt.cost_usd))
            usage = attempt.usage
            self._tokens.labels(model, "input").inc(usage.prompt_tokens)
            self._tokens.labels(model, "output").inc(usage.completion_tokens)

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format, encoded."""
        return generate_latest(self._registry)

    def _model_label(self, model: str) -> str:
        for name in (model, model.partition(":")[0]):  # a variant is counted with its model
            if name in self._models:
                return name
            if len(self._models) < MAX_MODELS and self.knows_model(name):
                self._models.add(name)
                return name
        return "other"
