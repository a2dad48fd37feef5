"""Implements one connection to the upstream, which carries one exchange after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import cast

from devflow_core.errors import DevFlowError, Incomplete, PossiblyAccepted

from devflow_upstream.transport.http1_reader import ReplyLimits, ReplyReader

_MAX_BUFFERED_BYTES = 256 * 1024
"""The most unread bytes: beyond them nothing is received until the reader has caught up."""
_DRAIN_TIMEOUT_S = 1.0
"""Seconds that the end of the framing may take after the reply itself was complete."""


class UpstreamConnection(asyncio.Protocol):
    """An `asyncio` protocol that is also the `UpstreamExchange` of its current request.

    One timer serves the connection for its lifetime: when it fires it checks `deadline_s` and sets
    itself again, so that extending the deadline with each event costs only an assignment.

    Args:
        limits: the size limits of a reply.
        keep_alive_s: how many seconds it may stay idle.
        on_idle: called when it can carry another exchange.
        on_closed: called when it is closed.
    """

    def __init__(
        self,
        *,
        limits: ReplyLimits,
        keep_alive_s: float,
        on_idle: Callable[[UpstreamConnection], None],
        on_closed: Callable[[UpstreamConnection], None],
    ) -> None:
        self._deadline_s = 0.0
        self.is_open = False
        self._limits = limits
        self._keep_alive_s = keep_alive_s
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reader: ReplyReader | None = None
        self._pieces: list[bytes] = []
        self._buffered_bytes = 0
        self._is_paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_draining = False

    # called by the transport, and by the exchange that it hands out

    async def send(self, message: bytes, deadline_s: float) -> None:
        """Send a request and wait for the head of its reply; any error closes the connection.

        Raises:
            PossiblyAccepted: the connection ended before a byte of the reply.
            ProtocolError, Incomplete, ReplyTooLarge: the head is malformed, cut off or too large.
            TimeoutError: the deadline has passed.
        """
        assert self._transport is not None  # noqa: S101 - it is made by create_connection
        self._reader = ReplyReader(self._limits)
        self.deadline_s = deadline_s
        self._transport.write(message)
        try:
            while not self._reader.status:
                await self._wait()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Close at once, discarding what is still to come."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await asyncio.shield(self._closed)

    # the methods of `UpstreamExchange`

    @property
    def deadline_s(self) -> float:
        return self._deadline_s

    @deadline_s.setter
    def deadline_s(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        if self.is_open and (self._timer is None or deadline_s < self._timer.when()):
            self._set_timer()

    @property
    def status(self) -> int:
        return self._reader.status if self._reader else 0

    @property
    def headers(self) -> Mapping[str, str]:
        return self._reader.headers if self._reader else {}

    async def read(self) -> bytes:
        while not self._pieces:
            if self._reader is None or self._reader.is_done:
                return b""
            await self._wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered_bytes = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def close(self, *, is_complete: bool) -> None:
        reader = self._reader
        if reader is None:
            return
        self._pieces.clear()
        if reader.is_done:
            self._release()
        elif is_complete and self.is_open and self._error is None:
            self._is_draining = True
            self.deadline_s = self._loop.time() + _DRAIN_TIMEOUT_S
        else:
            self.abort()

    # called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of a connection that is established, TLS included."""
        # create_connection returns a stream transport; uvloop's is not a subclass of asyncio's
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Feed bytes to the reader, and wake the waiting read."""
        reader = self._reader
        if reader is None:  # the provider sent bytes before any request
            self.abort()
            return
        try:
            pieces = reader.feed(data)
        except DevFlowError as error:
            self._fail(error)
            return
        if self._is_draining:
            self._finish_drain(reader)
        else:
            self._buffer_pieces(pieces)
        self._wake()

    def eof_received(self) -> bool:
        """Close the connection, since the other side has closed its half."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange, with an error if its reply was not complete."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._error is None and self._reader is not None:
            self._error = self._end_error(self._reader, exc)
        if not self._closed.done():
            self._closed.set_result(None)
        self._on_closed(self)
        self._wake()

    # helpers of the methods above

    def _buffer_pieces(self, pieces: list[bytes]) -> None:
        self._pieces += pieces
        for piece in pieces:
            self._buffered_bytes += len(piece)
        if self._buffered_bytes > _MAX_BUFFERED_BYTES and not self._is_paused:
            assert self._transport is not None  # noqa: S101 - bytes came from it
            self._is_paused = True
            self._transport.pause_reading()

    def _finish_drain(self, reader: ReplyReader) -> None:
        if reader.is_done:
            self._release()

    def _release(self) -> None:
        """Keep the connection for another exchange, or close it."""
        reader, self._reader = self._reader, None
        self._is_draining = False
        if reader is None or not (reader.is_reusable and self.is_open):
            self.abort()
            return
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        self.deadline_s = self._loop.time() + self._keep_alive_s
        self._on_idle(self)

    def _end_error(self, reader: ReplyReader, cause: Exception | None) -> Exception | None:
        """Return the error of a reply that the lost connection cut off; None if it was complete."""
        if not reader.has_begun:
            error = PossiblyAccepted("The provider closed the connection without a reply.")
        elif cause is not None and not reader.is_done:
            error = Incomplete("The connection to the provider broke inside the reply.")
        else:
            try:
                reader.finish()
            except DevFlowError as caught:
                return caught
            return None
        error.__cause__ = cause
        return error

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._pieces:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.abort()
        self._wake()

    def _set_timer(self) -> None:
        """Make the timer fire at the deadline; one that fires too early sets itself again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline_s:
            self._set_timer()
        elif self._reader is None or self._is_draining:
            self.abort()
        else:
            self._fail(TimeoutError())
