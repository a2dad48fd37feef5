"""Adapts any httpx transport or client to our port; the only module here that imports httpx.

It carries calls through a proxy, through a client that the user provides, and in tests through
`httpx.MockTransport`. All other calls use `Http1Transport`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import httpx
from devflow_core.errors import (
    ConfigurationError,
    Incomplete,
    InvalidRequest,
    NotSent,
    PossiblyAccepted,
    ProtocolError,
    ReplyTooLarge,
)
from devflow_core.masking import mask

from devflow_upstream.transport.http1_reader import ReplyLimits
from devflow_upstream.transport.http1_transport import make_tls_context
from devflow_upstream.transport.machine_limits import machine_error
from devflow_upstream.transport.protocol import HttpRequest, UpstreamExchange

_NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_DRAIN_TIMEOUT_S = 1.0
"""Seconds that the end of the framing may take after the reply itself was complete."""
_NO_REPLY_ERRORS = (httpx.ReadError, httpx.WriteError, httpx.CloseError)


class HttpxTransport:
    """A `Transport` over httpx.

    Args:
        base_url: scheme, host and path that every request goes below.
        inner: an httpx transport, which `aclose` closes, or an `httpx.AsyncClient`, which its
            owner closes.
        connect_timeout_s: the seconds for making one connection.
        limits: the size limits of a reply's body.
    """

    def __init__(
        self,
        base_url: str,
        inner: httpx.AsyncBaseTransport | httpx.AsyncClient,
        *,
        connect_timeout_s: float = 5.0,
        limits: ReplyLimits | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._limits = limits or ReplyLimits()
        self._extensions = {"timeout": {"connect": connect_timeout_s}}
        self._owned = inner if isinstance(inner, httpx.AsyncBaseTransport) else None
        self._send = _make_sender(inner)

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> UpstreamExchange:
        async with asyncio.timeout_at(deadline_s):
            response = await self._send_request(request)
        return _HttpxExchange(response, deadline_s, self._limits)

    async def aclose(self) -> None:
        if self._owned is not None:
            await self._owned.aclose()

    async def _send_request(self, request: HttpRequest) -> httpx.Response:
        outgoing = httpx.Request(
            request.method,
            self._base_url + request.path,
            headers=dict(request.headers),
            content=request.body,
            extensions=self._extensions,
        )
        try:
            return await self._send(outgoing)
        except _NOT_SENT_ERRORS as error:
            unreachable = NotSent(f"The upstream cannot be reached: {error}.")
            raise machine_error(error) or unreachable from error
        except _NO_REPLY_ERRORS as error:
            raise PossiblyAccepted("The connection broke before a reply came.") from error
        except httpx.LocalProtocolError as error:
            raise InvalidRequest(
                "The request cannot be sent as HTTP; check its headers."
            ) from error
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except (OSError, MemoryError) as error:
            raise machine_error(error) or error from error
        except httpx.RequestError as error:
            raise ProtocolError(f"The reply is not HTTP: {type(error).__name__}.") from error


def make_proxy_transport(base_url: str, proxy_url: str) -> HttpxTransport:
    """Return a transport over an HTTP proxy; TLS to the upstream is end to end, in the tunnel.

    The caller closes the transport.

    Raises:
        ConfigurationError: the proxy's address is not valid; the message does not repeat its
            password.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    try:
        inner = httpx.AsyncHTTPTransport(proxy=proxy_url, limits=limits, verify=make_tls_context())
    except (ValueError, httpx.InvalidURL):
        raise ConfigurationError(
            f"proxy_url {mask(proxy_url)!r} is not a proxy's address. Write http://host:port."
        ) from None
    return HttpxTransport(base_url, inner)


class _HttpxExchange:
    """A response of httpx as an `UpstreamExchange`."""

    def __init__(self, response: httpx.Response, deadline_s: float, limits: ReplyLimits) -> None:
        self.deadline_s = deadline_s
        self._response = response
        self._max_bytes = limits.max_body_bytes
        self._seen_bytes = 0
        self._pieces = _iterate_body(response)

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def read(self) -> bytes:
        async with asyncio.timeout_at(self.deadline_s):
            try:
                piece = await anext(self._pieces, b"")
            except httpx.TimeoutException as error:
                raise TimeoutError from error
            except httpx.HTTPError as error:
                raise Incomplete("The connection broke inside the reply.") from error
        self._seen_bytes += len(piece)
        if self._seen_bytes > self._max_bytes:
            raise ReplyTooLarge(f"The reply is over {self._max_bytes} bytes.")
        return piece

    async def close(self, *, is_complete: bool) -> None:
        if is_complete:  # httpx reuses a connection only if its reply was read to the very end
            with contextlib.suppress(TimeoutError, httpx.HTTPError):
                async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                    async for _ in self._pieces:
                        pass
        await self._pieces.aclose()
        await self._response.aclose()


async def _iterate_body(response: httpx.Response) -> AsyncGenerator[bytes]:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProtocolError("The reply is compressed, although that was not asked for.")
    if response.is_stream_consumed:
        yield response.content
        return
    async for piece in response.aiter_raw():
        if piece:
            yield piece


def _make_sender(
    inner: httpx.AsyncBaseTransport | httpx.AsyncClient,
) -> Callable[[httpx.Request], Awaitable[httpx.Response]]:
    if isinstance(inner, httpx.AsyncBaseTransport):
        return inner.handle_async_request

    async def send(request: httpx.Request) -> httpx.Response:
        return await inner.send(request, stream=True, follow_redirects=False)

    return send
