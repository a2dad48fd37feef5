"""Re-exports the fallback chain of `devflow_upstream.policies.fallback`."""

from devflow_upstream.policies.fallback import FallbackChain

__all__ = ["FallbackChain"]
