"""The walk along a route is provider-neutral: `devflow_upstream.policies.fallback`."""

from devflow_upstream.policies.fallback import FallbackChain

__all__ = ["FallbackChain"]
