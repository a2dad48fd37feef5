import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from devflow_core.testing import FakeClock
from devflow_server.http import Exchange, Listener

Start = Callable[..., Awaitable[tuple[Listener, int]]]
Send = Callable[..., Coroutine[None, None, bytes]]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_pipelined_requests_are_answered_in_order(start: Start, send: Send) -> None:
    async def slow_first(exchange: Exchange) -> None:
        if exchange.request.path == "/1":
            await asyncio.sleep(0.05)  # time for the others to overtake it
        exchange.respond(200, exchange.request.path.encode())

    _, port = await start(slow_first)
    pieces = [b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(1, 30)]
    received = await send(port, b"".join(pieces), until=b"/29")
    bodies = [part.split(b"HTTP/1.1")[0] for part in received.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"/%d" % n for n in range(1, 30)]


async def test_a_head_request_gets_no_body(start: Start, send: Send) -> None:
    _, port = await start()
    received = await send(port, b"HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"content-length: 8\r\n" in received
    assert received.endswith(b"\r\n\r\n<closed>")


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection(
    start: Start, send: Send
) -> None:
    async def stream(exchange: Exchange) -> None:
        exchange.start(200)
        await exchange.write(b"one ")
        await exchange.write(b"two")
        exchange.finish()

    _, port = await start(stream)
    end = b"0\r\n\r\n"
    assert (await send(port, GET, until=end)).endswith(b"4\r\none \r\n3\r\ntwo\r\n" + end)
    old = await send(port, b"GET / HTTP/1.0\r\n\r\n")
    assert old.endswith(b"connection: close\r\n\r\none two<closed>")


async def test_an_expected_continue_is_sent_before_the_body(start: Start, send: Send) -> None:
    _, port = await start()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert await send(port, head, until=interim) == interim
    assert b"200" in await send(port, head, b"hi", until=b"POST / hi")


@pytest.mark.parametrize(
    ("sent", "phase", "status"),
    [
        (b"GET / HTTP/1.1\r\nHo", "head", b"408"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhi", "body", b"408"),
        (b"", "idle", b"<cl"),
        (GET, "idle", b"200"),
    ],
    ids=["slow head", "slow body", "silent", "idle"],
)
async def test_a_slow_or_silent_client_is_closed(
    start: Start, send: Send, eventually: Any, sent: bytes, phase: str, status: bytes
) -> None:
    clock, answered = FakeClock(), asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        exchange.respond(200, b"")
        answered.set()

    listener, port = await start(
        answer, clock=clock, head_timeout_s=8.0, body_timeout_s=28.0, idle_timeout_s=75.0
    )
    sending = asyncio.create_task(send(port, sent))
    await eventually(lambda: listener.connections)
    (connection,) = listener.connections
    await eventually(lambda: connection._receiver.phase == phase)
    await eventually(lambda: sent != GET or (answered.is_set() and connection.exchange is None))
    allowed_s = {"head": 8.0, "body": 28.0, "idle": 75.0}[phase] if sent else 8.0
    clock.advance(allowed_s - 0.1)
    await eventually(lambda: listener.now_s == clock())
    assert not connection._is_closing
    clock.advance(0.1)
    received = await sending
    assert received.endswith(b"<closed>")
    assert received[9:12] == status or received == b"<closed>"


async def test_dribbling_does_not_move_the_deadline(start: Start, eventually: Any) -> None:
    clock = FakeClock()
    listener, port = await start(clock=clock, head_timeout_s=8.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in (b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 3):
        writer.write(piece)
        await eventually(lambda: [c for c in listener.connections if c._receiver.phase == "head"])
        clock.advance(2.0)
        await eventually(lambda: listener.now_s == clock())
    assert b" 408 " in await reader.read()
    writer.close()


async def test_a_client_that_goes_cancels_its_handler(start: Start) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    _, port = await start(wait)
    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await began.wait()
    writer.close()
    async with asyncio.timeout(60):
        await cancelled.wait()


async def test_a_reader_that_takes_nothing_is_cut_and_holds_little(
    start: Start, eventually: Any
) -> None:
    clock = FakeClock()
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def endless(exchange: Exchange) -> None:
        try:
            exchange.start(200)
            while True:
                await exchange.write(b"x" * 10_000)
        finally:
            ended.set_result(exchange.sent_bytes)

    listener, port = await start(
        endless, clock=clock, stall_timeout_s=60.0, write_buffer_bytes=65536
    )
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(GET)
    await eventually(lambda: [one for one in listener.connections if one.is_full])
    while not ended.done():
        clock.advance(20.0)
        await eventually(lambda: listener.now_s == clock())
    sent = await ended
    assert clock() >= 60
    assert sent < 16_000_000  # what the kernel's buffers take, and ours
    writer.close()


async def test_a_reply_that_breaks_off_does_not_look_whole(start: Start, send: Send) -> None:
    async def broken(exchange: Exchange) -> None:
        exchange.start(200)
        await exchange.write(b"half")

    _, port = await start(broken)
    received = await send(port, GET)
    assert b"0\r\n\r\n" not in received.split(b"\r\n\r\n", 1)[-1]


async def test_more_connections_than_places_are_told_so(
    start: Start, send: Send, eventually: Any
) -> None:
    listener, port = await start(max_connections=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    assert b" 503 " in await send(port, GET)
    writer.close()
    await eventually(lambda: not listener.connections)
    assert b" 200 " in await send(port, GET, until=b"GET / ")


async def test_draining_lets_replies_end_and_closes_the_idle(
    start: Start, send: Send, eventually: Any, gate: Any
) -> None:
    async def slow(exchange: Exchange) -> None:
        await gate()
        exchange.respond(200, b"whole")

    listener, port = await start(slow)
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
    running = asyncio.create_task(send(port, GET))
    await gate.reached.wait()
    await eventually(lambda: len(listener.connections) == 2)
    draining = asyncio.create_task(listener.drain(60.0))
    await eventually(lambda: len(listener.connections) == 1)
    assert not draining.done()
    gate.open()
    assert await draining == 0
    assert (await running).endswith(b"connection: close\r\n\r\nwhole<closed>")
    assert await idle_reader.read() == b""
    idle_writer.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_draining_cuts_what_takes_too_long(start: Start, send: Send) -> None:
    began = asyncio.Event()

    async def endless(exchange: Exchange) -> None:
        exchange.start(200)
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if exchange.is_draining:
                exchange.write_now(b"going down")
                exchange.finish()
            raise

    listener, port = await start(endless)
    running = asyncio.create_task(send(port, GET))
    await began.wait()
    assert await listener.drain(0.1) == 1
    assert b"going down" in await running


async def test_a_line_break_in_a_reply_header_is_an_error(start: Start, send: Send) -> None:
    async def inject(exchange: Exchange) -> None:
        with pytest.raises(ValueError, match="printable"):
            exchange.respond(200, b"", [("x-model", "a\r\nset-cookie: b")])
        exchange.status = None
        exchange.respond(200, b"ok")

    _, port = await start(inject)
    assert b" 200 " in await send(port, GET, until=b"\r\n\r\nok")


async def test_an_idle_connection_holds_nothing_of_its_last_request(
    start: Start, send: Send
) -> None:
    listener, port = await start()
    body = b"x" * 300_000
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + body)
    assert (await _reader.readuntil(b"POST / ")).endswith(b"POST / ")
    await _reader.readexactly(len(body))
    (connection,) = listener.connections
    assert len(connection._receiver._parser._body) == 0
    assert listener.held.total == 0
    writer.close()
