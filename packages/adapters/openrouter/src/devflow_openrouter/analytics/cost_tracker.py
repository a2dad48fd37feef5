"""The cost tracker is provider-neutral: `devflow_analytics.trackers.cost`."""

from devflow_analytics.trackers.cost import CostTracker

__all__ = ["CostTracker"]
