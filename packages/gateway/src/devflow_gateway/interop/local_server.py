"""Finds the server that answers this program's HTTP requests, also from another thread's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import Future
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

from devflow_core.errors import ConfigurationError
from devflow_core.settings import Settings

ENTRY_POINTS = "devflow_gateway.local_server"
"""The group of entry points in which a package offers a `LocalServer`; ours has the name below.

The server stands above this package and may not be imported here; what it offers is found as any
other package's would be.
"""
_OWN = "devflow"
T = TypeVar("T")


class AnsweringGateway(Protocol):
    """An `AsyncGateway`, reduced to what is used here; the server uses more of it."""

    settings: Settings


class LocalReply(Protocol):
    """A reply whose head is known, with its body still to be read."""

    status: int
    headers: Sequence[tuple[str, str]]

    async def read(self) -> bytes | None:
        """Return the next bytes of the body; None at its end.

        Raises:
            ConnectionError: the reply broke off.
        """
        ...

    async def aclose(self) -> None:
        """Leave the reply: a call under way is cancelled and booked."""
        ...


class LocalServer(Protocol):
    """Answers HTTP requests of this program without a socket."""

    async def open(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes, /
    ) -> LocalReply:
        """Return the reply to a request once its head is there; the caller closes it.

        Raises:
            ConnectionError: there is no answer.
        """
        ...

    async def aclose(self) -> None:
        """Cancel the requests under way."""
        ...


class Portal(Protocol):
    """Leads to the event loop of another thread; see `devflow_gateway.loop_thread.LoopThread`."""

    def run(self, work: Coroutine[Any, Any, T], /) -> T:
        """Run a coroutine there, and wait for what it returns or raises."""
        ...

    def submit(self, work: Coroutine[Any, Any, T], /) -> Future[T]:
        """Start a coroutine there, and return its future, which cancels it when cancelled."""
        ...


def make_local_server(gateway: AnsweringGateway) -> LocalServer:
    """Return a server that answers through a gateway; the caller closes it before the gateway.

    Raises:
        ConfigurationError: the package that answers them is not installed.
    """
    for found in entry_points(group=ENTRY_POINTS, name=_OWN):
        return found.load()(gateway)
    raise ConfigurationError(
        "HTTP clients in this program need the package devflow-gateway-server: install it with"
        " `uv add 'devflow-gateway[sdks]'`."
    )


class BridgedServer:
    """A local server in another thread's loop, for asynchronous clients in this one's.

    Args:
        server: runs in the portal's loop.
        portal: leads there.
    """

    def __init__(self, server: LocalServer, portal: Portal) -> None:
        self._server = server
        self._portal = portal

    async def open(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes, /
    ) -> LocalReply:
        opening = self._portal.submit(self._server.open(method, target, headers, body))
        return _BridgedReply(await asyncio.wrap_future(opening), self._portal)

    async def aclose(self) -> None:
        await asyncio.wrap_future(self._portal.submit(self._server.aclose()))


class _BridgedReply:
    def __init__(self, reply: LocalReply, portal: Portal) -> None:
        self._reply = reply
        self._portal = portal
        self.status, self.headers = reply.status, reply.headers

    async def read(self) -> bytes | None:
        return await asyncio.wrap_future(self._portal.submit(self._reply.read()))

    async def aclose(self) -> None:
        await asyncio.wrap_future(self._portal.submit(self._reply.aclose()))
