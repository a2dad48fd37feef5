"""Re-exports the reports of `devflow_analytics.reporter`."""

from devflow_analytics.reporter import Reporter

__all__ = ["Reporter"]
