"""Replies to requests of the server's own process: pieces, back-pressure, and how they end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from devflow_server.in_process import MAX_BUFFERED_BYTES, InProcessReply

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
PIECE = b"x" * 1024


async def test_a_writer_waits_for_a_slow_reader(eventually: Eventually) -> None:
    reply = InProcessReply()
    written = 0

    async def write() -> None:
        nonlocal written
        while written < 4 * MAX_BUFFERED_BYTES:
            reply.send(PIECE)
            written += len(PIECE)
            if reply.is_full:
                await reply.wait_until_drained()
        reply.end(is_whole=True)

    writing = asyncio.create_task(write())
    await eventually(lambda: reply.is_full)
    assert written <= MAX_BUFFERED_BYTES + len(PIECE)
    pieces: list[bytes] = []
    while (piece := await reply.read()) is not None:
        pieces.append(piece)
        assert len(piece) <= MAX_BUFFERED_BYTES + len(PIECE)
    await writing
    assert sum(map(len, pieces)) == written


async def test_a_reply_that_ends_too_soon_is_told_from_a_whole_one() -> None:
    reply = InProcessReply()
    reply.begin(200, [])
    reply.send(b"half")
    reply.end(is_whole=False)
    assert await reply.read() == b"half"
    with pytest.raises(ConnectionError, match="broken the reply off"):
        await reply.read()


async def test_without_a_head_there_is_no_reply() -> None:
    reply = InProcessReply()
    reply.end(is_whole=False)
    with pytest.raises(ConnectionError, match="no answer"):
        await reply.wait_for_head()
