"""Offers the gateway to programs without an event loop: the names and arguments of AsyncGateway."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

from devflow_analytics import Report
from devflow_claude_code import ClaudeCodeSession
from devflow_core.attribution import Attribution
from devflow_core.call_arguments import UsdAmount
from devflow_core.dimensions import GroupBy
from devflow_core.errors import ConfigurationError
from devflow_core.events import Event
from devflow_core.ledger import Book, Ledger, LedgerEntry
from devflow_core.pipeline import Completion, Reply
from devflow_core.ports import Classifier, ContextInjector, Router
from devflow_core.request import ChatRequest
from devflow_core.routing import Route, SelectionCriteria
from devflow_core.settings import Settings
from devflow_core.verification import Verification
from devflow_routing import CatalogueChange, LiveCatalogue
from devflow_upstream.embeddings import Embeddings
from devflow_upstream.loop_thread import LoopThread, Relay
from devflow_upstream.transport.protocol import Transport

from devflow_gateway.async_gateway import AsyncGateway
from devflow_gateway.calls.arguments import CompleteArguments, LabelArguments
from devflow_gateway.calls.batch import DEFAULT_CONCURRENCY, Batch
from devflow_gateway.calls.blocking_batch import BlockingBatch
from devflow_gateway.calls.parsing import ParsedCompletion
from devflow_gateway.calls.tool_rounds import (
    DEFAULT_DEADLINE_S,
    DEFAULT_ROUNDS,
    AnyTool,
    ToolRun,
)
from devflow_gateway.handoff import HandedOff
from devflow_gateway.streamed_reply import StreamedReply

if TYPE_CHECKING:
    import httpx
    import httpx2

T = TypeVar("T")


class Gateway:
    """Every configured provider behind one object: enter it, then call `complete` or `stream`.

    It runs an `AsyncGateway` in a thread of its own. Its methods block, and may be called from
    several threads at once. Ctrl-C cancels the call under way, which is booked as cancelled. Inside
    a running event loop use `AsyncGateway`.

    Args:
        settings: keys of all providers, limits, deadlines, weights, and where the ledger is.
        book: a book that belongs to no event loop (such as a `MemoryBook`), in place of the
            settings' ledger; its owner closes it.
        ledger: `"memory"`, or a view that receives every entry besides the gateway's own.
        catalogue: the models and their prices; see `AsyncGateway`.
        router: chooses the models; None: one is made from the settings and the catalogue.
        classifier: finds what a request is about; None: the shipped one.
        transport: carries the calls to the main provider; None: chosen by the settings. Closed with
            the gateway.
        label: completes the labels of each request; see `AsyncGateway`.

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
        label: Callable[[Attribution], Attribution] | None = None,
    ) -> None:
        self._gateway = AsyncGateway(
            settings,
            book=book,
            ledger=ledger,
            catalogue=catalogue,
            router=router,
            classifier=classifier,
            transport=transport,
            label=label,
        )
        self._thread: LoopThread | None = None

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

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise ConfigurationError("The gateway is open already; enter it once.")
        thread = LoopThread(self._gateway, name="devflow-gateway", instead="AsyncGateway")
        thread.start()
        self._thread = thread
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    @property
    def settings(self) -> Settings:
        """The settings that it was made with."""
        return self._gateway.settings

    @property
    def catalogue(self) -> LiveCatalogue:
        """The models and their prices."""
        return self._gateway.catalogue

    @property
    def recent_entries(self) -> tuple[LedgerEntry, ...]:
        """The entries of this gateway's latest requests, oldest first."""
        return self._gateway.recent_entries

    @overload
    def complete(
        self,
        request: ChatRequest,
        *,
        response_model: None = None,
        **arguments: Unpack[CompleteArguments],
    ) -> Completion: ...
    @overload
    def complete(
        self,
        request: ChatRequest,
        *,
        response_model: type[T],
        **arguments: Unpack[CompleteArguments],
    ) -> ParsedCompletion[T]: ...
    def complete(
        self,
        request: ChatRequest,
        *,
        response_model: type[Any] | None = None,
        **arguments: Unpack[CompleteArguments],
    ) -> Completion:
        """Return the whole reply; arguments and errors as of `AsyncGateway.complete`."""
        loop = self._loop()  # a coroutine that is made before this fails is awaited by nobody
        return loop.run(self._gateway.complete(request, response_model=response_model, **arguments))

    def batch(
        self,
        requests: Iterable[ChatRequest],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        response_model: type[Any] | None = None,
        **arguments: Unpack[CompleteArguments],
    ) -> BlockingBatch:
        """Return a batch of requests: iterate over it for the results, in the order they come.

        Use it in `with` if you may stop early. Arguments and errors as of `AsyncGateway.batch`.
        """
        thread = self._loop()

        def make() -> Batch:
            return self._gateway.batch(
                requests, concurrency=concurrency, response_model=response_model, **arguments
            )

        return BlockingBatch(thread, thread.run(_call(make)))

    def run_tools(  # noqa: PLR0913 - the arguments that every call takes
        self,
        request: ChatRequest,
        tools: Sequence[AnyTool],
        *,
        max_rounds: int = DEFAULT_ROUNDS,
        deadline_s: float = DEFAULT_DEADLINE_S,
        on_round: Callable[[ToolRun], None] | None = None,
        session: ContextInjector | None = None,
        max_cost_usd: UsdAmount | None = None,
        **labels: Unpack[LabelArguments],
    ) -> ToolRun:
        """Let the model call functions until it has answered; as `AsyncGateway.run_tools`.

        Functions that are not `async` run in threads of their own, `on_round` in the gateway's.
        """
        return self._loop().run(
            self._gateway.run_tools(
                request,
                tools,
                max_rounds=max_rounds,
                deadline_s=deadline_s,
                on_round=on_round,
                session=session,
                max_cost_usd=max_cost_usd,
                **labels,
            )
        )

    @contextmanager
    def stream(  # noqa: PLR0913 - the arguments that every call takes
        self,
        request: ChatRequest,
        *,
        criteria: SelectionCriteria | None = None,
        session: ContextInjector | None = None,
        max_cost_usd: UsdAmount | None = None,
        project: str | Path | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        entry_id: str | None = None,
        verification: Verification | None = None,
    ) -> Generator[StreamedReply]:
        """Yield a reply that is iterated for its events; as `AsyncGateway.stream`.

        Leaving early cancels the call, of which up to 64 events may have been read ahead.
        """
        opened = self._gateway.stream(
            request,
            criteria=criteria,
            session=session,
            max_cost_usd=max_cost_usd,
            project=project,
            tags=tags,
            idempotency_key=idempotency_key,
            entry_id=entry_id,
            verification=verification,
        )
        relay = Relay[Event](self._loop(), opened)
        reply = relay.open()
        assert isinstance(reply, Reply)  # noqa: S101 - what `stream` opens
        try:
            yield StreamedReply(reply, iter(relay))
        finally:
            relay.close()

    def embed(  # noqa: PLR0913 - the arguments that every call takes
        self,
        texts: str | Sequence[str],
        *,
        model: str,
        dimensions: int | None = None,
        criteria: SelectionCriteria | None = None,
        session: ContextInjector | None = None,
        max_cost_usd: UsdAmount | None = None,
        project: str | Path | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Embeddings:
        """Return the vectors of texts; arguments and errors as of `AsyncGateway.embed`."""
        return self._loop().run(
            self._gateway.embed(
                texts,
                model=model,
                dimensions=dimensions,
                criteria=criteria,
                session=session,
                max_cost_usd=max_cost_usd,
                project=project,
                tags=tags,
                idempotency_key=idempotency_key,
            )
        )

    def explain(  # noqa: PLR0913 - the arguments that every call takes
        self,
        request: ChatRequest,
        criteria: SelectionCriteria | None = None,
        *,
        session: ContextInjector | None = None,
        max_cost_usd: UsdAmount | None = None,
        project: str | Path | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Route:
        """Return the route that a request would take now; as `AsyncGateway.explain`.

        The gateway need not be entered.
        """

        def explain() -> Route:
            return self._gateway.explain(
                request,
                criteria,
                session=session,
                max_cost_usd=max_cost_usd,
                project=project,
                tags=tags,
                idempotency_key=idempotency_key,
            )

        return explain() if self._thread is None else self._thread.run(_call(explain))

    def hand_off(
        self,
        session: ClaudeCodeSession,
        prompt: str | None = None,
        *,
        to: str = "auto",
        max_cost_usd: UsdAmount | None = None,
    ) -> HandedOff:
        """Let another model continue a Claude Code session; as `AsyncGateway.hand_off`."""
        moved = self._gateway.hand_off(session, prompt, to=to, max_cost_usd=max_cost_usd)
        return self._loop().run(moved)

    def feedback(self, entry_id: str, score: float) -> bool:
        """Learn from a user's rating of an answer; as `AsyncGateway.feedback`."""
        return self._loop().run(_call(lambda: self._gateway.feedback(entry_id, score)))

    def report(
        self,
        by: GroupBy = "model",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Report:
        """Report cost, usage and performance from the book; as `AsyncGateway.report`."""
        return self._loop().run(self._gateway.report(by, since=since, until=until))

    def refresh_catalogue(self) -> tuple[CatalogueChange, ...]:
        """Fetch the list of models; as `AsyncGateway.refresh_catalogue`."""
        return self._loop().run(self._gateway.refresh_catalogue())

    def learn_limits(self) -> None:
        """Ask the provider for the limits of the keys; as `AsyncGateway.learn_limits`."""
        self._loop().run(self._gateway.learn_limits())

    @overload
    def as_httpx_client(self, *, library: Literal["httpx2"] | None = None) -> httpx2.Client: ...
    @overload
    def as_httpx_client(self, *, library: Literal["httpx"]) -> httpx.Client: ...
    def as_httpx_client(
        self, *, library: Literal["httpx2", "httpx"] | None = None
    ) -> httpx2.Client | httpx.Client:
        """Return a blocking client of this open gateway; as `AsyncGateway.as_httpx_client`."""
        from devflow_gateway.interop.httpx_client import make_client

        if library == "httpx":
            return make_client(self._gateway, self._loop(), library="httpx")
        return make_client(self._gateway, self._loop(), library=library)

    @overload
    def as_async_httpx_client(
        self, *, library: Literal["httpx2"] | None = None
    ) -> httpx2.AsyncClient: ...
    @overload
    def as_async_httpx_client(self, *, library: Literal["httpx"]) -> httpx.AsyncClient: ...
    def as_async_httpx_client(
        self, *, library: Literal["httpx2", "httpx"] | None = None
    ) -> httpx2.AsyncClient | httpx.AsyncClient:
        """Return an asynchronous client of this open gateway that works in any event loop."""
        from devflow_gateway.interop.httpx_client import make_async_client

        if library == "httpx":
            return make_async_client(self._gateway, library="httpx", portal=self._loop())
        return make_async_client(self._gateway, library=library, portal=self._loop())

    def _loop(self) -> LoopThread:
        """Return the running thread.

        Raises:
            ConfigurationError: the gateway has not been entered.
        """
        if self._thread is None:
            raise ConfigurationError(
                "The gateway is not open. Use it inside `with Gateway.from_env() as gateway:`,"
                " which opens its ledger and its budgets."
            )
        return self._thread


async def _call(work: Callable[[], T]) -> T:
    return work()
