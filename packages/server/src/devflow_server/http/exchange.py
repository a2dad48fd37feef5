"""Pairs a request with the reply to it, as a handler sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from devflow_server.http.message import Header, Request, encode_head

_CLOSE = b"connection: close\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"


class ClientDisconnected(Exception):
    """The client has left or stopped reading, so its reply cannot be delivered."""


class ReplyWriter(Protocol):
    """The connection as an exchange needs it: sends bytes and reports back-pressure."""

    is_full: bool
    """Whether the peer reads more slowly than the handler writes."""

    @property
    def is_draining(self) -> bool:
        """Whether the server is shutting down."""
        ...

    @property
    def now_s(self) -> float:
        """The monotonic clock as of the last sweep."""
        ...

    def hold(self, request: Request, owner: str, /) -> bool:
        """Count a request's body as its owner's until it is done; return False without room."""
        ...

    def give_back(self, request: Request, /) -> None:
        """Note that one user of a request has finished."""
        ...

    def send(self, piece: bytes, /) -> None:
        """Queue bytes for sending, in order and without waiting."""
        ...

    async def wait_until_drained(self) -> None:
        """Wait until the peer has taken what is buffered.

        Raises:
            ClientDisconnected: the peer has left.
        """
        ...


class Exchange:
    """A request with its reply, made once: by `respond`, or by `start`, `write`… and `finish`.

    A handler is cancelled when its client leaves. At the end of the server's drain time it is
    cancelled too, with `is_draining` set: it may still write a last frame without waiting.
    """

    def __init__(self, writer: ReplyWriter, request: Request) -> None:
        self.request = request
        self.status: int | None = None
        """The reply's status, once it has begun."""
        self.sent_bytes = 0
        """Bytes of the reply's body so far."""
        self.is_finished = False
        """Whether the reply is complete."""
        self.last_write_s = request.arrived_s
        """When the last piece was sent, or the request came if none was, on the monotonic clock."""
        self._writer = writer
        self._is_chunked = False

    @property
    def is_started(self) -> bool:
        """Whether the head of the reply has been sent."""
        return self.status is not None

    @property
    def is_draining(self) -> bool:
        """Whether the server is shutting down."""
        return self._writer.is_draining

    def hold_body(self, owner: str) -> bool:
        """Count the body as its owner's until the reply is done; return False without room."""
        return self.request.held_bytes > 0 or self._writer.hold(self.request, owner)

    def keep_body(self) -> Callable[[], None]:
        """Keep the body counted for work that outlives the handler; call the result to end that."""
        self.request.workers += 1
        return partial(self._writer.give_back, self.request)

    def respond(self, status: int, body: bytes, headers: Sequence[Header] = ()) -> None:
        """Send a complete reply in one write; for HEAD only its head.

        Raises:
            RuntimeError: a reply has already begun.
            ValueError: the value of a header is not printable ASCII.
        """
        self._begin_reply(status)
        framing = b"content-length: %d\r\n" % len(body)
        if self._mark_last():
            framing += _CLOSE
        sent = b"" if self.request.method == "HEAD" else body
        self.sent_bytes = len(sent)
        self._writer.send(encode_head(status, headers, framing) + sent)
        self.is_finished = True

    def start(self, status: int, headers: Sequence[Header] = ()) -> None:
        """Send the head of a streamed reply; an HTTP/1.0 body ends with the connection.

        Raises:
            RuntimeError: a reply has already begun.
            ValueError: the value of a header is not printable ASCII.
        """
        self._begin_reply(status)
        self._is_chunked = not self.request.is_http_1_0
        framing = _CHUNKED if self._is_chunked else b""
        if self._mark_last():
            framing += _CLOSE
        self._writer.send(encode_head(status, headers, framing))

    def write_now(self, piece: bytes) -> None:
        """Send a piece without waiting; what a slow reader does not take is buffered."""
        if not piece:
            return
        self.sent_bytes += len(piece)
        self.last_write_s = self._writer.now_s
        self._writer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece)

    async def write(self, piece: bytes) -> None:
        """Send a piece, and wait while the buffer of this reply is full.

        Raises:
            ClientDisconnected: the peer has left, or has read nothing for too long.
        """
        self.write_now(piece)
        if self._writer.is_full:
            await self._writer.wait_until_drained()

    def finish(self) -> None:
        """End the streamed reply, which is then complete."""
        if self._is_chunked:
            # RFC 9112, 7.1: a chunk of size 0 ends the body; without it, a reply counts as cut off
            self._writer.send(b"0\r\n\r\n")
        self.is_finished = True

    def _begin_reply(self, status: int) -> None:
        if self.status is not None:
            raise RuntimeError("a reply has already begun")
        self.status = status

    def _mark_last(self) -> bool:
        """Return whether the connection closes after this reply; decided when its head is made."""
        is_last = self.request.is_last or self._writer.is_draining
        self.request.is_last = is_last
        return is_last
