"""A listener on a free port, and a raw client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack

import pytest
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
            handler: Callable[[Exchange], Awaitable[None]] = echo, **limits: float
        ) -> tuple[Listener, int]:
            listener = Listener(handler, limits=Limits(**{"sweep_s": 0.05, **limits}))  # type: ignore[arg-type]
            await stack.enter_async_context(listener)
            bound = socket.create_server(("127.0.0.1", 0))
            await listener.listen(bound)
            return listener, int(bound.getsockname()[1])

        yield start


@pytest.fixture
def send() -> Send:
    async def send(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Everything that comes back until the server closes or is silent for 0.3 s."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        received = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)
            while True:
                async with asyncio.timeout(0.3):
                    more = await reader.read(65536)
                if not more:
                    return received + b"<closed>"
                received += more
        except (TimeoutError, ConnectionError):
            return received
        finally:
            writer.close()

    return send
