"""The usage tracker is provider-neutral: `devflow_analytics.trackers.usage`."""

from devflow_analytics.trackers.usage import UsageTracker

__all__ = ["UsageTracker"]
