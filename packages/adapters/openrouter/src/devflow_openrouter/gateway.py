"""Offers the public gateway, which builds its parts and owns them."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, Self, cast

from devflow_analytics import Report, Reporter
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GroupBy
from devflow_core.errors import ConfigurationError, DevFlowError, NotFound
from devflow_core.ledger import Book, Ledger, LedgerEntry, Tee, replay
from devflow_core.memory import MemoryLedger
from devflow_core.messages import JsonObject
from devflow_core.pipeline import Pipeline
from devflow_core.ports import Classifier, Router
from devflow_core.repository import FolderLabels
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.verification import Verification
from devflow_routing import (
    CatalogueChange,
    LiveCatalogue,
    Ratings,
    RoutingPolicy,
    TaskClassifier,
    encode_route,
)
from devflow_store import Store, make_store, set_settings_budget
from devflow_store.keyed_replies import KeyedReplies, MemoryClaims
from devflow_store.measured import read_latest_measured
from devflow_store.origin_note import make_origin
from devflow_upstream.embeddings import (
    EmbeddingsClassifier,
    EmbeddingsUpstream,
    NamedModelRouter,
)
from devflow_upstream.policies.retry import RetryPolicy
from devflow_upstream.provider import ConnectedProvider
from devflow_upstream.stack import (
    build_deadlines,
    build_executor,
    build_limiter,
    build_transport,
)
from devflow_upstream.transport.protocol import Transport
from devflow_upstream.verified import Verifying

from devflow_openrouter.asking import AskingGateway
from devflow_openrouter.billing_on_cancel import bills_on_cancel
from devflow_openrouter.client.api_client import ApiClient
from devflow_openrouter.client.auth import build_key_pool
from devflow_openrouter.client.json_calls import AppIdentity
from devflow_openrouter.models.catalogue import fetch_document
from devflow_openrouter.models.evidence import fetch_evidence
from devflow_openrouter.opened import OpenedBook
from devflow_openrouter.parts import (
    add_command,
    build_memory_book,
    build_reader,
    build_router,
    choose_catalogue,
    follow_learned,
    list_likely_models,
    opens_ledger,
    read_checks,
)

LOOKBACK = timedelta(days=1)
"""How far back performance and warm sessions are rebuilt at the start.

A result of a day ago weighs a sixteenth of a new one, and no session is warm for so long.
"""
_MAX_RECENT_ENTRIES = 1_000
"""The number of latest entries kept in memory: those that feedback can be given on."""


class OpenRouterGateway(AskingGateway):
    """OpenRouter behind one object: `async with` it, then `complete` or `stream`.

    Entering opens the ledger and the budgets of the settings, the same that `devflow ask` uses, and
    rebuilds from the last day what the router has learned. Leaving closes all of it. A store given
    as `book` gets the budget of the settings, too. `explain` needs no entering.

    Args:
        settings: keys, limits, deadlines, weights, and where the ledger is.
        book: an open book in place of the settings' ledger; its owner closes it.
        ledger: `"memory"`: entries, the settings' budget and fetched lists of models are kept in
            memory, and nothing in the data folder is read or written. Otherwise a view that
            receives every entry, too.
        catalogue: the models and their prices; None: with the settings' ledger the list last
            fetched into the data folder, otherwise the shipped one. Closed with the gateway.
        router: chooses the models; None: one is made from the settings and the catalogue.
        classifier: finds what a request is about; None: the shipped one.
        transport: carries the calls; None: chosen by the settings. Closed with the gateway.
        providers: asked for the models whose ids begin with their names. Closed with the gateway.
        label: completes the labels of each request; None: with the settings' ledger by the git
            repository of the working directory, otherwise they stay as given.
        retry: how often to try, and how long to wait; None: as the settings say.

    Raises:
        ConfigurationError: a setting is wrong, or the saved list of models is damaged.
    """

    def __init__(  # noqa: PLR0913 - the parts that a program may bring along
        self,
        settings: Settings,
        *,
        book: Book | None = None,
        ledger: Ledger | Literal["memory"] | None = None,
        catalogue: LiveCatalogue | None = None,
        router: Router | None = None,
        classifier: Classifier | None = None,
        transport: Transport | None = None,
        providers: Sequence[ConnectedProvider] = (),
        label: Callable[[Attribution], Attribution] | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        is_durable = opens_ledger(book, ledger)
        self.settings = settings
        self.keys = build_key_pool(settings)
        self._limiter = build_limiter(settings)
        self.catalogue = catalogue or choose_catalogue(settings, is_durable=is_durable)
        self.router = router or build_router(settings, self.catalogue, is_durable=is_durable)
        self.classifier = classifier or TaskClassifier()
        self._names = RoutingPolicy(aliases=settings.aliases)
        self._transport = transport or build_transport(settings, settings.base_url)
        self._providers = tuple(providers)
        self.api = ApiClient(
            self._transport,
            deadlines=build_deadlines(settings),
            app=AppIdentity(url=settings.app_url, title=settings.app_title),
            timeout_s=settings.timeout_ms / 1000,
        )
        self._ratings = Ratings(settings.data_dir) if is_durable else None
        self._label = label or (FolderLabels(Path.cwd()).apply if is_durable else None)
        self._recent = MemoryLedger(max_entries=_MAX_RECENT_ENTRIES)
        others = [ledger] if ledger is not None and ledger != "memory" else []
        self._views: list[Ledger] = [self._recent, *others, self.router]
        Tee(*self._views)  # an object that is not a view fails here, not at its first entry
        self._retry = retry
        self._given_book = build_memory_book(settings) if ledger == "memory" and not book else book
        self._opened: OpenedBook | None = None
        self._closing = AsyncExitStack()

    @classmethod
    def from_env(
        cls, *, book: Book | None = None, ledger: Ledger | Literal["memory"] | None = None
    ) -> Self:
        """Build a gateway from the environment and `devflow.toml`; enter it to use it.

        Args:
            book: see the class.
            ledger: see the class.

        Raises:
            ConfigurationError: a setting is wrong, the list of models is damaged, or there is no
                key.
        """
        settings = Settings.load()
        settings.require_keys()
        return cls(settings, book=book, ledger=ledger)

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise ConfigurationError("The gateway is open already; enter it once.")
        async with AsyncExitStack() as stack:
            book = self._given_book
            if book is None:
                book = await stack.enter_async_context(make_store(self.settings))
            if isinstance(book, Store):
                book.origin.require(make_origin(self.settings))
                await set_settings_budget(self.settings, book)
                replay(read_latest_measured(book, self.settings, LOOKBACK), self.router)
            self._opened = self._open(book)
            self._closing = stack.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._opened = None
        async with AsyncExitStack() as stack:  # each is closed, even if another one fails to close
            stack.push_async_exit(self._closing)  # the ledger last
            for one in (self._transport, *self._providers, self.catalogue):
                stack.push_async_callback(one.aclose)

    def _open(self, book: Book) -> OpenedBook:
        """Return the parts that need an open book, made for this one."""
        views = list(self._views)
        reader = build_reader(book, views)
        settings = self.settings
        build = partial(
            build_executor, settings, keys=self.keys, limiter=self._limiter, retry=self._retry
        )
        pipeline = Pipeline(
            classifier=self.classifier,
            router=self.router,
            executor=Verifying(
                build(self.api, others=self._providers), self.router, usual=read_checks(settings)
            ),
            book=book,
            ledger=Tee(*views),
            deadline_s=settings.total_timeout_s,
            bills_on_cancel=bills_on_cancel,
            encode_decision=encode_route,
            find_served=self.catalogue.find_served,
            label=self._label,
        )
        embedder = EmbeddingsUpstream(self.api)
        embeddings = Pipeline(
            classifier=EmbeddingsClassifier(),
            router=NamedModelRouter(self._names.resolve, self.catalogue.find_priced),
            executor=build(embedder),
            book=book,
            # the router learns from chats alone
            ledger=Tee(*(one for one in views if one is not self.router)),
            deadline_s=settings.total_timeout_s,
            label=self._label,
        )
        claims = book.idempotency if isinstance(book, Store) else MemoryClaims()
        keyed = KeyedReplies(claims, timeout_s=settings.total_timeout_s)
        return OpenedBook(
            book=book, reader=reader, pipeline=pipeline, embeddings=embeddings, keyed=keyed
        )

    def _own_checks(self, request: ChatRequest, given: Verification | None) -> Verification | None:
        return given or add_command(self.settings, self._names, request)

    def _require_open(self) -> OpenedBook:
        """Return the parts that need an open book; entering has made them."""
        if self._opened is None:
            name = type(self).__name__
            raise ConfigurationError(
                f"The gateway is not open. Use it inside `async with {name}.from_env() as gateway:`"
                " (or `enter_async_context`), which opens its ledger and its budgets."
            )
        return self._opened

    def with_book(self, book: Book) -> Self:
        """Return a view of this open gateway whose calls are booked in another book.

        It shares everything else, and is closed with this one. Reports and idempotency keys stay
        those of this gateway's book.

        Raises:
            ConfigurationError: the gateway has not been entered.
        """
        opened = self._require_open()
        view = copy.copy(self)
        view._opened = replace(  # noqa: SLF001 - a copy of itself
            opened,
            book=book,
            pipeline=opened.pipeline.with_book(book),
            embeddings=opened.embeddings.with_book(book),
        )
        return view

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline of every chat request.

        Raises:
            ConfigurationError: the gateway has not been entered.
        """
        return self._require_open().pipeline

    @property
    def embeddings(self) -> Pipeline:
        """The pipeline of every call for embeddings.

        Raises:
            ConfigurationError: the gateway has not been entered.
        """
        return self._require_open().embeddings

    async def refresh_catalogue(self) -> tuple[CatalogueChange, ...]:
        """Fetch OpenRouter's list of models into the shared catalogue; return what has changed.

        With a key, the scores of models are fetched as well; `catalogue.evidence.last_error` says
        why they were not, and choices go on with those known.

        Raises:
            DevFlowError: the list could not be fetched, and the old one stays in use.
            ConfigurationError: the list holds no model, and the old one stays in use; or the new
                one is in use but could not be saved.
        """
        changes = await self.catalogue.refresh(self._fetch_models)
        with contextlib.suppress(DevFlowError):
            await self.catalogue.evidence.refresh(self._fetch_evidence)
        return changes

    async def learn_price(self, model: str) -> None:
        """Fetch the list of models if the price of an embeddings model is unknown so far.

        The shipped list has none of them. At most one fetch an hour; nothing is raised.
        """
        await self.catalogue.learn_price(self._names.resolve(model), self._fetch_list)

    async def keep_catalogue_fresh(self, on_error: Callable[[DevFlowError], None]) -> None:
        """Renew the list of models hourly until cancelled; `on_error` gets every failure."""
        await self.catalogue.run(self._fetch_models, on_error=on_error)

    async def follow_learned(self, interval_s: float) -> None:
        """Use every table that is learned or undone in the data folder, until cancelled."""
        await follow_learned(self.settings, self.router, interval_s)

    async def keep_evidence_fresh(self, on_error: Callable[[DevFlowError], None]) -> None:
        """Renew the scores of models daily until cancelled; needs a key.

        Args:
            on_error: called when that fails for another reason than the time before.
        """
        await self.catalogue.evidence.run(self._fetch_evidence, on_error=on_error)

    async def _fetch_evidence(self) -> JsonObject:
        return await fetch_evidence(self.api, self.keys.keys)

    async def _fetch_list(self) -> JsonObject:
        """Fetch the list alone, for a request that waits for it."""
        return await fetch_document(self.api, self.catalogue.current)

    async def _fetch_models(self) -> JsonObject:
        # dozens of decisions: milliseconds that no request should wait for
        likely = await asyncio.to_thread(list_likely_models, self.router)
        key = next(iter(self.keys.keys), None)
        return await fetch_document(self.api, self.catalogue.current, likely, key=key)

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

        With a durable ledger the rating is kept for `devflow routing train` as well.

        Args:
            entry_id: the id of one of this gateway's last 1,000 requests.
            score: 0 (bad) to 1 (good).

        Raises:
            NotFound: none of them has this id.
            ValueError: the score is not within 0..1.
            ConfigurationError: the rating cannot be written.
        """
        entry = self._recent.get(entry_id)
        if entry is None:
            raise NotFound(f"No recent request has the id {entry_id!r}.")
        if self._ratings is not None:
            self._ratings.add(entry_id, score)
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
            since: inclusive, UTC; None: from the first entry.
            until: exclusive, UTC; None: to the last.

        Raises:
            ConfigurationError: the gateway has not been entered.
            InvalidRequest: `by` names no dimension, or not one or two different ones.
            StoreError: the ledger cannot be read.
        """
        reporter = Reporter(
            self._require_open().reader,
            price_of=self.catalogue.price_of,
            baseline_model=self.settings.baseline_model,
        )
        return await asyncio.to_thread(reporter.report, by, since=since, until=until)

    @property
    def recent_entries(self) -> tuple[LedgerEntry, ...]:
        """The entries of this gateway's latest requests, at most 1,000, oldest first."""
        return tuple(self._recent.entries)
