"""What every call to a provider needs, whoever the provider is: transport, policies, keys."""

from devflow_upstream.keys import Keyed, KeyRing, KeyState
from devflow_upstream.policies.circuit_breaker import BreakerPolicy, CircuitBreaking
from devflow_upstream.policies.fallback import FallbackChain
from devflow_upstream.policies.rate_limiter import RateLimiter, RateLimiting
from devflow_upstream.policies.retry import RetryBudget, Retrying, RetryPolicy
from devflow_upstream.reply_stream import Deadlines, OpenReply
from devflow_upstream.transport.http1 import Caps
from devflow_upstream.transport.http1_transport import LeanTransport
from devflow_upstream.transport.transport import Exchange, HttpRequest, Transport

__all__ = [
    "BreakerPolicy",
    "Caps",
    "CircuitBreaking",
    "Deadlines",
    "Exchange",
    "FallbackChain",
    "HttpRequest",
    "KeyRing",
    "KeyState",
    "Keyed",
    "LeanTransport",
    "OpenReply",
    "RateLimiter",
    "RateLimiting",
    "RetryBudget",
    "RetryPolicy",
    "Retrying",
    "Transport",
]
