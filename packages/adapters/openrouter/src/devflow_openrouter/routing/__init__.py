"""Who answers a request, and why."""

from devflow_openrouter.routing.decision import as_json, encode
from devflow_openrouter.routing.performance_tracker import Performance, PerformanceTracker
from devflow_openrouter.routing.policy import RoutingPolicy
from devflow_openrouter.routing.router import Router
from devflow_openrouter.routing.session_tracker import SessionTracker

__all__ = [
    "Performance",
    "PerformanceTracker",
    "Router",
    "RoutingPolicy",
    "SessionTracker",
    "as_json",
    "encode",
]
