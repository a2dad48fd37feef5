"""Re-exports the router of `devflow_routing.router`."""

from devflow_routing.router import Router

__all__ = ["Router"]
