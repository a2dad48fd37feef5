"""Defines the public class: a sandbox with its address, keys and books."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from decimal import Decimal
from typing import Any, Self

import httpx
from devflow_core.connections import stop_accepting

from devflow_sandbox.app import API, SandboxApp
from devflow_sandbox.books.accounts import Account
from devflow_sandbox.endpoints import control
from devflow_sandbox.faults.addresses import (
    UNKNOWN_HOST,
    Address,
    hold_closed_port,
    make_tls_context,
)
from devflow_sandbox.faults.plan import FaultCase
from devflow_sandbox.http.server import SandboxConnection
from devflow_sandbox.http.transport import SandboxTransport
from devflow_sandbox.message import JsonObject
from devflow_sandbox.replies.script_loader import ScriptSource
from devflow_sandbox.sandbox_state import SandboxState, Setup


class Sandbox:
    """A stand-in for OpenRouter on a loopback port.

        async with Sandbox() as sandbox:
            sandbox.base_url, sandbox.api_key

    Entering it opens the port. Leaving it closes the port and all connections; the books stay
    readable. `transport()` needs no port, and works without entering.

    Args:
        setup: how it behaves.
        host: the address to listen on.
        port: 0 picks a free one.
        faults: a fault script, as an object, as JSON or as a file; or a case of the fault plan,
            with its replies. For a fault before HTTP, `base_url` is the address that has it.
        script: a script of turns, in the same forms.
        ssl_context: for TLS, with a certificate of any kind; None: plain HTTP, or the fault's
            certificate.
        settings: fields of `Setup` by name, instead of or on top of `setup`.

    Raises:
        ConfigurationError: a script is invalid; the message names its line.
    """

    def __init__(
        self,
        setup: Setup | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: ScriptSource | FaultCase | None = None,
        script: ScriptSource | None = None,
        ssl_context: ssl.SSLContext | None = None,
        **settings: Any,
    ) -> None:
        self.state = SandboxState(replace(setup or Setup(), **settings))
        self._address: Address = "open"
        if isinstance(faults, FaultCase):
            self._address = faults.address
            ssl_context = ssl_context or make_tls_context(faults.address)
            control.play_case(self.state, faults)
        else:
            self.set_faults(faults)
        if script is not None:
            self.set_script(script)
        self._app = SandboxApp(self.state)
        self._host, self._port, self._ssl = host, port, ssl_context
        self._server: asyncio.Server | None = None
        self._closed_port: socket.socket | None = None
        self._reopening: asyncio.Future[None] | None = None
        self._connections: set[SandboxConnection] = set()

    async def __aenter__(self) -> Self:
        await self._listen()
        if self._address == "closed_port":
            self._closed_port = hold_closed_port(self._host)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            # it must have ended before the server closes, or it would open the port again
            await asyncio.wait([self._reopening])
        servers = [] if self._server is None else [self._server]
        await stop_accepting(servers)
        if self._closed_port is not None:
            self._closed_port.close()
        for connection in tuple(self._connections):
            connection.close()
        for server in servers:
            await server.wait_closed()
        self._server = None

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._make_connection, self._host, self._port, ssl=self._ssl, backlog=1024
        )
        # kept, so that reopening after a fault listens on the same port
        self._port = self._server.sockets[0].getsockname()[1]

    def _make_connection(self) -> SandboxConnection:
        return SandboxConnection(self._app.answer, self._connections, self._stop_listening)

    def _stop_listening(self, seconds: float) -> None:
        """Stop listening for a while, like a machine that is down."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._reopening = asyncio.ensure_future(self._reopen(seconds))

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listen()

    @property
    def url(self) -> str:
        """The root, `http://127.0.0.1:PORT`; `/sandbox/…` is below it.

        A port that is picked is known once the sandbox is entered.
        """
        scheme = "http" if self._ssl is None else "https"
        return f"{scheme}://{self._host}:{self._port}"

    @property
    def base_url(self) -> str:
        """The URL for clients of OpenRouter and OpenAI; ends in `/api/v1`.

        For a fault before HTTP, it is the address that has the fault.
        """
        return self._client_url + API

    @property
    def anthropic_url(self) -> str:
        """The URL for clients of Anthropic, which append `/v1/messages`; ends in `/api`."""
        return f"{self._client_url}/api"

    @property
    def _client_url(self) -> str:
        """The root for clients; another one if the address is the fault."""
        if self._closed_port is not None:
            return f"http://{self._host}:{self._closed_port.getsockname()[1]}"
        if self._address == "unknown_host":
            return f"https://{UNKNOWN_HOST}:{self._port}"
        return self.url

    @property
    def api_key(self) -> str:
        """A key for replies; the same for the same seed."""
        return self.state.api_key.secret

    @property
    def management_key(self) -> str:
        """A key for `/keys`, `/credits` and `/activity`."""
        return self.state.management_key.secret

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return a transport to this sandbox for `httpx.AsyncClient(transport=…)`, in process."""
        return SandboxTransport(self._app.answer)

    def bill(self) -> JsonObject:
        """Return what each call really cost, as `GET /sandbox/bill` does."""
        return self.state.billing.make_bill()

    def set_faults(self, source: ScriptSource | None) -> None:
        """Make requests fail according to a fault script from now on; None ends that.

        Raises:
            ConfigurationError: the script is invalid; the message names its line.
        """
        control.load_faults(self.state, source or {})

    def set_script(self, source: ScriptSource | None) -> None:
        """Reply according to a script of turns from now on; None ends that.

        Raises:
            ConfigurationError: the script is invalid; the message names its line.
        """
        control.load_script(self.state, source or {})

    def add_key(self, name: str, *, credits_usd: Decimal | None = None) -> str:
        """Create another key and return its secret; with credits, on a new account."""
        account = None
        if credits_usd is not None:
            account = Account(user_id=f"user_{name}", credits_usd=credits_usd)
        return self.state.add_key(name, account=account).secret

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward: caches expire, limits renew."""
        self.state.clock_offset_s += seconds
