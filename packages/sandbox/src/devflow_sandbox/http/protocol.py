"""A small HTTP/1.1 server: one request after the other on a connection, answered step by step."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import cast

import httptools

from devflow_sandbox.api_error import Refusal
from devflow_sandbox.message import Answer, Drop, Pause, Request, Step

MAX_BODY_BYTES = 64 * 1024 * 1024
_BATCH_BYTES = 64 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}

Answerer = Callable[[Request], Answer]


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(
        self, answerer: Answerer, open_ones: set[Connection], refuse: Callable[[float], None]
    ) -> None:
        self._answerer = answerer
        self._open = open_ones
        self._refuse_for = refuse
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._playing: Player | None = None
        self._stale = False

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember it, so that closing the server closes it."""
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: whatever was being said is over."""
        self._open.discard(self)
        self._transport = None
        if self._playing is not None:
            self._playing.abandon()
            self._playing = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        if self._stale and self._transport is not None:
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Refusal(400, "Upgrades are not supported"))
        except httptools.HttpParserError:
            self._refuse(Refusal(400, "Malformed HTTP request"))

    def pause_writing(self) -> None:
        """The client reads slowly."""
        if self._playing is not None:
            self._playing.pause()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._playing is not None:
            self._playing.resume()

    def close(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # what httptools calls

    def on_message_begin(self) -> None:
        """A new request."""
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        """The request target, maybe in pieces."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        expects = self._headers.get("expect", "").lower() == "100-continue"
        if expects and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size += len(body)
        if self._size <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        path, _, query = self._url.decode("latin-1").partition("?")
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            query=query,
            headers=self._headers,
            body=b"".join(self._body),
        )
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._next()

    # answering

    def _next(self) -> None:
        while self._waiting and self._playing is None and self._transport is not None:
            request, keep_alive = self._waiting.popleft()
            answer = self._answer(request)
            self._play(answer, keep_alive=keep_alive, is_head=request.method == "HEAD")

    def _answer(self, request: Request) -> Answer:
        if self._size > MAX_BODY_BYTES:
            limit = MAX_BODY_BYTES // 1024 // 1024
            return Refusal(413, f"Request body is over {limit} MB").answer()
        return self._answerer(request)

    def _refuse(self, refusal: Refusal) -> None:
        self._play(refusal.answer(), keep_alive=False, is_head=False)

    def _play(self, answer: Answer, *, keep_alive: bool, is_head: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        self._stale = answer.close_after
        if answer.refuse_s:
            self._refuse_for(answer.refuse_s)
        steps = cast("list[bytes]", answer.steps)
        if not answer.paced and not is_head:
            if answer.settle is not None:
                answer.settle(1.0)
            transport.write(_at_once(answer, steps, keep_alive=keep_alive))
            if not keep_alive or answer.framing == "close":
                transport.close()
            return
        self._playing = Player(self, transport, answer, keep_alive=keep_alive, is_head=is_head)
        self._playing.resume()

    def played(self, *, keep_alive: bool) -> None:
        """The answer is out."""
        self._playing = None
        if keep_alive:
            self._next()
        elif self._transport is not None:
            self._transport.close()


class Player:
    """Plays one answer's steps, waiting where it says so and where the client is slow."""

    def __init__(
        self,
        connection: Connection,
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
        self._steps = _scheduled(answer, keep_alive=self._keep_alive, is_head=is_head)
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = True
        self._ahead: Step | None = None

    def pause(self) -> None:
        """Wait for the client."""
        self._is_paused = True

    def resume(self) -> None:
        """Go on."""
        self._is_paused = False
        if self._timer is None:
            self._advance()

    def abandon(self) -> None:
        """Nobody listens any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_paused = True
        self._settle(min(self._sent / max(1, self._answer.total), 0.999))

    def _settle(self, share: float) -> None:
        settle, self._answer.settle = self._answer.settle, None
        if settle is not None:
            settle(share)

    def _advance(self) -> None:
        self._timer = None
        while not self._is_paused:
            step = self._ahead if self._ahead is not None else next(self._steps, None)
            self._ahead = next(self._steps, None) if step is not None else None
            if step is None:
                self._settle(1.0)
                self._connection.played(keep_alive=self._keep_alive)
                return
            if self._ahead is None:
                self._settle(1.0)
            if isinstance(step, Pause):
                self._timer = asyncio.get_running_loop().call_later(step.s, self._advance)
                return
            if isinstance(step, Drop):
                self._drop(step)
                return
            self._transport.write(step)
            self._sent += 1

    def _drop(self, how: Drop) -> None:
        self._settle(1.0)
        self._is_paused = True
        if how is Drop.RESET:
            raw = self._transport.get_extra_info("socket")
            if raw is not None:
                lingering = struct.pack("ii", 1, 0)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
            self._transport.abort()
        else:
            self._transport.close()


def head(answer: Answer, *, keep_alive: bool) -> bytes:
    """Status line and headers."""
    reason = _REASONS.get(answer.status, "Unknown")
    lines = [f"HTTP/1.1 {answer.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    if not keep_alive or answer.framing == "close":
        lines.append("Connection: close")
    return "\r\n".join((*lines, "\r\n")).encode("latin-1", errors="replace")


def _at_once(answer: Answer, steps: list[bytes], *, keep_alive: bool) -> bytes:
    if answer.framing == "chunked":
        parts = [b"%x\r\n%b\r\n" % (len(step), step) for step in steps]
        return head(answer, keep_alive=keep_alive) + b"".join(parts) + b"0\r\n\r\n"
    body = b"".join(steps)
    if answer.framing == "length":
        answer.headers.append(("Content-Length", str(len(body))))
    return head(answer, keep_alive=keep_alive) + body


def _scheduled(answer: Answer, *, keep_alive: bool, is_head: bool) -> Iterator[Step]:
    """The answer as bytes of the connection."""
    if answer.head_delay_s:
        yield Pause(answer.head_delay_s)
    steps = answer.steps
    if answer.framing == "raw":
        yield from steps
        return
    if answer.framing == "length" and answer.header("content-length") is None:
        steps = list(steps)
        size = sum(len(step) for step in steps if isinstance(step, bytes))
        answer.headers.append(("Content-Length", str(size)))
    yield from _head_steps(head(answer, keep_alive=keep_alive), answer.dribble_s)
    if is_head:
        return
    if answer.framing != "chunked":
        yield from steps
        return
    for step in steps:
        yield b"%x\r\n%b\r\n" % (len(step), step) if isinstance(step, bytes) and step else step
        if isinstance(step, Drop):
            return
    yield b"0\r\n\r\n"


def _head_steps(text: bytes, dribble_s: float | None) -> Iterator[Step]:
    if dribble_s is None:
        yield text
        return
    for at in range(len(text)):
        yield text[at : at + 1]
        yield Pause(dribble_s)
