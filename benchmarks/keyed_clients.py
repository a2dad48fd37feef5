"""Clients that send requests under idempotency keys, and leave at a chosen moment."""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass
from typing import Literal

import orjson

MODEL = "anthropic/claude-haiku-4.5"
PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
WORDS_PER_KEY = 10
"""Each key's prompt is longer than the previous one's by this many words, so that the bill tells
keys apart."""
PATIENCE_S = 90.0
"""A client that has waited this long counts as hanging."""
_WAIT_S = 0.3
_PINGS = re.compile(
    rb'event: ping\ndata: \{"type": "ping"\}\n\n|: devflow is waiting for the provider\n\n'
)

Moment = Literal["stays", "in the body", "within 25 ms", "while it waits", "in the reply"]
MOMENTS: tuple[Moment, ...] = (
    "stays", "stays", "in the body", "within 25 ms", "within 25 ms", "while it waits",
    "in the reply",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete reply."""

    status: int
    body: bytes
    """The body without pings, which belong to the connection and not to the reply."""
    is_replay: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class KeyedAsk:
    """The request of one key; its dialect and streaming follow from its number."""

    number: int

    @property
    def path(self) -> str:
        """The path of its dialect."""
        return PATHS[self.number % 3]

    @property
    def is_stream(self) -> bool:
        """Whether it streams: every other one of a dialect does."""
        return self.number // 3 % 2 == 1

    def encode(self) -> tuple[bytes, bytes]:
        """Return the request's head and body."""
        text = "alpha " * (WORDS_PER_KEY * (self.number + 1))
        fields: dict[str, object] = {"model": MODEL, "stream": self.is_stream}
        if self.path.endswith("responses"):
            fields |= {"input": text, "max_output_tokens": 64}
        else:
            fields |= {"messages": [{"role": "user", "content": text}], "max_tokens": 64}
        body = orjson.dumps(fields)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: key-{self.number}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode(), body


async def submit(port: int, ask: KeyedAsk, moment: Moment, chance: random.Random) -> Answer | None:
    """Send a request and leave at the given moment; return the reply if the client stayed.

    Raises:
        TimeoutError: it hangs.
    """
    began_s = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await _connect(port)
        try:
            raw = await _talk(reader, writer, ask, moment, chance)
        except ConnectionError:
            return None  # its worker was killed
        finally:
            writer.close()
    return _parse(raw, time.monotonic() - began_s) if moment == "stays" else None


async def wait_until_ready(port: int) -> None:
    """Wait for the first worker: the supervisor listens before there is one.

    Raises:
        TimeoutError: there is none.
    """
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await _connect(port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        await reader.read(-1)
        writer.close()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, retrying: while workers are replaced, connections may be refused."""
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            await asyncio.sleep(0.1)


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    ask: KeyedAsk,
    moment: Moment,
    chance: random.Random,
) -> bytes:
    head, body = ask.encode()
    if moment == "in the body":
        writer.write(head + body[: chance.randrange(len(body))])
        await asyncio.sleep(chance.uniform(0, 0.01))
        return b""
    writer.write(head + body)
    if moment == "within 25 ms":
        await asyncio.sleep(chance.uniform(0, 0.025))
    elif moment == "while it waits":
        await asyncio.sleep(chance.uniform(0.025, _WAIT_S))
    elif moment == "in the reply":
        await reader.read(chance.randrange(1, 2_000))
    else:
        return await reader.read(-1)
    return b""


def _parse(raw: bytes, seconds: float) -> Answer | None:
    """Return the reply in the bytes received; None if it was cut off."""
    head, end, body = raw.partition(b"\r\n\r\n")
    if not end:
        return None
    lower = head.lower()
    length = re.search(rb"content-length: (\d+)", lower)
    if length is not None:
        if len(body) != int(length[1]):
            return None
    elif not body.endswith(b"0\r\n\r\n"):
        return None
    else:
        body = _join_chunks(body)
    return Answer(
        status=int(head[9:12]),
        body=_PINGS.sub(b"", body),
        is_replay=b"idempotent-replayed: true" in lower,
        seconds=seconds,
    )


def _join_chunks(body: bytes) -> bytes:
    pieces: list[bytes] = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        count = int(size, 16)
        pieces.append(rest[:count])
        body = rest[count + 2 :]
    return b"".join(pieces)
