"""Reports are provider-neutral: `devflow_analytics.reporter`."""

from devflow_analytics.reporter import Reporter

__all__ = ["Reporter"]
