"""OpenRouter over HTTP: one attempt, and the policies that are wrapped around it."""

from devflow_openrouter.client.api_client import ApiClient, App
from devflow_openrouter.client.auth import Keyed, KeyRing, KeyState
from devflow_openrouter.client.cancelling import bills_on_cancel
from devflow_openrouter.client.circuit_breaker import BreakerPolicy, CircuitBreaking
from devflow_openrouter.client.http import Exchange, HttpRequest, Transport
from devflow_openrouter.client.http1 import Caps
from devflow_openrouter.client.oauth import Authorization
from devflow_openrouter.client.rate_limiter import RateLimiter, RateLimiting
from devflow_openrouter.client.reply import Deadlines
from devflow_openrouter.client.retry import RetryBudget, Retrying, RetryPolicy
from devflow_openrouter.client.transport import LeanTransport

__all__ = [
    "ApiClient",
    "App",
    "Authorization",
    "BreakerPolicy",
    "Caps",
    "CircuitBreaking",
    "Deadlines",
    "Exchange",
    "HttpRequest",
    "KeyRing",
    "KeyState",
    "Keyed",
    "LeanTransport",
    "RateLimiter",
    "RateLimiting",
    "RetryBudget",
    "RetryPolicy",
    "Retrying",
    "Transport",
    "bills_on_cancel",
]
