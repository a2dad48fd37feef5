"""Accepts connections, enforces their deadlines, and drains them at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from socket import socket

from devflow_core.connections import stop_accepting

from devflow_server.http.connection import ServerConnection
from devflow_server.http.exchange import Exchange
from devflow_server.http.held_bytes import HeldBytes
from devflow_server.http.limits import Limits
from devflow_server.http.message import Admission, Request
from devflow_server.http.receiver import Admit

Handler = Callable[[Exchange], Awaitable[None]]
"""Answers one request through its exchange."""


def admit_everything(_request: Request) -> Admission:
    """Admit every request without conditions."""
    return Admission()


class Listener:
    """A server over bound sockets: `async with` it, `listen`, and `drain` before leaving.

    Leaving closes the sockets, and cuts the connections that are left.

    Args:
        handler: called once per request; raises only cancellation and `ClientDisconnected`.
        admit: called with the head of a request whose body is still to come; raises nothing.
        limits: bytes, times and counts that one peer may take.
        on_sweep: called at every sweep with the monotonic time, for other periodic checks.
        on_rejected: called with the status of each request that no handler got.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        admit: Admit = admit_everything,
        limits: Limits | None = None,
        on_sweep: Callable[[float], None] = lambda _now_s: None,
        on_rejected: Callable[[int], None] = lambda _status: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.handler = handler
        self.admit = admit
        self.limits = limits or Limits()
        self.held = HeldBytes(self.limits.max_held_bytes)
        self._clock = clock
        self.now_s = clock()
        """The monotonic time as of the last sweep: precise enough for deadlines of seconds."""
        self.is_draining = False
        self.in_flight = 0
        self.connections: set[ServerConnection] = set()
        self.count_rejected = on_rejected
        self._on_sweep = on_sweep
        self._servers: list[asyncio.Server] = []
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> Listener:
        self.loop = asyncio.get_running_loop()
        self._sweeper = self.loop.create_task(self._sweep_forever())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._sweeper
        await stop_accepting(self._servers)
        for connection in tuple(self.connections):
            connection.abort()

    async def listen(self, bound: socket) -> None:
        """Begin to accept on a bound socket, which is closed with the listener."""
        # a burst of connections waits in the kernel; asyncio's default of 100 would drop some
        server = await self.loop.create_server(
            lambda: ServerConnection(self), sock=bound, backlog=2048
        )
        self._servers.append(server)

    async def drain(self, timeout_s: float) -> int:
        """Stop accepting, let running requests end, and cancel those that take too long.

        Cancelled handlers get another 5 s to write their entries.

        Args:
            timeout_s: how long running requests may still take, in seconds.

        Returns:
            How many requests had to be cancelled.
        """
        # first: replies that begin from now on announce the end of their connection
        self.is_draining = True
        await stop_accepting(self._servers)
        for connection in tuple(self.connections):
            connection.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        # counted before they are cancelled, which ends them
        cut = self.in_flight
        for connection in tuple(self.connections):
            connection.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):  # cancelled handlers still write their entries
                await self._idle.wait()
        return cut

    @property
    def is_overloaded(self) -> bool:
        """Whether more requests are being answered than allowed."""
        return self.in_flight > self.limits.max_in_flight

    # called by the connections

    def register(self, connection: ServerConnection) -> bool:
        """Add a connection; return False if there are too many."""
        is_full = len(self.connections) >= self.limits.max_connections
        if not is_full:
            self.connections.add(connection)
        return not is_full

    def unregister(self, connection: ServerConnection) -> None:
        """Remove a connection that has ended."""
        self.connections.discard(connection)

    def begin_request(self) -> None:
        """Count a handler that begins."""
        self.in_flight += 1
        self._idle.clear()

    def end_request(self) -> None:
        """Stop counting a handler that has ended."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self.limits.sweep_interval_s)
            self.now_s = now_s = self._clock()
            # a copy, since a sweep may close connections and thus remove them
            for connection in tuple(self.connections):
                connection.sweep(now_s)
            self._on_sweep(now_s)
