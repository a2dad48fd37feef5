"""Implements a small HTTP/1.1 server that answers a connection's requests in order, in steps."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import cast

import httptools

from devflow_sandbox.api_error import ApiError
from devflow_sandbox.message import Answer, DropConnection, Pause, SandboxRequest, Step

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The longest request body that is kept; a longer one is answered with 413."""
_REASONS = {status.value: status.phrase for status in HTTPStatus}

RequestHandler = Callable[[SandboxRequest], Answer]


class SandboxConnection(asyncio.Protocol):
    """A client's connection; its requests are answered one after the other.

    Args:
        handler: answers a request.
        connections: the open connections, to which this one adds itself until it is lost.
        refuse: called with the seconds for which the server shall refuse connections.
    """

    def __init__(
        self,
        handler: RequestHandler,
        connections: set[SandboxConnection],
        refuse: Callable[[float], None],
    ) -> None:
        self._handler = handler
        self._connections = connections
        self._refuse_for = refuse
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._waiting: deque[tuple[SandboxRequest, bool]] = deque()
        self._writer: AnswerWriter | None = None
        self._is_stale = False

    # callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection, so that closing the server closes it."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the answer: the client has disconnected."""
        self._connections.discard(self)
        self._transport = None
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Parse more bytes of a request."""
        # the fault `stale`: the connection looked open until it was used
        if self._is_stale and self._transport is not None:
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(ApiError(400, "Upgrades are not supported"))
        except httptools.HttpParserError:
            self._refuse(ApiError(400, "Malformed HTTP request"))

    def pause_writing(self) -> None:
        """Pause the answer: the client reads slowly."""
        if self._writer is not None:
            self._writer.pause()

    def resume_writing(self) -> None:
        """Continue the answer: the client reads again."""
        if self._writer is not None:
            self._writer.resume()

    def close(self) -> None:
        """Abort the connection, with whatever is being sent."""
        if self._transport is not None:
            self._transport.abort()

    # callbacks of httptools

    def on_message_begin(self) -> None:
        """Start a new request."""
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        """Add a piece of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Answer `Expect: 100-continue` once the head is complete."""
        expects = self._headers.get("expect", "").lower() == "100-continue"
        if expects and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Add a piece of the body."""
        self._size += len(body)
        # counted on, but not kept: the answer is a 413 once the request is complete
        if self._size <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the complete request, and answer it when its turn comes."""
        path, _, query = self._url.decode("latin-1").partition("?")
        request = SandboxRequest(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            query=query,
            headers=self._headers,
            body=b"".join(self._body),
        )
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._answer_next()

    # answering

    def _answer_next(self) -> None:
        # pipelined requests wait: answers have to leave in the order of the requests
        while self._waiting and self._writer is None and self._transport is not None:
            request, keep_alive = self._waiting.popleft()
            answer = self._answer(request)
            self._write_answer(answer, keep_alive=keep_alive, is_head=request.method == "HEAD")

    def _answer(self, request: SandboxRequest) -> Answer:
        if self._size > MAX_BODY_BYTES:
            limit = MAX_BODY_BYTES // 1024 // 1024
            return ApiError(413, f"Request body is over {limit} MB").to_answer()
        return self._handler(request)

    def _refuse(self, error: ApiError) -> None:
        self._write_answer(error.to_answer(), keep_alive=False, is_head=False)

    def _write_answer(self, answer: Answer, *, keep_alive: bool, is_head: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        self._is_stale = answer.close_after
        if answer.refuse_s:
            self._refuse_for(answer.refuse_s)
        steps = cast("list[bytes]", answer.steps)
        # the fast path: one write for the whole answer
        if not answer.is_paced and not is_head:
            if answer.settle is not None:
                answer.settle(1.0)
            transport.write(_encode_answer(answer, steps, keep_alive=keep_alive))
            if not keep_alive or answer.framing == "close":
                transport.close()
            return
        self._writer = AnswerWriter(self, transport, answer, keep_alive=keep_alive, is_head=is_head)
        self._writer.resume()

    def finish_answer(self, *, keep_alive: bool) -> None:
        """Continue with the next request once an answer is written, or close."""
        self._writer = None
        if keep_alive:
            self._answer_next()
        elif self._transport is not None:
            self._transport.close()


# The states of a writer; `_timer` is set only while it waits:
#
#   state    event                     next
#   writing  a `Pause`                 waiting, until its timer fires
#   writing  the client reads slowly   paused, until the client reads again
#   writing  no step is left           ended, settled as complete
#   writing  a `DropConnection`        ended, the connection is cut
#   any      the client disconnects    ended, settled by the share that was sent


class AnswerWriter:
    """Writes the steps of one answer, pausing where a step says so or the client is slow."""

    def __init__(
        self,
        connection: SandboxConnection,
        transport: asyncio.Transport,
        answer: Answer,
        *,
        keep_alive: bool,
        is_head: bool,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._answer = answer
        self._keep_alive = keep_alive and answer.framing not in ("close", "raw")
        self._sent = 0
        self._steps = _schedule_steps(answer, keep_alive=self._keep_alive, is_head=is_head)
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = True
        self._next_step: Step | None = None

    def pause(self) -> None:
        """Stop writing until `resume`."""
        self._is_paused = True

    def resume(self) -> None:
        """Start or continue writing; a `Pause` step under way still runs to its end."""
        self._is_paused = False
        if self._timer is None:
            self._advance()

    def abandon(self) -> None:
        """Stop writing and settle the answer: the client has disconnected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_paused = True
        # less than 1 even if only the last step is missing: the reply was not complete
        self._settle(min(self._sent / max(1, self._answer.step_count), 0.999))

    def _settle(self, share: float) -> None:
        # taken out first, so that it can never run twice
        settle, self._answer.settle = self._answer.settle, None
        if settle is not None:
            settle(share)

    def _advance(self) -> None:
        self._timer = None
        while not self._is_paused:
            step = self._next_step if self._next_step is not None else next(self._steps, None)
            self._next_step = next(self._steps, None) if step is not None else None
            if step is None:
                self._settle(1.0)
                self._connection.finish_answer(keep_alive=self._keep_alive)
                return
            # settled before the last byte leaves: a client that has the whole reply finds it in the
            # bill
            if self._next_step is None:
                self._settle(1.0)
            if isinstance(step, Pause):
                self._timer = asyncio.get_running_loop().call_later(step.seconds, self._advance)
                return
            if isinstance(step, DropConnection):
                self._drop(step)
                return
            self._transport.write(step)
            self._sent += 1

    def _drop(self, how: DropConnection) -> None:
        self._settle(1.0)
        self._is_paused = True
        if how is DropConnection.RESET:
            raw = self._transport.get_extra_info("socket")
            if raw is not None:
                # a linger time of zero makes close send RST instead of FIN
                lingering = struct.pack("ii", 1, 0)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
            self._transport.abort()
        else:
            self._transport.close()


def encode_head(answer: Answer, *, keep_alive: bool) -> bytes:
    """Return the status line, the headers and the blank line as bytes.

    `Content-Length` is not added here.
    """
    reason = _REASONS.get(answer.status, "Unknown")
    lines = [f"HTTP/1.1 {answer.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    if not keep_alive or answer.framing == "close":
        lines.append("Connection: close")
    return "\r\n".join((*lines, "\r\n")).encode("latin-1", errors="replace")


def _encode_answer(answer: Answer, steps: list[bytes], *, keep_alive: bool) -> bytes:
    if answer.framing == "chunked":
        parts = [b"%x\r\n%b\r\n" % (len(step), step) for step in steps]
        return encode_head(answer, keep_alive=keep_alive) + b"".join(parts) + b"0\r\n\r\n"
    body = b"".join(steps)
    if answer.framing == "length":
        answer.headers.append(("Content-Length", str(len(body))))
    return encode_head(answer, keep_alive=keep_alive) + body


def _schedule_steps(answer: Answer, *, keep_alive: bool, is_head: bool) -> Iterator[Step]:
    """Yield the answer as the bytes of the connection."""
    if answer.head_delay_s:
        yield Pause(answer.head_delay_s)
    steps = answer.steps
    if answer.framing == "raw":
        yield from steps
        return
    if answer.framing == "length" and answer.get_header("content-length") is None:
        steps = list(steps)
        size = sum(len(step) for step in steps if isinstance(step, bytes))
        answer.headers.append(("Content-Length", str(size)))
    yield from _dribble_head(encode_head(answer, keep_alive=keep_alive), answer.dribble_s)
    if is_head:
        return
    if answer.framing != "chunked":
        yield from steps
        return
    for step in steps:
        yield b"%x\r\n%b\r\n" % (len(step), step) if isinstance(step, bytes) and step else step
        if isinstance(step, DropConnection):
            return
    yield b"0\r\n\r\n"


def _dribble_head(text: bytes, dribble_s: float | None) -> Iterator[Step]:
    if dribble_s is None:
        yield text
        return
    for index in range(len(text)):
        yield text[index : index + 1]
        yield Pause(dribble_s)
