"""Generates HTTP load: each connection sends a request, reads the whole reply, and repeats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import orjson


def chat_request(path: str, model: str, *, stream: bool, headers: Mapping[str, str]) -> bytes:
    """Return a chat completion request as an SDK sends it, as bytes."""
    content = "Why does test_login fail on the second run and not on the first one?"
    body = orjson.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 256,
            "stream": stream,
        }
    )
    lines = {
        "host": "127.0.0.1",
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": "OpenAI/Python 3.52.0",
        "x-stainless-lang": "python",
        "x-stainless-os": "Linux",
        "authorization": "Bearer none",
        **headers,
        "content-length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class BadStatus(RuntimeError):
    """A gateway answered with a status other than 200."""


class Load:
    """Connections to a port, which all send the same request.

    Args:
        port: on loopback.
        request: a whole request, as bytes.
        connections: how many are open at once.
    """

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self._port = port
        self._request = request
        self._count = connections
        self._connections: list[_LoadConnection] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, one = await loop.create_connection(_LoadConnection, "127.0.0.1", self._port)
            self._connections.append(one)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self._connections:
            one.close()

    async def run(self, requests: int) -> list[float]:
        """Send `requests` requests; return the seconds to the first body byte of each."""
        remaining = requests
        first_byte_s: list[float] = []

        async def send_requests(connection: _LoadConnection) -> None:
            nonlocal remaining
            while remaining > 0:
                remaining -= 1
                first_byte_s.append(await connection.send(self._request))

        await asyncio.gather(*(send_requests(one) for one in self._connections))
        return first_byte_s


class _LoadConnection(asyncio.Protocol):
    """A connection that parses just enough HTTP to find the end of a reply."""

    def __init__(self) -> None:
        self._reply: asyncio.Future[float] | None = None
        self._received = b""
        self._length: int | None = None
        self._head_end = -1
        self._began_s = self._first_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError("the gateway closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    def close(self) -> None:
        self._transport.close()

    async def send(self, request: bytes) -> float:
        self._received, self._length, self._head_end = b"", None, -1
        self._first_s = 0.0
        self._reply = asyncio.get_running_loop().create_future()
        self._began_s = time.perf_counter()
        self._transport.write(request)
        return await self._reply

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._head_end < 0:
            self._read_head()
        if self._head_end < 0 or len(self._received) <= self._head_end:
            return
        if not self._first_s:
            self._first_s = time.perf_counter()
        if self._length is None:
            is_complete = self._received.endswith(b"0\r\n\r\n")
        else:
            is_complete = len(self._received) >= self._head_end + self._length
        if is_complete and self._reply is not None and not self._reply.done():
            self._reply.set_result(self._first_s - self._began_s)

    def _read_head(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        self._head_end = end + 4
        head = self._received[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            self._fail(BadStatus(f"A gateway answers: {self._received[:400]!r}"))
            return
        position = head.find(b"content-length:")
        if position >= 0:
            self._length = int(head[position + 15 :].split(b"\r\n", 1)[0])
