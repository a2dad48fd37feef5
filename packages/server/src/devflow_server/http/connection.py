"""Drives one client connection: receives bytes, runs one handler at a time, and sends bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import orjson

from devflow_server.http.exchange import ClientDisconnected, Exchange
from devflow_server.http.limits import MAX_DISCARDED_BYTES
from devflow_server.http.message import Request, RequestRejected, encode_head
from devflow_server.http.receiver import Receiver, ReceivingHost

_FLUSH_BYTES = 64 * 1024
"""The most bytes queued before they are sent: back-pressure counts only what the transport has."""
_JSON_HEADER = ("content-type", "application/json")
# the limits behind a 503 usually have room again within a second
_RETRY_HEADER = ("retry-after", "1")
_NO_RETRY_HEADER = ("x-should-retry", "false")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STILL_SENDING = frozenset({413, 503})
"""Statuses of refusals in the middle of a request.

Most such clients are not at fault, and read the reply only after they have sent everything.
"""
_NO_PLACE = "This gateway holds as many bytes of requests as it may. Ask again in a moment."


class ConnectionHost(ReceivingHost, Protocol):
    """The listener as its connections need it: limits, clock, handler and counters."""

    handler: Callable[[Exchange], Awaitable[None]]
    now_s: float
    """The monotonic clock as of the last sweep."""
    is_draining: bool
    """Whether the server is shutting down."""
    count_rejected: Callable[[int], None]
    """Called with the status of each request that no handler got."""

    @property
    def is_overloaded(self) -> bool:
        """Whether more requests are being answered than allowed."""
        ...

    def register(self, connection: ServerConnection, /) -> bool:
        """Add a connection; return False if there are too many."""
        ...

    def unregister(self, connection: ServerConnection, /) -> None:
        """Remove a connection that has ended."""
        ...

    def begin_request(self) -> None:
        """Count a handler that begins."""
        ...

    def end_request(self) -> None:
        """Stop counting a handler that has ended."""
        ...


# The life of a connection; a sweep looks at the deadlines every `sweep_interval_s`:
#
#   from        to          when
#   idle        receiving   the first byte of a request arrives
#   idle        closed      no request came for `idle_timeout_s`, or the server drains
#   receiving   answering   the request is complete, or was refused at its head: its handler runs
#   receiving   lingering   it is refused with 413 or 503: its peer may still be sending
#   receiving   closed      it is refused otherwise, or its head or body took too long (408)
#   answering   idle        the reply is finished; a request that waits behind it is next
#   answering   lingering   the reply to a request that was refused at its head is finished
#   answering   closed      the reply is finished, and was the last; or the server drains
#   answering   aborted     the reply broke off, or its peer read nothing for `stall_timeout_s`
#   lingering   closed      `linger_timeout_s` is over, or MAX_DISCARDED_BYTES were discarded
#   any         lost        the peer has left: a running handler is cancelled
#
# What arrives while a reply is sent is received too, up to `max_pipelined` requests. If it is not
# acceptable, the reply is finished first and then the connection is closed.


class ServerConnection(asyncio.Protocol):
    """A protocol that the listener makes for each accepted socket.

    Requests are answered in order, one at a time. The listener's sweep checks the deadlines, so
    that a request costs no timer.
    """

    def __init__(self, host: ConnectionHost) -> None:
        self.is_full = False
        """Whether the peer reads more slowly than the handler writes."""
        self.exchange: Exchange | None = None
        self._host = host
        self._limits = host.limits
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Event | None = None
        self._deadline_s = host.now_s + self._limits.head_timeout_s
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._buffered_bytes = 0
        self._stalled_since_s: float | None = None
        self._is_closing = False
        self._discarded_bytes = 0
        self._is_lost = False

    @property
    def is_draining(self) -> bool:
        """Whether the server is shutting down."""
        return self._host.is_draining

    @property
    def now_s(self) -> float:
        """The monotonic clock as of the last sweep."""
        return self._host.now_s

    # called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the new connection, or refuse it if there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # what a stream protocol gets
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes)
        peer = self._transport.get_extra_info("peername")
        address = str(cast("tuple[object, ...]", peer)[0]) if isinstance(peer, tuple) else ""
        self._receiver = Receiver(self._host, self._transport, self, address)
        if not self._host.register(self):
            self._reject(RequestRejected(503, "This gateway has too many connections."))

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; after a refusal, discard them."""
        if self._is_closing:
            self._discard(len(data))
            return
        before = self._receiver.phase
        try:
            self._receiver.feed(data)
        except RequestRejected as rejection:
            self._reject(rejection)
            return
        if self._receiver.phase != before:
            self._set_deadline()
        self.wake()
        # after `wake`: a request that its handler has begun no longer counts as unadmitted
        self._receiver.count()

    def wake(self) -> None:
        """Start the next handler if a request is complete, or send `100 Continue` if one is due."""
        if self._task is not None or self._is_closing:
            return
        if self._receiver.has_waiting:
            self._handle_next()
        elif self._receiver.take_continue():
            self.send(_CONTINUE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the handler, since nobody can read its reply any longer."""
        self._is_closing = self._is_lost = True
        self._receiver.drop()
        if self._writable is not None:
            self._writable.set()
        if self._task is not None:
            self._task.cancel("the client has gone")
        self._host.unregister(self)

    def pause_writing(self) -> None:
        """Note that the peer reads more slowly than the handler writes."""
        self.is_full = True
        self._writable = asyncio.Event()
        self._buffered_bytes = self._transport.get_write_buffer_size()
        self._stalled_since_s = self._host.now_s

    def resume_writing(self) -> None:
        """Note that the peer has caught up, and wake the handler."""
        self.is_full = False
        self._stalled_since_s = None
        if self._writable is not None:
            self._writable.set()

    # called by the exchange

    def hold(self, request: Request, owner: str) -> bool:
        """Count a request's body as its owner's until it is done; return False without room."""
        if not self._host.held.take(owner, len(request.body)):
            return False
        request.owner, request.held_bytes = owner, len(request.body)
        return True

    def give_back(self, request: Request) -> None:
        """Note that one user of a request has finished; the last one frees its bytes."""
        request.workers -= 1
        if not request.workers:
            self._host.held.give_back(request.owner, request.held_bytes)

    def send(self, piece: bytes) -> None:
        """Send bytes at the end of this turn of the loop, in one system call with others.

        A provider's packet holds many events, and each write costs 4 µs, however much it holds.
        """
        if not self._outgoing:
            self._host.loop.call_soon(self._flush)
        self._outgoing.append(piece)
        self._outgoing_bytes += len(piece)
        if self._outgoing_bytes > _FLUSH_BYTES:
            self._flush()

    async def wait_until_drained(self) -> None:
        """Wait until the peer has taken what is buffered.

        Raises:
            ClientDisconnected: the peer has left.
        """
        if self._writable is not None:
            await self._writable.wait()
        if self._is_lost:
            raise ClientDisconnected

    # called by the listener

    def sweep(self, now_s: float) -> None:
        """Close the connection if a deadline has passed."""
        if self._stalled_since_s is not None:
            self._check_progress(now_s, self._stalled_since_s)
        if self._task is not None or now_s < self._deadline_s:
            return
        if self._receiver.phase == "idle" or self._is_closing:
            self._close()
        else:
            self._reject(RequestRejected(408, "The request took too long to arrive."))

    def drain(self) -> None:
        """Close an idle connection; a busy one is closed after its reply."""
        if self._task is None and self._receiver.phase == "idle":
            self._close()

    def evict(self) -> None:
        """Refuse the request that is arriving: too many unadmitted bytes are held."""
        if self._is_closing:
            self._receiver.drop()
        else:
            self._reject(RequestRejected(503, _NO_PLACE))

    def cancel(self) -> None:
        """Cancel the handler at the end of the drain time, or close an idle connection."""
        if self._task is not None:
            self._task.cancel("the server is going down")
        else:
            self._close()

    def abort(self) -> None:
        """Close at once, without sending what is buffered."""
        self._is_closing = True
        self._transport.abort()

    # helpers of the methods above

    def _flush(self) -> None:
        if self._outgoing and not self._transport.is_closing():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()
        self._outgoing_bytes = 0

    def _check_progress(self, now_s: float, since_s: float) -> None:
        buffered = self._transport.get_write_buffer_size()
        # fewer buffered bytes mean that the peer reads, however slowly
        if buffered < self._buffered_bytes:
            self._buffered_bytes = buffered
            self._stalled_since_s = now_s
        elif now_s - since_s >= self._limits.stall_timeout_s:
            self.abort()

    def _set_deadline(self) -> None:
        limits = self._limits
        allowed_s = {
            "idle": limits.idle_timeout_s,
            "head": limits.head_timeout_s,
            "body": limits.body_timeout_s,
        }
        self._deadline_s = self._host.now_s + allowed_s[self._receiver.phase]

    def _handle_next(self) -> None:
        exchange = Exchange(self, self._receiver.next_request())
        self.exchange = exchange
        self._task = self._host.loop.create_task(self._handle(exchange))

    async def _handle(self, exchange: Exchange) -> None:
        self._host.begin_request()
        try:
            if self._host.is_overloaded:
                exchange.respond(503, _OVERLOADED_BODY, [_JSON_HEADER, _RETRY_HEADER])
            else:
                await self._host.handler(exchange)
        except ClientDisconnected:
            self.abort()
        finally:
            # in this order: place and bytes are free before the next request takes its own
            self._host.end_request()
            self.give_back(exchange.request)
            self._task = self.exchange = None
            self._finish_request(exchange)

    def _finish_request(self, exchange: Exchange) -> None:
        if not exchange.is_finished:
            self.abort()  # a reply that broke off must not look complete
        elif exchange.request.is_refused:
            self._linger()
        elif exchange.request.is_last or self.is_draining:
            self._close()
        else:
            self._set_deadline()
            self.wake()

    def _reject(self, rejection: RequestRejected) -> None:
        """Answer a malformed request and close; a running handler first finishes its reply."""
        self._receiver.drop()
        if self._task is not None:
            # the running reply comes first; `_finish_request` then closes, since it is now the last
            self._is_closing = True
            if self.exchange is not None:
                self.exchange.request.is_last = True
            return
        body = _error_body(rejection.message, rejection.status)
        framing = b"content-length: %d\r\nconnection: close\r\n" % len(body)
        headers = [_JSON_HEADER, _RETRY_HEADER if rejection.status == 503 else _NO_RETRY_HEADER]
        self.send(encode_head(rejection.status, headers, framing) + body)
        self._host.count_rejected(rejection.status)
        if rejection.status in _STILL_SENDING:
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        """Close after a moment: closed at once, a peer still sending might not get the answer."""
        # in this order: our answer, the end of our half, and only then the rest of the request
        self._flush()
        self._is_closing = True
        if self._transport.is_closing():
            return
        self._transport.write_eof()
        self._receiver.discard_rest()
        self._deadline_s = self._host.now_s + self._limits.linger_timeout_s

    def _discard(self, count: int) -> None:
        self._discarded_bytes += count
        if self._discarded_bytes > MAX_DISCARDED_BYTES:
            self._transport.close()

    def _close(self) -> None:
        self._flush()
        self._is_closing = True
        self._transport.close()


def _error_body(message: str, status: int) -> bytes:
    """Return an error for a request without a route, in a shape that all dialects' clients read."""
    code = _CODES.get(status, "invalid_request")
    kind = "server_error" if status >= 500 else _KINDS.get(status, "invalid_request_error")
    error = {"message": message, "type": kind, "code": code}
    return orjson.dumps({"type": "error", "error": error})


_CODES = {413: "payload_too_large", 503: "queue_full"}
_KINDS = {413: "request_too_large"}
"""Anthropic's name, since Claude Code acts on it; OpenAI's clients look at the status."""
_OVERLOADED_BODY = _error_body(
    "This gateway is answering as many requests as it can. Ask again.", 503
)
