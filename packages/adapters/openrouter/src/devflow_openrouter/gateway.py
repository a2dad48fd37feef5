"""The public class: one object that routes, asks, and books; it builds its parts and owns them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self

from devflow_core.chat import ChatRequest
from devflow_core.journal import Metered
from devflow_core.memory import MemoryBook, MemoryLedger
from devflow_core.pipeline import Completion, Pipeline, Reply
from devflow_core.ports import Book, Classifier, ContextInjector, Ledger, Router, Upstream
from devflow_core.routing import Route, SelectionCriteria
from devflow_core.settings import Settings

from devflow_openrouter.client.api_client import ApiClient, App
from devflow_openrouter.client.auth import Keyed, KeyRing
from devflow_openrouter.client.cancelling import bills_on_cancel
from devflow_openrouter.client.circuit_breaker import BreakerPolicy, CircuitBreaking
from devflow_openrouter.client.http import Transport
from devflow_openrouter.client.httpx_transport import through_proxy
from devflow_openrouter.client.rate_limiter import RateLimiter, RateLimiting
from devflow_openrouter.client.reply import Deadlines
from devflow_openrouter.client.retry import RetryBudget, Retrying, RetryPolicy
from devflow_openrouter.client.transport import LeanTransport
from devflow_openrouter.routing.fallback import FallbackChain

_MOST_CONNECT_S = 5.0


class OpenRouterGateway:
    """OpenRouter behind one object: `async with` it, then `complete` or `stream`.

    Args:
        settings: keys, limits, deadlines, weights.
        book: where attempts and entries become durable; None keeps them in memory.
        ledger: fed every entry besides the gateway's own views.
        router: says who may answer.
        classifier: says what a request is about.
        transport: how bytes travel; None is chosen by the settings. Closed with the gateway.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        router: Router,
        classifier: Classifier,
        book: Book | None = None,
        ledger: Ledger | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.settings = settings
        self.keys = KeyRing.from_settings(settings)
        self._router = router
        self._classifier = classifier
        self._transport = transport or transport_for(settings)
        self.api = ApiClient(
            self._transport,
            deadlines=Deadlines(
                first_token_s=settings.first_token_timeout_s,
                idle_s=settings.idle_timeout_s,
                total_s=settings.total_timeout_s,
            ),
            app=App(url=settings.app_url, title=settings.app_title),
            timeout_s=settings.timeout_ms / 1000,
        )
        self.pipeline = Pipeline(
            classifier=classifier,
            router=router,
            executor=build_executor(settings, self.api, self.keys),
            book=book or MemoryBook(),
            ledger=ledger or MemoryLedger(),
            deadline_s=settings.total_timeout_s,
            bills_on_cancel=bills_on_cancel,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.aclose()

    async def complete(
        self, request: ChatRequest, *, session: ContextInjector | None = None
    ) -> Completion:
        """The whole reply, with its route, its cost and what the ledger holds of it.

        Raises:
            DevFlowError: nobody answered, or the reply broke off; the entry is durable by then.
        """
        return await self.pipeline.complete(request, session=session)

    def stream(
        self,
        request: ChatRequest,
        *,
        session: ContextInjector | None = None,
        criteria: SelectionCriteria | None = None,
        entry_id: str | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """The reply's events as they come; see `Pipeline.stream`."""
        if criteria is not None:
            request = replace(request, criteria=criteria)
        return self.pipeline.stream(request, session=session, entry_id=entry_id)

    def explain(self, request: ChatRequest, criteria: SelectionCriteria | None = None) -> Route:
        """The route that a request would take now, with every reason; nobody is called."""
        if criteria is not None:
            request = replace(request, criteria=criteria)
        return self._router.route(request, self._classifier.classify(request))


def transport_for(settings: Settings) -> Transport:
    """The lean transport to the settings' base URL, or one through their proxy."""
    if settings.proxy_url:
        return through_proxy(settings.base_url, settings.proxy_url)
    connect_s = min(_MOST_CONNECT_S, settings.timeout_ms / 1000)
    return LeanTransport(settings.base_url, connect_timeout_s=connect_s)


def build_executor(settings: Settings, client: Upstream, keys: KeyRing) -> FallbackChain:
    """The stack, from the outside in (docs/adr/0005-order-of-the-stack.md).

    A key is chosen inside the retry, so that each attempt may take another one, and outside the
    breaker and the rate, which both belong to a key.
    """
    policy = RetryPolicy(max_attempts=settings.max_retries)
    budget = RetryBudget(settings.retry_budget)
    limiter = RateLimiter(
        max_concurrency=settings.max_concurrency,
        max_queue=settings.max_queue,
        requests_per_min=settings.requests_per_min,
        min_gap_s=settings.min_gap_s,
    )
    breaker = BreakerPolicy(
        slow_after_s=settings.first_token_timeout_s / 2, probe_s=settings.first_token_timeout_s
    )
    keyed = Keyed(
        CircuitBreaking(RateLimiting(Metered(client), limiter), policy=breaker),
        keys,
    )
    retrying = Retrying(keyed, policy=policy, budget=budget)
    return FallbackChain(retrying, policy=policy, budget=budget)
