"""A listener on a free port, and a raw client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack

import pytest
from devflow_core.testing import FakeClock
from devflow_server.http import Exchange, Limits, Listener

Start = Callable[..., Awaitable[tuple[Listener, int]]]
Send = Callable[..., Coroutine[None, None, bytes]]


async def echo(exchange: Exchange) -> None:
    request = exchange.request
    exchange.respond(200, f"{request.method} {request.path} ".encode() + request.body)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(
            handler: Callable[[Exchange], Awaitable[None]] = echo,
            *,
            clock: FakeClock | None = None,
            **limits: float,
        ) -> tuple[Listener, int]:
            given = Limits(**{"sweep_interval_s": 0.02, **limits})  # type: ignore[arg-type]
            listener = Listener(handler, limits=given, clock=clock or FakeClock())
            await stack.enter_async_context(listener)
            bound = socket.create_server(("127.0.0.1", 0))
            await listener.listen(bound)
            return listener, int(bound.getsockname()[1])

        yield start


@pytest.fixture
def send() -> Send:
    async def send(port: int, *pieces: bytes, until: bytes = b"<closed>") -> bytes:
        """Everything that comes back until these are its last bytes, or the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        received = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            while not received.endswith(until):
                received += await reader.read(65536) or b"<closed>"
        except ConnectionError:
            return received
        finally:
            writer.close()
        return received

    return send
