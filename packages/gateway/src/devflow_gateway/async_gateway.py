"""Offers the gateway over every configured provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from devflow_claude_code import ClaudeCodeSession, hand_off
from devflow_claude_code.handoff.request import DEFAULT_PROMPT
from devflow_core.attribution import Attribution
from devflow_core.call_arguments import UsdAmount
from devflow_core.ledger import Book, Ledger
from devflow_core.pipeline import Completion
from devflow_core.ports import Classifier, ContextInjector, Router
from devflow_core.request import ChatRequest
from devflow_core.routing import SelectionCriteria
from devflow_core.settings import Settings
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.parts import choose_catalogue, opens_ledger
from devflow_routing import LiveCatalogue
from devflow_upstream.embeddings import Embeddings
from devflow_upstream.transport.protocol import Transport

from devflow_gateway.calls.arguments import (
    CompleteArguments,
    LabelArguments,
    NumberedAsker,
    RequestAsker,
)
from devflow_gateway.calls.batch import DEFAULT_CONCURRENCY, Batch
from devflow_gateway.calls.batch_run import Requests
from devflow_gateway.calls.gathered_embeddings import EmbeddingsGatherer
from devflow_gateway.calls.parsing import ParsedCompletion, complete_parsed
from devflow_gateway.calls.tool_rounds import (
    DEFAULT_DEADLINE_S,
    DEFAULT_ROUNDS,
    AnyTool,
    ToolRun,
    run_tools,
)
from devflow_gateway.handoff import HandedOff, find_handoff_target
from devflow_gateway.providers.table import connect_providers, list_model_rows

if TYPE_CHECKING:
    import httpx
    import httpx2

T = TypeVar("T")


class AsyncGateway(OpenRouterGateway):
    """OpenRouter and every other configured provider behind one object; see `OpenRouterGateway`.

    Args:
        settings: keys of all providers, limits, deadlines, weights, and where the ledger is.
        book: an open book in place of the settings' ledger; its owner closes it.
        ledger: `"memory"`, or a view that receives every entry besides the gateway's own.
        catalogue: the models and their prices; None: chosen as in `OpenRouterGateway`, with the
            models of the other providers. Closed with the gateway.
        router: chooses the models; None: one is made from the settings and the catalogue.
        classifier: finds what a request is about; None: the shipped one.
        transport: carries the calls to OpenRouter; None: chosen by the settings. Closed with the
            gateway.
        label: completes the labels of each request; None: chosen as in `OpenRouterGateway`.

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
        super().__init__(
            settings,
            book=book,
            ledger=ledger,
            catalogue=catalogue
            or choose_catalogue(
                settings, is_durable=opens_ledger(book, ledger), rows=list_model_rows(settings)
            ),
            router=router,
            classifier=classifier,
            transport=transport,
            providers=connect_providers(settings),
            label=label,
        )
        self._gatherer = EmbeddingsGatherer()

    @overload
    async def complete(
        self,
        request: ChatRequest,
        *,
        response_model: None = None,
        **arguments: Unpack[CompleteArguments],
    ) -> Completion: ...
    @overload
    async def complete(
        self,
        request: ChatRequest,
        *,
        response_model: type[T],
        **arguments: Unpack[CompleteArguments],
    ) -> ParsedCompletion[T]: ...
    async def complete(
        self,
        request: ChatRequest,
        *,
        response_model: type[Any] | None = None,
        **arguments: Unpack[CompleteArguments],
    ) -> Completion:
        """Return the whole reply; see `OpenRouterGateway.complete`.

        Args:
            request: what is asked; with `response_model`, it may have neither tools nor a format.
            response_model: the type of the reply: a pydantic model, a dataclass, or another type
                that pydantic's `TypeAdapter` takes. The result then has the value as `parsed`, and
                `repairs` is how often a reply that is not a value of the type is asked for again.
            arguments: criteria, session, max_cost_usd, project, tags, idempotency_key, repairs.

        Raises:
            InvalidRequest: an argument is invalid, the type has no JSON schema, or a request with
                `response_model` has tools or a format.
            StructuredOutputInvalid: the last reply does not fit the type or the request's format.
            DevFlowError: as of `OpenRouterGateway.complete`.
        """
        if response_model is None:
            return await super().complete(request, **arguments)
        ask = NumberedAsker(super().complete, arguments)
        repairs = arguments.get("repairs", 0)
        return await complete_parsed(ask, request, response_model, repairs=repairs)

    async def embed(  # noqa: PLR0913 - the arguments that every call takes
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
        """Return the vectors of texts; see `OpenRouterGateway.embed`.

        A single text (a `str`) waits up to 10 ms for others with the same model, dimensions,
        project and tags, and is sent with them in one call: `entry` is that call's, and `cost_usd`
        the text's part of its cost. A text with a session, a cost limit or an idempotency key is
        sent alone, and so is a list of texts.
        """
        is_bare = session is None and max_cost_usd is None and idempotency_key is None
        if isinstance(texts, str) and texts and is_bare:
            return await self._gatherer.embed(
                self, texts, model=model, dimensions=dimensions, project=project, tags=tags
            )
        return await super().embed(
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

    def batch(
        self,
        requests: Requests,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        response_model: type[Any] | None = None,
        **arguments: Unpack[CompleteArguments],
    ) -> Batch:
        """Return a batch of requests: iterate over it for the results, in the order they come.

        Nothing is asked before the iteration begins. A request that fails has its error in its
        result.

        Args:
            requests: what is asked: an iterable, asynchronous or not.
            concurrency: how many are asked at once, 1 to 256.
            response_model: the type of every reply; see `complete`.
            arguments: those of `complete`, for each request, except for two. `max_cost_usd` is the
                most that all requests may cost together: one that no longer fits is not asked, and
                has the error in its result. `idempotency_key` names the batch: another run with it
                within a day does not ask again what was answered, and counts what earlier runs have
                cost towards its limit.

        Raises:
            InvalidRequest: the concurrency, the limit or the length of the key is out of range.
            ConfigurationError: there is a limit or a key and the gateway has not been entered, or
                there is a key and the ledger is in memory.
        """
        bind = partial(RequestAsker, arguments=arguments, response_model=response_model)
        return Batch(
            self,
            requests,
            bind,
            concurrency=concurrency,
            max_cost_usd=arguments.get("max_cost_usd"),
            key=arguments.get("idempotency_key"),
        )

    async def run_tools(  # noqa: PLR0913 - the arguments that every call takes
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
        """Let the model call functions until it has answered.

        Arguments and errors as of `devflow_gateway.calls.tool_rounds.run_tools`.
        """
        return await run_tools(
            self,
            request,
            tools,
            max_rounds=max_rounds,
            deadline_s=deadline_s,
            on_round=on_round,
            session=session,
            max_cost_usd=max_cost_usd,
            **labels,
        )

    @overload
    def as_httpx_client(
        self, *, library: Literal["httpx2"] | None = None
    ) -> httpx2.AsyncClient: ...
    @overload
    def as_httpx_client(self, *, library: Literal["httpx"]) -> httpx.AsyncClient: ...
    def as_httpx_client(
        self, *, library: Literal["httpx2", "httpx"] | None = None
    ) -> httpx2.AsyncClient | httpx.AsyncClient:
        """Return a client that this gateway answers, as the server does, without a socket.

        Give it to an SDK: `openai.AsyncOpenAI(http_client=gateway.as_httpx_client())`. Which base
        URL and key the SDK is given does not matter. Enter the gateway before the first request;
        close the client (or the SDK's client, which closes it) before leaving the gateway.

        Args:
            library: the library of the client; None: httpx2, which the SDKs of OpenAI and Anthropic
                use, if it is installed, otherwise httpx.

        Raises:
            ConfigurationError: the package `devflow-gateway-server` is not installed.
            ImportError: the library is not installed.
        """
        from devflow_gateway.interop.httpx_client import make_async_client

        if library == "httpx":
            return make_async_client(self, library="httpx")
        return make_async_client(self, library=library)

    async def hand_off(
        self,
        session: ClaudeCodeSession,
        prompt: str | None = None,
        *,
        to: str = "auto",
        max_cost_usd: UsdAmount | None = None,
    ) -> HandedOff:
        """Let another model continue a Claude Code session, given its history or a brief of it.

        The old transcript is read, never changed; `write_back` of the result leaves a new one.

        Args:
            session: the session to continue.
            prompt: what to do next; None: continue where it stopped.
            to: the model that takes over: an id, an alias, or `auto`.
            max_cost_usd: the most that it may cost in the worst case, in USD.

        Raises:
            SessionError: the session holds no conversation, or cannot be read.
            DevFlowError: see `complete`.
        """
        target = find_handoff_target(to, self.catalogue.current, self.settings.aliases)
        prepared = hand_off(session, prompt or DEFAULT_PROMPT, target=target)
        reply = await self.complete(prepared.request, max_cost_usd=max_cost_usd)
        return HandedOff(
            reply=reply,
            handoff=prepared,
            session=session,
            config_dir=self.settings.claude_dir,
        )
