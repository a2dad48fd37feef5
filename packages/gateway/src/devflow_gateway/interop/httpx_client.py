"""Makes clients of httpx and httpx2 whose requests a gateway answers, without a socket.

    openai.AsyncOpenAI(http_client=gateway.as_httpx_client(), api_key="any")

The SDKs of OpenAI and Anthropic send with httpx2, older ones and others with httpx: the two look
alike and are not exchangeable, so the library is a parameter here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

from devflow_core.errors import ConfigurationError

from devflow_gateway.interop.local_server import (
    AnsweringGateway,
    BridgedServer,
    LocalReply,
    LocalServer,
    Portal,
    make_local_server,
)

if TYPE_CHECKING:
    import httpx
    import httpx2

Library = Literal["httpx2", "httpx"]
BASE_URL = "http://devflow.invalid/v1"
"""The base URL of relative addresses; `.invalid` leads nowhere if another client is used."""
_GRACE_S = 10.0
"""Seconds that a client waits beyond the gateway's own deadline, whose error says more."""


@overload
def make_async_client(
    gateway: AnsweringGateway,
    *,
    library: Literal["httpx2"] | None = None,
    portal: Portal | None = None,
) -> httpx2.AsyncClient: ...
@overload
def make_async_client(
    gateway: AnsweringGateway, *, library: Literal["httpx"], portal: Portal | None = None
) -> httpx.AsyncClient: ...
def make_async_client(
    gateway: AnsweringGateway, *, library: Library | None = None, portal: Portal | None = None
) -> httpx2.AsyncClient | httpx.AsyncClient:
    """Return an asynchronous client that the gateway answers; close it before the gateway.

    Whatever base URL and key an SDK is given, nothing leaves this process but the gateway's own
    calls. The client's read time-out holds for the head of a reply and for each pause in it.
    Closing a reply early cancels its call.

    Args:
        gateway: answers; it must be entered before the first request.
        library: the library of the client; None: httpx2, which the SDKs of OpenAI and Anthropic
            use, if it is installed, otherwise httpx.
        portal: leads to the loop in which the gateway runs; None: the client's own loop.

    Raises:
        ConfigurationError: the package `devflow-gateway-server` is not installed.
        ImportError: the library is not installed.
    """
    http, server = _import_library(library), make_local_server(gateway)
    transport = _AsyncTransport(http, BridgedServer(server, portal) if portal else server)
    return http.AsyncClient(**_options(gateway, transport))


@overload
def make_client(
    gateway: AnsweringGateway, portal: Portal, *, library: Literal["httpx2"] | None = None
) -> httpx2.Client: ...
@overload
def make_client(
    gateway: AnsweringGateway, portal: Portal, *, library: Literal["httpx"]
) -> httpx.Client: ...
def make_client(
    gateway: AnsweringGateway, portal: Portal, *, library: Library | None = None
) -> httpx2.Client | httpx.Client:
    """Return a blocking client whose requests the gateway answers; see `make_async_client`.

    Args:
        gateway: answers; it must be entered before the first request.
        portal: leads to the loop in which the gateway runs, in another thread.
        library: as of `make_async_client`.

    Raises:
        ConfigurationError: the package `devflow-gateway-server` is not installed.
        ImportError: the library is not installed.
    """
    http = _import_library(library)
    transport = _Transport(http, make_local_server(gateway), portal)
    return http.Client(**_options(gateway, transport))


def _options(gateway: AnsweringGateway, transport: object) -> dict[str, Any]:
    timeout_s = gateway.settings.total_timeout_s + _GRACE_S
    return {
        "transport": transport,
        "base_url": BASE_URL,
        "timeout": timeout_s,
        "trust_env": False,  # no proxy and no .netrc has a say
    }


def _import_library(name: Library | None) -> Any:
    if name is not None:
        return import_module(name)
    try:
        return import_module("httpx2")
    except ImportError:
        return import_module("httpx")


class _Sending:
    """One request of a client, and the reply to it, with the client's time-outs and errors."""

    def __init__(self, http: Any, server: LocalServer, request: Any) -> None:
        self._http = http
        self._server = server
        self._request = request
        self._reply: LocalReply | None = None
        timeouts = cast("dict[str, float | None]", request.extensions.get("timeout") or {})
        self._read_s = timeouts.get("read")

    async def open(self, body: bytes) -> None:
        request = self._request
        headers: list[tuple[str, str]] = request.headers.multi_items()
        target = request.url.raw_path.decode("ascii")
        try:
            async with asyncio.timeout(self._read_s):
                self._reply = await self._server.open(request.method, target, headers, body)
        except TimeoutError as late:
            raise self._http.ReadTimeout(self._late(), request=request) from late
        except ConnectionError as error:
            raise self._http.ReadError(str(error), request=request) from error

    async def read(self) -> bytes | None:
        assert self._reply is not None  # noqa: S101 - a response is made of it
        try:
            async with asyncio.timeout(self._read_s):
                return await self._reply.read()
        except TimeoutError as late:
            raise self._http.ReadTimeout(self._late(), request=self._request) from late
        except ConnectionError as error:
            raise self._http.ReadError(str(error), request=self._request) from error

    async def aclose(self) -> None:
        if self._reply is not None:
            await self._reply.aclose()

    def to_response(self, stream: object) -> Any:
        """Return the library's response, with a body that is read from `stream`."""
        assert self._reply is not None  # noqa: S101 - see above
        return self._http.Response(
            self._reply.status,
            headers=list(self._reply.headers),
            stream=stream,
            request=self._request,
            extensions={"http_version": b"HTTP/1.1"},
        )

    def _late(self) -> str:
        return f"The gateway sent nothing for {self._read_s} s, which is this client's time-out."


class _AsyncTransport:
    def __init__(self, http: Any, server: LocalServer) -> None:
        self._http = http
        self._server = server

    async def handle_async_request(self, request: Any) -> Any:
        sending = _Sending(self._http, self._server, request)
        await sending.open(await request.aread())
        return sending.to_response(_make_async_stream(self._http)(sending))

    async def aclose(self) -> None:
        await self._server.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()


class _Transport:
    def __init__(self, http: Any, server: LocalServer, portal: Portal) -> None:
        self._http = http
        self._server = server
        self._portal = portal

    def handle_request(self, request: Any) -> Any:
        sending = _Sending(self._http, self._server, request)
        self._portal.run(sending.open(request.read()))
        return sending.to_response(_make_stream(self._http)(sending, self._portal))

    def close(self) -> None:
        with suppress(ConfigurationError):  # its gateway is closed, and has ended what ran
            self._portal.run(self._server.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


@cache
def _make_async_stream(http: Any) -> Any:
    class AsyncStream(http.AsyncByteStream):
        def __init__(self, sending: _Sending) -> None:
            self._sending = sending

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while (piece := await self._sending.read()) is not None:
                yield piece

        async def aclose(self) -> None:
            """Leave the reply."""
            await self._sending.aclose()

    return AsyncStream


@cache
def _make_stream(http: Any) -> Any:
    class Stream(http.SyncByteStream):
        def __init__(self, sending: _Sending, portal: Portal) -> None:
            self._sending = sending
            self._portal = portal

        def __iter__(self) -> Iterator[bytes]:
            while (piece := self._portal.run(self._sending.read())) is not None:
                yield piece

        def close(self) -> None:
            """Leave the reply."""
            self._portal.run(self._sending.aclose())

    return Stream
