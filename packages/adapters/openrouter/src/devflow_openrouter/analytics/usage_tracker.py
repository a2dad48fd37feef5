"""Re-exports the usage tracker of `devflow_analytics.trackers.usage`."""

from devflow_analytics.trackers.usage import UsageTracker

__all__ = ["UsageTracker"]
