"""Offers the public gateway, which builds its parts and owns them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from devflow_analytics import Report, Reporter
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GroupBy
from devflow_core.errors import DevFlowError, NotFound, StructuredOutputInvalid
from devflow_core.ledger import Book, Ledger, LedgerEntry, Tee
from devflow_core.memory import MemoryBook, MemoryLedger
from devflow_core.messages import JsonObject
from devflow_core.pipeline import Completion, Pipeline, Reply
from devflow_core.ports import Classifier, ContextInjector, Router
from devflow_core.repository import FolderLabels
from devflow_core.request import ChatRequest
from devflow_core.routing import Route, SelectionCriteria
from devflow_core.settings import Settings
from devflow_core.summary import EntriesReader, LedgerReader
from devflow_core.usage import to_pico
from devflow_routing import (
    CatalogueChange,
    LiveCatalogue,
    RoutingPolicy,
    TaskClassifier,
    encode_route,
)
from devflow_routing import Router as OwnRouter
from devflow_upstream.provider import ConnectedProvider
from devflow_upstream.stack import (
    build_deadlines,
    build_executor,
    build_limiter,
    build_transport,
)
from devflow_upstream.transport.protocol import Transport

from devflow_openrouter.billing_on_cancel import bills_on_cancel
from devflow_openrouter.client.api_client import ApiClient, AppIdentity
from devflow_openrouter.client.auth import build_key_pool
from devflow_openrouter.models.catalogue import fetch_document, make_catalogue, open_catalogue
from devflow_openrouter.structured_output import (
    build_repair_request,
    parse_structured,
    validate_schema,
)

_MAX_RECENT_ENTRIES = 1_000
"""The number of recent entries that feedback can be given on."""


class OpenRouterGateway:
    """OpenRouter behind one object: `async with` it, then `complete` or `stream`.

    Args:
        settings: keys, limits, deadlines, weights.
        book: where attempts and entries become durable; its owner closes it. None: they are kept in
            memory.
        ledger: receives every entry besides the gateway's own views.
        catalogue: the models and their prices; None: the shipped list with the settings'
            corrections; fetched lists are then kept in memory. Closed with the gateway.
        router: chooses the models; None: one is made from the settings and the catalogue.
        classifier: finds what a request is about; None: the shipped one.
        transport: carries the calls; None: chosen by the settings. Closed with the gateway.
        providers: asked for the models whose ids begin with their names. Closed with the gateway.
        label: completes the labels of each request; None: they stay as given.
    """

    def __init__(  # noqa: PLR0913 - the parts that a program may bring along
        self,
        settings: Settings,
        *,
        book: Book | None = None,
        ledger: Ledger | None = None,
        catalogue: LiveCatalogue | None = None,
        router: Router | None = None,
        classifier: Classifier | None = None,
        transport: Transport | None = None,
        providers: Sequence[ConnectedProvider] = (),
        label: Callable[[Attribution], Attribution] | None = None,
    ) -> None:
        self.settings = settings
        self.keys = build_key_pool(settings)
        self._limiter = build_limiter(settings)
        self.catalogue = catalogue or make_catalogue(settings)
        self.router = router or build_router(settings, self.catalogue)
        self.classifier = classifier or TaskClassifier()
        self._transport = transport or build_transport(settings, settings.base_url)
        self._providers = tuple(providers)
        self.api = ApiClient(
            self._transport,
            deadlines=build_deadlines(settings),
            app=AppIdentity(url=settings.app_url, title=settings.app_title),
            timeout_s=settings.timeout_ms / 1000,
        )
        self._recent = MemoryLedger(max_entries=_MAX_RECENT_ENTRIES)
        views: list[Ledger] = [self._recent, *([ledger] if ledger else []), self.router]
        book = book or build_memory_book(settings)
        self._reader = _ledger_reader(book, views)
        self.pipeline = Pipeline(
            classifier=self.classifier,
            router=self.router,
            executor=build_executor(
                settings, self.api, self.keys, self._limiter, others=self._providers
            ),
            book=book,
            ledger=Tee(*views),
            deadline_s=settings.total_timeout_s,
            bills_on_cancel=bills_on_cancel,
            encode_decision=encode_route,
            find_served=self.catalogue.find_served,
            label=label,
        )

    @classmethod
    def from_env(cls, *, book: Book | None = None, ledger: Ledger | None = None) -> Self:
        """Build a gateway from the environment and `devflow.toml`.

        Its requests are labelled with the git repository of the working directory, and it uses the
        list of models that was last fetched into the data folder.

        Raises:
            ConfigurationError: a setting is wrong, the list of models is damaged, or there is no
                key.
        """
        settings = Settings.load()
        settings.require_keys()
        label = FolderLabels(Path.cwd()).apply
        catalogue = open_catalogue(settings)
        return cls(settings, book=book, ledger=ledger, catalogue=catalogue, label=label)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        async with AsyncExitStack() as stack:  # each is closed, even if another one fails to close
            for one in (self._transport, *self._providers, self.catalogue):
                stack.push_async_callback(one.aclose)

    async def complete(
        self,
        request: ChatRequest,
        *,
        session: ContextInjector | None = None,
        repairs: int = 0,
    ) -> Completion:
        """Return the whole reply, with its route, its cost and its entry in the ledger.

        Args:
            request: what is asked; its `response_format` is checked once the reply is complete,
                unless the reply calls tools.
            session: adds the context of a session first; None: nothing is added.
            repairs: how often a reply that fails that check is asked for again, each time as a
                separate paid request that names the violations.

        Raises:
            InvalidRequest: the schema of the format is invalid; nothing was sent or booked.
            StructuredOutputInvalid: the last reply is complete but does not match the format.
            DevFlowError: no model answered, or the reply broke off; the entry is durable by then.
            StoreError: the entry could not be made durable.
        """
        wanted = request.response_format
        if wanted is None:
            return await self.pipeline.complete(request, session=session)
        validate_schema(wanted)
        while True:
            completion = await self.pipeline.complete(request, session=session)
            try:
                if not completion.tool_calls:
                    parse_structured(wanted, completion.text, model=completion.model)
            except StructuredOutputInvalid as error:
                if repairs <= 0:
                    raise
                repairs, request = repairs - 1, build_repair_request(request, error)
            else:
                return completion

    def stream(
        self,
        request: ChatRequest,
        *,
        session: ContextInjector | None = None,
        criteria: SelectionCriteria | None = None,
        entry_id: str | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """Return a context manager whose reply is iterated over for its events as they come.

        Entering waits for the first content; leaving early cancels the call. `response_format` is
        not checked. See `Pipeline.stream`.

        Args:
            request: what is asked.
            session: adds the context of a session first; None: nothing is added.
            criteria: weights in place of the request's own; None keeps those.
            entry_id: the id to book under; None: a new one.

        Raises:
            DevFlowError: on entry if no model began to answer, from the iterator if the reply broke
                off.
            StoreError: the entry could not be made durable.
        """
        if criteria is not None:
            request = replace(request, criteria=criteria)
        return self.pipeline.stream(request, session=session, entry_id=entry_id)

    async def refresh_catalogue(self) -> tuple[CatalogueChange, ...]:
        """Fetch OpenRouter's list of models into the shared catalogue; return what has changed.

        Raises:
            DevFlowError: the list could not be fetched, and the old one stays in use.
            ConfigurationError: the new list is in use but could not be saved.
        """
        return await self.catalogue.refresh(self._fetch_models)

    async def keep_catalogue_fresh(self, on_error: Callable[[DevFlowError], None]) -> None:
        """Renew the list of models until cancelled; `on_error` is called with every failure."""
        await self.catalogue.run(self._fetch_models, on_error=on_error)

    async def _fetch_models(self) -> JsonObject:
        return await fetch_document(self.api, self.catalogue.current)

    async def learn_limits(self) -> None:
        """Ask OpenRouter for the limits of the keys, and apply them.

        Without this call, limits are learned from refusals.

        Raises:
            UpstreamError: OpenRouter does not answer, or refuses a key.
        """
        for key in self.keys.keys:
            status = (await self.api.key_status(key)).get("data")
            if isinstance(status, Mapping):
                self._limiter.learn_from_key_status(key.id, cast("JsonObject", status))

    def feedback(self, entry_id: str, score: float) -> bool:
        """Learn from a user's rating of an answer; return whether that changed anything.

        Args:
            entry_id: the id of a recent request of this gateway.
            score: 0 (bad) to 1 (good).

        Raises:
            NotFound: the gateway does not remember such a request.
            ValueError: the score is not within 0..1.
        """
        entry = self._recent.get(entry_id)
        if entry is None:
            raise NotFound(f"No recent request has the id {entry_id!r}.")
        return self.router.feedback(entry, score)

    async def report(
        self,
        by: GroupBy | tuple[GroupBy, ...] = "model",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Report:
        """Report cost, usage and performance from the book.

        Args:
            by: what the rows are (`model`, `task`, `session`, `day`…), or an outer and an inner
                dimension: `("project", "model")`.
            since: inclusive, UTC.
            until: exclusive, UTC.

        Raises:
            InvalidRequest: `by` names no dimension, or not one or two different ones.
            StoreError: the ledger cannot be read.
        """
        reporter = Reporter(
            self._reader,
            price_of=self.catalogue.price_of,
            baseline_model=self.settings.baseline_model,
        )
        return await asyncio.to_thread(reporter.report, by, since=since, until=until)

    @property
    def recent_entries(self) -> tuple[LedgerEntry, ...]:
        """The entries of this gateway's latest requests, oldest first."""
        return tuple(self._recent.entries)

    def explain(self, request: ChatRequest, criteria: SelectionCriteria | None = None) -> Route:
        """Return the route that a request would take now, with all reasons; no model is called.

        Args:
            request: what would be asked.
            criteria: weights in place of the request's own; None keeps those.

        Raises:
            DevFlowError: the router has no model for the request.
        """
        if criteria is not None:
            request = replace(request, criteria=criteria)
        return self.router.explain(request, self.classifier.classify(request))


def _ledger_reader(book: Book, views: list[Ledger]) -> LedgerReader:
    """Return the source of reports: the book if it can add up, otherwise entries from now on."""
    if isinstance(book, LedgerReader):
        return book
    if isinstance(book, MemoryBook):
        ledger = book.ledger
    else:
        ledger = MemoryLedger()
        views.append(ledger)
    return EntriesReader(lambda: ledger.entries)


def build_router(settings: Settings, catalogue: LiveCatalogue) -> OwnRouter:
    """Return a router with the settings' names and weights, which gets every new list of models."""
    policy = RoutingPolicy(
        aliases=settings.aliases,
        preferred_models=settings.preferred_models,
        fallbacks=settings.fallbacks,
        fallback_models=settings.fallback_models,
        nodes=settings.nodes,
        learn_quality=settings.learn_quality,
        criteria=SelectionCriteria(
            cost_priority=settings.cost_priority,
            performance_priority=settings.performance_priority,
        ),
        # if a budget applies, the book refuses an unknown price as well
        allow_unknown_price=settings.allow_unknown_price or settings.cost_budget_usd is None,
    )
    router = OwnRouter(catalogue.current, policy=policy)
    catalogue.subscribe(router.set_catalogue)
    return router


def build_memory_book(settings: Settings) -> MemoryBook:
    """Return a book that lives as long as the process, with the settings' budget as its limit."""
    budget = settings.cost_budget_usd
    return MemoryBook(
        limit_pico=None if budget is None else to_pico(budget),
        allow_unknown_price=settings.allow_unknown_price,
    )
