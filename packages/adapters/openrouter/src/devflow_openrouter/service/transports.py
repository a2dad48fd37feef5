"""Carries the service's calls: over our own connections, or over the program's HTTP client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, cast

import httpx
import orjson
from devflow_core.errors import NotSent, PossiblyAccepted, ProtocolError
from devflow_core.settings import Settings
from devflow_upstream.stack import build_transport
from devflow_upstream.transport.httpx_transport import HttpxTransport
from devflow_upstream.transport.protocol import HttpRequest, Transport, UpstreamExchange


class HttpClient(Protocol):
    """What the service needs of a program's own HTTP client; `httpx.AsyncClient` has it.

    A client that is not httpx's is asked by `post(url, headers=…, json=…, timeout=…)` and
    `get(url, headers=…, timeout=…)`; by `stream` in place of a missing `post`. Each answers with a
    response as httpx's: `status_code`, `headers`, and `content` or `json()`.
    """

    @property
    def get(self) -> Callable[..., Awaitable[Any]]:
        """Sends a GET request."""
        ...

    @property
    def post(self) -> Callable[..., Awaitable[Any]]:
        """Sends a POST request."""
        ...

    @property
    def stream(self) -> Callable[..., Any]:
        """Returns a context manager of a response whose body is still to come."""
        ...


def make_transport(settings: Settings, client: HttpClient | None, timeout_s: float) -> Transport:
    """Return a transport on which every byte counts as progress; the caller closes it.

    Args:
        settings: the base URL, the longest time in total, and the proxy of our own connections.
        client: the program's own client, which its owner closes; None: our own connections.
        timeout_s: seconds to connect, and the longest silence.
    """
    base_url = settings.base_url
    if client is None:
        inner = build_transport(settings, base_url, connect_timeout_s=timeout_s)
    elif issubclass(type(client), httpx.AsyncClient):
        # not isinstance: a mock made from the class says it is one, and has no `send` that works
        own = cast("httpx.AsyncClient", client)
        inner = HttpxTransport(base_url, own, connect_timeout_s=timeout_s)
    else:
        inner = _ForeignTransport(base_url, client, timeout_s)
    return _EveryByteCounts(inner, timeout_s, settings.total_timeout_s)


def has_pooled_connections(client: HttpClient | None) -> bool:
    """Return whether a client keeps sockets that belong to the event loop which opened them."""
    return isinstance(getattr(client, "_transport", None), httpx.AsyncHTTPTransport)


class _EveryByteCounts:
    """A `Transport` whose replies time out after a silence of bytes, comments included.

    OpenRouter sends comments while a model thinks, so that a reply without text is not yet a reply
    that hangs. In total it may take no longer than `max_total_s`.
    """

    def __init__(self, inner: Transport, silence_s: float, max_total_s: float) -> None:
        self._inner = inner
        self._silence_s = silence_s
        self._max_total_s = max_total_s

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> UpstreamExchange:
        last_s = asyncio.get_running_loop().time() + self._max_total_s
        exchange = await self._inner.start(request, deadline_s=deadline_s)
        return _LivelyExchange(exchange, self._silence_s, last_s)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _LivelyExchange:
    """An exchange whose deadline moves on with every byte that comes."""

    def __init__(self, inner: UpstreamExchange, silence_s: float, last_s: float) -> None:
        self._inner = inner
        self._silence_s = silence_s
        self._last_s = last_s

    @property
    def deadline_s(self) -> float:
        return self._inner.deadline_s

    @deadline_s.setter
    def deadline_s(self, deadline_s: float, /) -> None:
        self._inner.deadline_s = deadline_s

    @property
    def status(self) -> int:
        return self._inner.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._inner.headers

    async def read(self) -> bytes:
        data = await self._inner.read()
        now_s = asyncio.get_running_loop().time()
        self._inner.deadline_s = min(self._last_s, now_s + self._silence_s)
        return data

    async def close(self, *, is_complete: bool) -> None:
        await self._inner.close(is_complete=is_complete)


class _ForeignTransport:
    """A `Transport` over any object with httpx's methods; each reply is read whole."""

    def __init__(self, base_url: str, client: HttpClient, timeout_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = client
        self._timeout_s = timeout_s

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> UpstreamExchange:
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self._send(request, deadline_s)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotSent(f"The upstream cannot be reached: {error}.") from error
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except httpx.TransportError as error:
            raise PossiblyAccepted("The connection broke before a reply came.") from error

    async def aclose(self) -> None:
        """Do nothing: the client is its owner's."""

    async def _send(self, request: HttpRequest, deadline_s: float) -> UpstreamExchange:
        url = self._base_url + request.path
        options: dict[str, Any] = {"headers": dict(request.headers), "timeout": self._timeout_s}
        if request.method == "GET":
            return _whole(await self._client.get(url, **options), deadline_s)
        options["json"] = orjson.loads(request.body)
        if hasattr(self._client, "post"):
            return _whole(await self._client.post(url, **options), deadline_s)
        async with self._client.stream(request.method, url, **options) as response:
            if hasattr(response, "aread"):
                await response.aread()
            return _whole(response, deadline_s)


def _whole(response: Any, deadline_s: float) -> _WholeExchange:
    """Return a response that has been read, as an exchange.

    Raises:
        ProtocolError: it has no status, or no body that can be read.
    """
    status, content = getattr(response, "status_code", None), getattr(response, "content", None)
    if not isinstance(status, int):
        raise ProtocolError("The response of http_client has no status_code.")
    if not isinstance(content, bytes):
        try:
            content = orjson.dumps(response.json())
        except (AttributeError, TypeError, ValueError) as error:
            raise ProtocolError(
                "The response of http_client has neither bytes in content nor a json() that returns"
                " an object."
            ) from error
    headers = getattr(response, "headers", None)
    items = cast("Mapping[Any, Any]", headers).items() if isinstance(headers, Mapping) else ()
    named = {str(name).lower(): str(value) for name, value in items}
    named.setdefault("content-type", "application/json")
    return _WholeExchange(status, named, content, deadline_s)


class _WholeExchange:
    """An exchange whose reply has been read whole."""

    def __init__(
        self, status: int, headers: Mapping[str, str], content: bytes, deadline_s: float
    ) -> None:
        self.status = status
        self.headers = headers
        self.deadline_s = deadline_s
        self._content = content

    async def read(self) -> bytes:
        data, self._content = self._content, b""
        return data

    async def close(self, *, is_complete: bool) -> None:
        """Do nothing: the client's connection is its own."""
