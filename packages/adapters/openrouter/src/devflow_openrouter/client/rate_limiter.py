"""Re-exports the rate limiter of `devflow_upstream.policies.rate_limiter`."""

from devflow_upstream.policies.rate_limiter import RateLimiter, RateLimiting

__all__ = ["RateLimiter", "RateLimiting"]
