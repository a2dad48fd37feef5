"""Builds the stack of policies around every call, with the parameters of the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from urllib.parse import urlsplit

from devflow_core.addresses import is_loopback
from devflow_core.metered import Metered
from devflow_core.ports import Upstream
from devflow_core.provider_settings import ProviderSettings
from devflow_core.settings import Settings

from devflow_upstream.keys import KeyPool
from devflow_upstream.policies.circuit_breaker import BreakerPolicy, CircuitBreaking
from devflow_upstream.policies.fallback import FallbackChain
from devflow_upstream.policies.key_rotation import KeyRotation
from devflow_upstream.policies.rate_limiter import RateLimiter, RateLimiting
from devflow_upstream.policies.retry import RetryBudget, Retrying, RetryPolicy
from devflow_upstream.provider import ByProvider, ConnectedProvider, ProviderKind
from devflow_upstream.reply_stream import Deadlines
from devflow_upstream.transport.http1_transport import Http1Transport
from devflow_upstream.transport.protocol import Transport

# a provider that takes longer to connect to is treated as unreachable
MAX_CONNECT_S = 5.0

Policy = Callable[[Upstream], Upstream]
"""A function that wraps an upstream in one policy."""


def build_policies(settings: Settings, keys: KeyPool, limiter: RateLimiter) -> tuple[Policy, ...]:
    """Return the policies around each attempt at one provider, outermost first.

    docs/adr/0004-order-of-the-stack.md gives the reasons for the order. A key is chosen outside the
    breaker and the rate limit, since both belong to a key.

    Args:
        settings: how long a reply may take to begin.
        keys: the provider's keys.
        limiter: shared by all providers; rates are kept for each key.
    """
    breaker = BreakerPolicy(slow_after_s=settings.first_token_timeout_s / 2)
    return (
        lambda inner: KeyRotation(inner, keys),
        lambda inner: CircuitBreaking(inner, policy=breaker),
        lambda inner: RateLimiting(inner, limiter),
        Metered,
    )


def build_executor(
    settings: Settings,
    client: Upstream,
    keys: KeyPool,
    limiter: RateLimiter | None = None,
    *,
    others: Sequence[ConnectedProvider] = (),
    retry: RetryPolicy | None = None,
) -> FallbackChain:
    """Return the whole stack: it walks a route, retries, and applies the policies to each attempt.

    Args:
        settings: how often to try, and how long to wait.
        client: the main provider's upstream, which asks once.
        keys: the main provider's keys.
        limiter: shared by all providers; None: one is made from the settings.
        others: other providers, asked for the models whose ids begin with their names.
        retry: how often to try and how long to wait; None: as the settings say.
    """
    limiter = limiter or build_limiter(settings)
    asked = _wrap(client, build_policies(settings, keys, limiter))
    if others:
        asked = ByProvider(
            asked,
            {
                one.name: _wrap(one.upstream, build_policies(settings, one.keys, limiter))
                for one in others
            },
        )
    policy = retry or RetryPolicy(
        max_attempts=settings.max_retries,
        base_s=0.05 * settings.retry_wait_factor,
        throttled_base_s=settings.retry_wait_factor,
    )
    budget = RetryBudget(settings.retry_budget)
    # inside the retries, so that each attempt may use another key
    retrying = Retrying(asked, policy=policy, budget=budget)
    return FallbackChain(retrying, policy=policy, budget=budget)


def _wrap(client: Upstream, policies: Sequence[Policy]) -> Upstream:
    return reduce(lambda inner, policy: policy(inner), reversed(policies), client)


def build_limiter(settings: Settings) -> RateLimiter:
    """Return a limiter with the limits of the settings."""
    return RateLimiter(
        max_concurrency=settings.max_concurrency,
        max_queue=settings.max_queue,
        requests_per_min=settings.requests_per_min,
        min_gap_s=settings.min_gap_s,
    )


def build_deadlines(settings: Settings) -> Deadlines:
    """Return the deadlines of replies from the settings."""
    return Deadlines(
        first_token_s=settings.first_token_timeout_s,
        idle_s=settings.idle_timeout_s,
        total_s=settings.total_timeout_s,
    )


def build_transport(
    settings: Settings, base_url: str, *, connect_timeout_s: float | None = None
) -> Transport:
    """Return our own transport to a base URL, or one through the proxy of the settings.

    Addresses on this machine are never reached through a proxy. The caller closes the transport.

    Args:
        settings: the proxy and the time for connecting.
        base_url: the scheme, host and path below which every request goes.
        connect_timeout_s: seconds for connecting without a proxy; None: from the settings, at most
            `MAX_CONNECT_S`.

    Raises:
        ConfigurationError: the base URL or the proxy is not a valid address.
    """
    if settings.proxy_url and not is_loopback(urlsplit(base_url).hostname):
        # httpx is slow to import, and only proxies need it
        from devflow_upstream.transport.httpx_transport import make_proxy_transport

        return make_proxy_transport(base_url, settings.proxy_url)
    connect_s = connect_timeout_s or min(MAX_CONNECT_S, settings.timeout_ms / 1000)
    return Http1Transport(base_url, connect_timeout_s=connect_s)


def connect_provider(kind: ProviderKind, settings: Settings) -> ConnectedProvider:
    """Return a provider with the keys and the address of its settings; the caller closes it.

    Raises:
        ConfigurationError: its address or the proxy's is not valid.
    """
    own = settings.providers.get(kind.name, ProviderSettings())
    no_key = f"There is no key for {kind.name}. Set api_key in [providers.{kind.name}]."
    transport = build_transport(settings, own.base_url or kind.base_url)
    return ConnectedProvider(
        name=kind.name,
        upstream=kind.connect(transport, build_deadlines(settings)),
        keys=KeyPool(own.keys(), no_key_message=no_key, limits=kind.limits),
        transport=transport,
    )
