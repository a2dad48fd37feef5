"""Re-exports the cost tracker of `devflow_analytics.trackers.cost`."""

from devflow_analytics.trackers.cost import CostTracker

__all__ = ["CostTracker"]
