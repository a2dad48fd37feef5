"""The router is provider-neutral: `devflow_routing.router`."""

from devflow_routing.router import Router

__all__ = ["Router"]
