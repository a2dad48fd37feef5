"""One request and the reply to it, as a handler sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from devflow_server.http.message import Header, Request, encode_head

_CLOSE = b"connection: close\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"


class ClientDisconnected(Exception):
    """The client has gone, or has taken nothing for too long; there is nobody to answer."""


class ReplyWriter(Protocol):
    """The connection as an exchange needs it: takes bytes, and says how fast they leave."""

    is_full: bool
    """The peer reads slower than the handler writes."""

    @property
    def is_draining(self) -> bool:
        """Whether the server is going down."""
        ...

    @property
    def now_s(self) -> float:
        """The monotonic clock as of the last sweep."""
        ...

    def hold(self, request: Request, owner: str, /) -> bool:
        """Count a request's bytes as its owner's until it is answered, if there is a place."""
        ...

    def give_back(self, request: Request, /) -> None:
        """One of those who work on a request has done so."""
        ...

    def send(self, piece: bytes, /) -> None:
        """Take bytes; they leave in order, without waiting."""
        ...

    async def wait_until_drained(self) -> None:
        """Wait until the peer has taken what is buffered.

        Raises:
            ClientDisconnected: it has gone instead.
        """
        ...


class Exchange:
    """What a handler gets. Exactly one reply: `respond`, or `start`, `write`…, `finish`.

    A handler is cancelled when its client goes. When the server's time to drain is over it is
    cancelled too, with `is_draining` set: it may still write a last frame without waiting.
    """

    def __init__(self, writer: ReplyWriter, request: Request) -> None:
        self.request = request
        self.status: int | None = None
        """Of the reply, once it has begun."""
        self.sent_bytes = 0
        """Of the reply's body."""
        self.is_finished = False
        self.last_write_s = request.arrived_s
        self._writer = writer
        self._is_chunked = False

    @property
    def is_started(self) -> bool:
        """Whether the head of the reply has left."""
        return self.status is not None

    @property
    def is_draining(self) -> bool:
        """Whether the server is going down."""
        return self._writer.is_draining

    def hold_body(self, owner: str) -> bool:
        """Count the body as the owner's until this is answered; whether there is a place for it."""
        return self.request.held_bytes > 0 or self._writer.hold(self.request, owner)

    def keep_body(self) -> Callable[[], None]:
        """Count the body on, for work that may outlive the handler, until this is called."""
        self.request.workers += 1
        return partial(self._writer.give_back, self.request)

    def respond(self, status: int, body: bytes, headers: Sequence[Header] = ()) -> None:
        """A whole reply in one write. To HEAD only its head is sent."""
        self._begin_reply(status)
        framing = b"content-length: %d\r\n" % len(body)
        if self._mark_last():
            framing += _CLOSE
        sent = b"" if self.request.method == "HEAD" else body
        self.sent_bytes = len(sent)
        self._writer.send(encode_head(status, headers, framing) + sent)
        self.is_finished = True

    def start(self, status: int, headers: Sequence[Header] = ()) -> None:
        """The head of a streamed reply; HTTP/1.0 gets it closed by the end of the connection."""
        self._begin_reply(status)
        self._is_chunked = not self.request.is_http_1_0
        framing = _CHUNKED if self._is_chunked else b""
        if self._mark_last():
            framing += _CLOSE
        self._writer.send(encode_head(status, headers, framing))

    def write_now(self, piece: bytes) -> None:
        """Send a piece without waiting; what a slow reader leaves is buffered."""
        if not piece:
            return
        self.sent_bytes += len(piece)
        self.last_write_s = self._writer.now_s
        self._writer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece)

    async def write(self, piece: bytes) -> None:
        """Send a piece; wait while the buffer of this reply is full.

        Raises:
            ClientDisconnected: the reader has taken nothing for too long.
        """
        self.write_now(piece)
        if self._writer.is_full:
            await self._writer.wait_until_drained()

    def finish(self) -> None:
        """The streamed reply is whole."""
        if self._is_chunked:
            self._writer.send(b"0\r\n\r\n")
        self.is_finished = True

    def _begin_reply(self, status: int) -> None:
        if self.status is not None:
            raise RuntimeError("a reply has already begun")
        self.status = status

    def _mark_last(self) -> bool:
        """Whether the connection is closed after this reply; decided when its head is made."""
        is_last = self.request.is_last or self._writer.is_draining
        self.request.is_last = is_last
        return is_last
