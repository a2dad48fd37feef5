"""Puts OpenRouter behind one object: choice of model, resilient calls, cost and reports."""

from devflow_upstream.policies.fallback import FallbackChain
from devflow_upstream.policies.rate_limiter import RateLimiter

from devflow_openrouter.client.api_client import ApiClient
from devflow_openrouter.gateway import OpenRouterGateway

__all__ = ["ApiClient", "FallbackChain", "OpenRouterGateway", "RateLimiter"]
