"""Offers the gateway over every configured provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, overload

from devflow_claude_code import ClaudeCodeSession, hand_off
from devflow_claude_code.handoff.request import DEFAULT_PROMPT
from devflow_core.attribution import Attribution
from devflow_core.call_arguments import UsdAmount
from devflow_core.ledger import Book, Ledger
from devflow_core.ports import Classifier, Router
from devflow_core.settings import Settings
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.parts import choose_catalogue, opens_ledger
from devflow_routing import LiveCatalogue
from devflow_upstream.transport.protocol import Transport

from devflow_gateway.handoff import HandedOff, find_handoff_target
from devflow_gateway.providers.table import connect_providers, list_model_rows

if TYPE_CHECKING:
    import httpx
    import httpx2


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
        close the client (or the SDK's, which does it) before leaving the gateway.

        Args:
            library: whose client is returned; None: httpx2 if it is installed, as the SDKs of
                OpenAI and Anthropic have it, otherwise httpx.

        Raises:
            ConfigurationError: the package `devflow-gateway-server` is not installed.
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
        target = find_handoff_target(to, self.catalogue.current)
        prepared = hand_off(session, prompt or DEFAULT_PROMPT, target=target)
        reply = await self.complete(prepared.request, max_cost_usd=max_cost_usd)
        return HandedOff(
            reply=reply,
            handoff=prepared,
            session=session,
            config_dir=self.settings.claude_dir,
        )
