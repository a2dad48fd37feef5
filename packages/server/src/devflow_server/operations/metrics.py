"""What is counted for Prometheus, with labels that cannot grow without bound."""

from __future__ import annotations

from devflow_core.ledger import LedgerEntry
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MAX_MODELS = 200
"""Distinct values of the label `model`; more are counted as `other`."""
_DURATION_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The counters of this process. With several workers each has its own: see `worker`.

    It is also a view of the ledger (`record`), so that money and tokens are counted once, where
    the ledger has them.

    Args:
        worker: number of the worker, from 0.
    """

    def __init__(self, worker: int = 0) -> None:
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
            "What was no acceptable HTTP request",
            ["status"],
            registry=registry,
        )
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
        self._in_flight = Gauge(
            "devflow_in_flight", "Requests being answered", ["worker"], registry=registry
        ).labels(str(worker))
        self._connections = Gauge(
            "devflow_connections", "Open client connections", ["worker"], registry=registry
        ).labels(str(worker))
        self._models: set[str] = set()

    def observe_request(self, route: str, status: int, total_s: float) -> None:
        """A request has been answered; `route` is the path as declared, never as sent."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(total_s)

    def set_load(self, *, in_flight: int, connections: int) -> None:
        """How much is going on now; told at every sweep."""
        self._in_flight.set(in_flight)
        self._connections.set(connections)

    def count_rejected(self, status: int) -> None:
        """A request has reached no handler."""
        self._rejected.labels(str(status)).inc()

    def record(self, entry: LedgerEntry, /) -> None:
        """As `Ledger.record`."""
        for attempt in entry.attempts:
            model = self._model_label(attempt.model)
            self._attempts.labels(model, attempt.outcome).inc()
            self._cost.labels(model).inc(float(attempt.cost_usd))
            usage = attempt.usage
            self._tokens.labels(model, "input").inc(usage.prompt_tokens)
            self._tokens.labels(model, "output").inc(usage.completion_tokens)

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def _model_label(self, model: str) -> str:
        if model not in self._models:
            if len(self._models) >= MAX_MODELS:
                return "other"
            self._models.add(model)
        return model
