"""The public class: a sandbox, its address, its keys and its books."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Self

import httpx

from devflow_sandbox.answer import JsonObject
from devflow_sandbox.app import API, App
from devflow_sandbox.http.protocol import Connection
from devflow_sandbox.http.transport import SandboxTransport
from devflow_sandbox.world import Setup, World


class Sandbox:
    """OpenRouter's stand-in on a loopback port.

        async with Sandbox() as sandbox:
            sandbox.base_url, sandbox.api_key

    Entering it opens the port and leaving it closes the port and every connection; what was
    booked stays readable. `transport()` needs no port and works without entering.

    Args:
        setup: how it behaves.
        host: the address to listen on.
        port: 0 is a free one.
        settings: fields of `Setup` by name, instead of or on top of `setup`.
    """

    def __init__(
        self,
        setup: Setup | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        **settings: Any,
    ) -> None:
        self.world = World(replace(setup or Setup(), **settings))
        self._app = App(self.world)
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for connection in tuple(self._connections):
                connection.close()
            await server.wait_closed()

    def _connection(self) -> Connection:
        return Connection(self._app.answer, self._connections)

    @property
    def url(self) -> str:
        """The root, `http://127.0.0.1:PORT`; `/sandbox/…` is below it."""
        return f"http://{self._host}:{self._port}"

    @property
    def base_url(self) -> str:
        """For clients of OpenRouter and OpenAI: ends in `/api/v1`."""
        return self.url + API

    @property
    def anthropic_url(self) -> str:
        """For clients of Anthropic, which append `/v1/messages`: ends in `/api`."""
        return f"{self.url}/api"

    @property
    def api_key(self) -> str:
        """A key for replies; the same for the same seed."""
        return self.world.api_key.secret

    @property
    def management_key(self) -> str:
        """A key for `/keys`, `/credits` and `/activity`."""
        return self.world.management_key.secret

    def transport(self) -> httpx.AsyncBaseTransport:
        """This sandbox for `httpx.AsyncClient(transport=…)`, in process."""
        return SandboxTransport(self._app.answer)

    def bill(self) -> JsonObject:
        """What each call truly cost, as `GET /sandbox/bill`."""
        return self.world.book.bill()

    def advance(self, seconds: float) -> None:
        """Put the sandbox's clock forward: caches expire, limits renew."""
        self.world.ahead_s += seconds
