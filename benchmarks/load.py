"""Generates HTTP load: each connection sends a request, reads the whole reply, and repeats.

Where there is a C compiler, `native/load.c` does so in a process of its own, at a few µs a request.
"""

from __future__ import annotations

import array
import asyncio
import itertools
import os
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
from compiler import find_program

NUMBER_MARK = b"@NUMBER@"
"""Stands in requests for a number that no other round has, so that no text is sent twice."""


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
    sent = {
        "user-agent": "OpenAI/Python 3.52.0",
        "x-stainless-lang": "python",
        "x-stainless-os": "Linux",
        **headers,
    }
    return encode_post(path, body, sent)


def encode_post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a POST request with a JSON body, as bytes; headers of our own come first."""
    lines = {
        "host": "127.0.0.1",
        "accept": "application/json",
        "content-type": "application/json",
        "authorization": "Bearer none",
        **headers,
        "content-length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class BadStatus(RuntimeError):
    """A gateway answered with a status other than 200, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What one run of requests took, in seconds from the sending of each."""

    first_s: Sequence[float]
    """To the first byte of the body."""
    whole_s: Sequence[float]
    """To its end."""


class Load:
    """Connections to a port, which send the same requests in turn.

    Args:
        port: on loopback.
        requests: whole requests, as bytes; they are sent in order and from the first again.
        connections: how many are open at once.
    """

    def __init__(self, port: int, requests: Sequence[bytes], connections: int) -> None:
        program = find_program("load")
        self._way: _NativeLoad | _PythonLoad = (
            _PythonLoad(port, requests, connections)
            if program is None
            else _NativeLoad(program, port, requests, connections)
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._way.open(self._stack)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def run(self, count: int) -> Times:
        """Send so many requests.

        Raises:
            BadStatus: an answer is not 200, or none came.
        """
        return await self._way.run(count)


class _NativeLoad:
    """Connections of a process of its own."""

    def __init__(
        self, program: Path, port: int, requests: Sequence[bytes], connections: int
    ) -> None:
        self._command = (str(program), str(port), str(connections))
        self._requests = requests

    async def open(self, stack: AsyncExitStack) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = Path(folder) / "requests"
        file.write_bytes(b"".join(struct.pack("<I", len(one)) + one for one in self._requests))
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, str(file), stdin=pipe, stdout=pipe, stderr=pipe
        )
        stack.push_async_callback(self._end)

    async def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def run(self, count: int) -> Times:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"%d\n" % count)
        try:
            raw = await process.stdout.readexactly(count * 8)
        except asyncio.IncompleteReadError:
            said = (await process.stderr.read()).decode(errors="replace")
            raise BadStatus(said.strip() or f"load ended with {process.returncode}") from None
        pairs = array.array("f", raw)
        return Times(first_s=pairs[::2], whole_s=pairs[1::2])


class _PythonLoad:
    """Connections of this event loop."""

    def __init__(self, port: int, requests: Sequence[bytes], connections: int) -> None:
        self._port = port
        self._requests = itertools.cycle(requests)
        self._count = connections
        self._connections: list[_LoadConnection] = []
        self._numbers = itertools.count(os.getpid() << 12)

    async def open(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, one = await loop.create_connection(_LoadConnection, "127.0.0.1", self._port)
            stack.callback(one.close)
            self._connections.append(one)

    async def run(self, count: int) -> Times:
        remaining = count
        pairs: list[tuple[float, float]] = []

        async def send_requests(connection: _LoadConnection) -> None:
            nonlocal remaining
            while remaining > 0:
                remaining -= 1
                number = b"%08x" % (next(self._numbers) & 0xFFFFFFFF)
                request = next(self._requests).replace(NUMBER_MARK, number)
                pairs.append(await connection.send(request))

        await asyncio.gather(*(send_requests(one) for one in self._connections))
        return Times(first_s=[one[0] for one in pairs], whole_s=[one[1] for one in pairs])


class _LoadConnection(asyncio.Protocol):
    """A connection that parses just enough HTTP to find the end of a reply."""

    def __init__(self) -> None:
        self._reply: asyncio.Future[tuple[float, float]] | None = None
        self._received = b""
        self._length: int | None = None
        self._head_end = -1
        self._began_s = self._first_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(BadStatus("a gateway closed a connection in a reply"))

    def _fail(self, error: Exception) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    def close(self) -> None:
        self._transport.close()

    async def send(self, request: bytes) -> tuple[float, float]:
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
            ended_s = time.perf_counter()
            self._reply.set_result((self._first_s - self._began_s, ended_s - self._began_s))

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
