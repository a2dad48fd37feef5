"""OpenRouter behind one object: choice of model, resilient calls, cost and reports."""

from devflow_openrouter.client.api_client import ApiClient
from devflow_openrouter.client.rate_limiter import RateLimiter
from devflow_openrouter.gateway import OpenRouterGateway
from devflow_openrouter.routing.fallback import FallbackChain

__all__ = ["ApiClient", "FallbackChain", "OpenRouterGateway", "RateLimiter"]
