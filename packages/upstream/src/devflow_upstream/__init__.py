"""Provides what calls to every provider need: transport, policies, and rotation of keys."""

from devflow_upstream.keys import KeyPool, KeyState
from devflow_upstream.policies.circuit_breaker import BreakerPolicy, CircuitBreaking
from devflow_upstream.policies.fallback import FallbackChain
from devflow_upstream.policies.key_rotation import KeyRotation
from devflow_upstream.policies.rate_limiter import RateLimiter, RateLimiting
from devflow_upstream.policies.retry import RetryBudget, Retrying, RetryPolicy
from devflow_upstream.provider import ConnectedProvider, ProviderKind
from devflow_upstream.reply_stream import Deadlines, ReplyStream
from devflow_upstream.stack import connect_provider
from devflow_upstream.transport.http1_reader import ReplyLimits
from devflow_upstream.transport.http1_transport import Http1Transport
from devflow_upstream.transport.protocol import HttpRequest, Transport, UpstreamExchange

__all__ = [
    "BreakerPolicy",
    "CircuitBreaking",
    "ConnectedProvider",
    "Deadlines",
    "FallbackChain",
    "Http1Transport",
    "HttpRequest",
    "KeyPool",
    "KeyRotation",
    "KeyState",
    "ProviderKind",
    "RateLimiter",
    "RateLimiting",
    "ReplyLimits",
    "ReplyStream",
    "RetryBudget",
    "RetryPolicy",
    "Retrying",
    "Transport",
    "UpstreamExchange",
    "connect_provider",
]
