"""Implements our own transport: HTTP/1.1 directly over asyncio, with a pool of connections.

docs/adr/0003-lean-transport.md has the measurements that speak against a library.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from urllib.parse import urlsplit

import certifi
from devflow_core.errors import (
    ConfigurationError,
    InvalidRequest,
    NotSent,
    PossiblyAccepted,
)
from devflow_core.masking import mask

from devflow_upstream.transport.http1_connection import UpstreamConnection
from devflow_upstream.transport.http1_reader import ReplyLimits
from devflow_upstream.transport.machine_limits import machine_error
from devflow_upstream.transport.protocol import HOST_UNUSABLE, HttpRequest, UpstreamExchange

_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HAPPY_EYEBALLS_S = 0.25
"""Seconds before the next address is tried (RFC 8305, section 5)."""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def make_tls_context() -> ssl.SSLContext:
    """Return a TLS context with the system's authorities, or certifi's if the system has none.

    TLS 1.2 is the least version, whatever the system's own configuration permits.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    return context


class Http1Transport:
    """A `Transport` with a pool of connections to one base URL; the newest idle one is used first.

    Nothing is sent twice here, even if a reused connection turns out to be closed: the request may
    have been read and billed, so a retry has to book another attempt first.

    Args:
        base_url: scheme, host and path that every request goes below.
        connect_timeout_s: the seconds for name resolution, socket and TLS together.
        keep_alive_s: how many seconds an idle connection is kept.
        limits: the size limits of a reply.
        tls: None: the usual authorities are trusted; certificates are checked in any case.

    Raises:
        ConfigurationError: the base URL is not an http or https URL.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float = 5.0,
        keep_alive_s: float = 55.0,
        limits: ReplyLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigurationError(
                f"The base URL {mask(base_url)!r} is not an http or https URL."
            )
        self._host = url.hostname
        # an address is dialled alone: a race of one leaves its socket open if it is cancelled
        self._delay_s = None if _is_address(url.hostname) else _HAPPY_EYEBALLS_S
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = (tls or make_tls_context()) if url.scheme == "https" else None
        self._base_path = url.path.rstrip("/")
        self._host_line = f"Host: {url.netloc.rpartition('@')[2]}\r\n"
        self._connect_timeout_s = connect_timeout_s
        self._keep_alive_s = keep_alive_s
        self._limits = limits or ReplyLimits()
        self._idle: list[UpstreamConnection] = []
        self._connections: set[UpstreamConnection] = set()

    @property
    def open_connections(self) -> int:
        """The number of open sockets, idle ones included."""
        return len(self._connections)

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> UpstreamExchange:
        message = self._encode_request(request)
        connection = self._take_idle() or await self._connect(deadline_s)
        try:
            await connection.send(message, deadline_s)
        except PossiblyAccepted:
            # the other idle ones are likely closed too; a retry gets a new connection
            for stale in self._idle:
                stale.abort()
            self._idle.clear()
            raise
        return connection

    async def aclose(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.wait_closed()

    def _encode_request(self, request: HttpRequest) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
        if lines.count("\r\n") != len(request.headers) or _UNSAFE.search(lines.replace("\r\n", "")):
            raise InvalidRequest("A header's value holds a control character; remove it.")
        head = (
            f"{request.method} {self._base_path}{request.path} HTTP/1.1\r\n"
            f"{self._host_line}{lines}Content-Length: {len(request.body)}\r\n\r\n"
        )
        try:
            return head.encode("latin-1") + request.body
        except UnicodeEncodeError:
            raise InvalidRequest(
                "A header's value holds a character outside Latin-1; encode or remove it."
            ) from None

    def _take_idle(self) -> UpstreamConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self, deadline_s: float) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        until_s = min(deadline_s, loop.time() + self._connect_timeout_s)
        try:
            async with asyncio.timeout_at(until_s):
                connection = await self._dial(loop)
        except TimeoutError as error:
            raise NotSent(
                f"Connecting to {self._host}:{self._port} took longer than "
                f"{self._connect_timeout_s:g} s. Check the network."
            ) from error
        except (OSError, MemoryError, RuntimeError) as error:
            raise machine_error(error) or self._connect_error(error) from error
        if not connection.is_open:
            raise NotSent(f"{self._host}:{self._port} closed the connection at once.")
        self._connections.add(connection)
        return connection

    async def _dial(self, loop: asyncio.AbstractEventLoop) -> UpstreamConnection:
        make, host, port, tls = self._make_connection, self._host, self._port, self._tls
        if isinstance(loop, asyncio.BaseEventLoop):
            _, connection = await loop.create_connection(
                make, host, port, ssl=tls, happy_eyeballs_delay=self._delay_s
            )
        else:  # uvloop tries one address after the other and takes no delay
            _, connection = await loop.create_connection(make, host, port, ssl=tls)
        return connection

    def _make_connection(self) -> UpstreamConnection:
        return UpstreamConnection(
            limits=self._limits,
            keep_alive_s=self._keep_alive_s,
            on_idle=self._idle.append,
            on_closed=self._forget,
        )

    def _forget(self, connection: UpstreamConnection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _connect_error(self, error: Exception) -> Exception:
        target = f"{self._host}:{self._port}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return NotSent(
                f"{target} shows a certificate that is not trusted ({error.verify_message}). "
                "Nothing was sent; check the base URL and the clock.",
                error_type=HOST_UNUSABLE,
            )
        if isinstance(error, ssl.SSLError):
            return NotSent(
                f"{target} does not speak TLS as it should ({error.reason}). Check the base URL.",
                error_type=HOST_UNUSABLE,
            )
        if isinstance(error, socket.gaierror):
            return NotSent(
                f"The name {self._host} cannot be resolved. Check the network and the base URL.",
                error_type=HOST_UNUSABLE,
            )
        if isinstance(error, OSError):
            # asyncio's own text names the call and the address once more
            reason = os.strerror(error.errno) if error.errno else str(error)
            return NotSent(
                f"{target} cannot be reached: {reason}. Check the network and the base URL."
            )
        return error  # an error in this program, not of the network
