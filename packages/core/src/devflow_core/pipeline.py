"""Runs a request from start to end: inject context, classify, route, execute, close."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

import structlog

from devflow_core.attribution import Attribution
from devflow_core.clocks import Clocks
from devflow_core.errors import DevFlowError
from devflow_core.events import Event, Finished, FinishReason
from devflow_core.journal import FindModel, Journal
from devflow_core.ledger import Book, Ledger, LedgerEntry, Outcome
from devflow_core.messages import Part, ToolCall
from devflow_core.ports import Classifier, ContextInjector, Executor, Router
from devflow_core.request import ChatRequest, ContextPiece
from devflow_core.response import ChatResponse, Collector
from devflow_core.routing import Route
from devflow_core.scope import filter_by_scope
from devflow_core.shielding import finish_despite_cancel
from devflow_core.usage import Usage

_log = structlog.get_logger("devflow.pipeline")
_MAX_LOGGED_NAMES = 1_000
"""The most unknown names that are logged; later ones are not, since callers may send any name."""


class Reply:
    """A reply that has begun: iterate over it for its events.

    `entry_id`, `request` (with its context) and `route` are known from the start; `entry` is set
    once the reply has ended, before its `Finished` is handed out.
    """

    def __init__(self, request: ChatRequest, route: Route, journal: Journal) -> None:
        self.request = request
        self.route = route
        self.journal = journal
        self._events: AsyncIterator[Event] | None = None

    @property
    def entry(self) -> LedgerEntry | None:
        """The ledger's entry of this request; None until the reply has ended."""
        return self.journal.entry

    @property
    def entry_id(self) -> str:
        """The id of this request in the ledger."""
        return self.journal.entry_id

    def __aiter__(self) -> AsyncIterator[Event]:
        if self._events is None:
            raise RuntimeError("the reply has not been opened")
        return self._events

    def complete(self, collector: Collector) -> Completion:
        """Return the whole reply, from the collector that has seen all of its events."""
        assert self.entry is not None  # noqa: S101 - set before the last event is handed out
        return Completion(
            response=collector.to_response(),
            route=self.route,
            entry=self.entry,
            context=self.request.context,
        )

    def attach(self, events: AsyncIterator[Event]) -> None:
        """Set the events of the reply; the pipeline does this once."""
        self._events = events


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole reply, with the route that was taken and its entry in the ledger."""

    response: ChatResponse
    route: Route
    entry: LedgerEntry
    context: tuple[ContextPiece, ...] = ()
    """The pieces of context that were added to the request."""

    @property
    def text(self) -> str:
        """The answer, without reasoning."""
        return self.response.text

    @property
    def parts(self) -> tuple[Part, ...]:
        """Reasoning, text and tool calls in the order they began."""
        return self.response.parts

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls that the model requests."""
        return self.response.tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        """Why the reply ended."""
        return self.response.finish_reason

    @property
    def generation_id(self) -> str | None:
        """The upstream's id of the call that answered; None if it reported none."""
        return self.response.generation_id

    @property
    def model(self) -> str:
        """The model that answered, by the id under which it was requested."""
        return self.entry.model

    @property
    def provider(self) -> str | None:
        """The provider that answered behind a router; None if the upstream did not report it."""
        return self.response.provider

    @property
    def usage(self) -> Usage:
        """The tokens of the call that answered."""
        return self.entry.final_attempt.usage if self.entry.final_attempt else Usage()

    @property
    def cost_usd(self) -> Decimal:
        """The cost of the request in USD, including failed attempts."""
        return self.entry.cost_usd


class Pipeline:
    """Carries one request from the hub's value to its entry in the ledger.

    Args:
        classifier: finds what a request is about.
        router: chooses the models that may answer.
        executor: asks them in turn.
        book: where attempts and entries become durable.
        ledger: receives each entry once it is durable.
        deadline_s: how many seconds one request may take in all.
        bills_on_cancel: whether a provider keeps charging for a reply that is no longer read.
        encode_decision: turns a route into the text that the entry keeps; None: none is kept.
        find_served: finds the model that a reply names, if the provider may let any answer.
        label: completes the labels of a request; None: they stay as given.
        clocks: the sources of time.
    """

    def __init__(  # noqa: PLR0913 - the parts list of the pipeline
        self,
        *,
        classifier: Classifier,
        router: Router,
        executor: Executor,
        book: Book,
        ledger: Ledger,
        deadline_s: float = 600.0,
        bills_on_cancel: Callable[[str | None], bool] = lambda _provider: True,
        encode_decision: Callable[[Route], str] | None = None,
        find_served: FindModel | None = None,
        label: Callable[[Attribution], Attribution] | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._classifier = classifier
        self._router = router
        self._executor = executor
        self.book = book
        """Where attempts and entries become durable."""
        self._ledger = ledger
        self._deadline_s = deadline_s
        self._bills_on_cancel = bills_on_cancel
        self._encode_decision = encode_decision
        self._find_served = find_served
        self._label = label
        self._clocks = clocks or Clocks()
        self._logged_names: set[str] = set()

    def with_book(self, book: Book) -> Pipeline:
        """Return a pipeline with another book that shares everything else with this one."""
        other = copy.copy(self)
        other.book = book
        return other

    def stream(
        self,
        request: ChatRequest,
        *,
        session: ContextInjector | None = None,
        entry_id: str | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """Return a context manager for a reply that yields its events as they come.

        Entering it makes the call and waits for the first content. The last event is `Finished`,
        and comes only once the entry is durable. Leaving early cancels the call upstream and writes
        the entry as cancelled.

        Args:
            request: what is asked.
            session: adds the context of a session first; None: nothing is added.
            entry_id: the id to book under, if the caller has announced one already.

        Raises:
            DevFlowError: on entry if no model began to answer, from the iterator if the reply broke
                off. The entry is durable once the context is left.
            StoreError: the entry could not be made durable.
        """
        return self._stream(request, session, entry_id)

    async def complete(
        self,
        request: ChatRequest,
        *,
        session: ContextInjector | None = None,
        entry_id: str | None = None,
    ) -> Completion:
        """Return the whole reply, collected from its events; arguments as of `stream`.

        Raises:
            DevFlowError: no model began to answer, or the reply broke off; the entry is durable.
            StoreError: the entry could not be made durable.
        """
        collector = Collector()
        async with self.stream(request, session=session, entry_id=entry_id) as reply:
            async for event in reply:
                collector.add(event)
        return reply.complete(collector)

    @asynccontextmanager
    async def _stream(
        self, request: ChatRequest, session: ContextInjector | None, entry_id: str | None
    ) -> AsyncGenerator[Reply]:
        journal = Journal(
            request,
            book=self.book,
            deadline_s=self._clocks.monotonic() + self._deadline_s,
            clocks=self._clocks,
            bills_on_cancel=self._bills_on_cancel,
            entry_id=entry_id,
        )
        if self._find_served is not None:
            journal.find_served = self._find_served
        stack = AsyncExitStack()
        error: BaseException | None = None
        try:
            async with stack:
                yield await self._begin(request, session, journal, stack)
        except BaseException as caught:
            error = caught
            if isinstance(caught, DevFlowError):
                caught.attempts = len(journal.ended)
            raise
        finally:
            if journal.entry is None:
                outcome: Outcome = "failed" if isinstance(error, Exception) else "cancelled"
                await self._close(journal, outcome, error)

    async def _begin(
        self,
        request: ChatRequest,
        session: ContextInjector | None,
        journal: Journal,
        stack: AsyncExitStack,
    ) -> Reply:
        if session is not None:
            request = await session.inject(request)
        if self._label is not None:
            request = replace(request, attribution=self._label(request.attribution))
        journal.set_request(request)
        task = self._classifier.classify(request)
        route = filter_by_scope(request, self._router.route(request, task))
        for unknown_name, model in route.substitutions:
            self._log_once(unknown_name, model)
        journal.set_route(route)
        events = await stack.enter_async_context(self._executor.open(request, route, journal))
        reply = Reply(request, journal.route or route, journal)
        reply.attach(self._relay_events(events, reply, stack))
        return reply

    def _log_once(self, unknown_name: str, model: str) -> None:
        """Log that a model is asked in place of an unknown name, once for each name."""
        if unknown_name not in self._logged_names and len(self._logged_names) < _MAX_LOGGED_NAMES:
            self._logged_names.add(unknown_name)
            _log.warning("model.substituted", requested=unknown_name, model=model)

    async def _relay_events(
        self, events: AsyncIterator[Event], reply: Reply, stack: AsyncExitStack
    ) -> AsyncIterator[Event]:
        async for event in events:
            if isinstance(event, Finished):
                await stack.aclose()
                await self._close(reply.journal, "succeeded", None)
            yield event

    async def _close(self, journal: Journal, outcome: Outcome, error: BaseException | None) -> None:
        """Write the entry, even while the task is being cancelled, then feed the views."""
        decision = None
        if self._encode_decision is not None and journal.route is not None:
            decision = self._encode_decision(journal.route)
        writing = journal.close(outcome, error=error, decision=decision)
        try:
            await finish_despite_cancel(writing)
        finally:
            if journal.entry is not None:
                self._ledger.record(journal.entry)
