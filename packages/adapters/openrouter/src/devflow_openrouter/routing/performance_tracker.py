"""Re-exports the performance tracker of `devflow_routing.trackers.performance`."""

from devflow_routing.trackers.performance import Performance, PerformanceTracker

__all__ = ["Performance", "PerformanceTracker"]
