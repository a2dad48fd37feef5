"""Turns one reply into events: from its bytes, within its deadlines, until complete or failed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType

from devflow_core.errors import (
    DailyQuotaExceeded,
    DevFlowError,
    ProtocolError,
    RateLimited,
    UpstreamError,
    UpstreamTimeout,
)
from devflow_core.events import Event, Finished, Opaque, Started
from devflow_core.masking import KNOWN_SECRETS, holds_secret
from devflow_core.masking.known_secrets import MIN_SECRET_CHARS
from devflow_core.ports import Call
from devflow_core.safe_text import are_plain_names, clean_name, excerpt
from devflow_core.wire.dialect import Dialect
from devflow_core.wire.errors import error_from_body
from devflow_core.wire.protocol import EventDecoder
from devflow_core.wire.sse import SseFrame, SseReader

from devflow_upstream.transport.protocol import HttpRequest, Transport, UpstreamExchange

# the beginning of an error suffices to classify it
_MAX_ERROR_BYTES = 256 * 1024
_NOT_TAKEN_IN = frozenset({301, 302, 307, 308})
"""Redirects that mean that the request was not carried out.

303 is not among them: it leads to the outcome of a request that was (RFC 9110, 15.4).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The time limits of a reply, each cut to what is left of the request's deadline."""

    first_token_s: float = 60.0
    """Seconds from sending to the first event."""
    idle_s: float = 60.0
    """Seconds between two events; SSE comments are not events and do not extend it."""
    total_s: float = 600.0
    """Seconds from sending to the end of the reply."""


class ReplyStream:
    """Sends a request once, and iterates over the events of its reply: an `EventStream`.

    Entering it sends the request and reads up to the first event; leaving it ends the exchange.
    Entering raises a `DevFlowError` if the request cannot be sent, or if the answer is an error, is
    not a reply or takes too long; the iterator raises one if the reply breaks off.

    Args:
        transport: the connection pool that the request is sent over.
        request: the call as HTTP.
        call: the call that the request stands for.
        dialect: the dialect of both the request and the reply.
        deadlines: how long the reply may take.
        provider: the provider's name, for replies that do not name it.
    """

    __slots__ = (
        "_allowed_s", "_call", "_deadline_at_s", "_deadlines", "_decoder", "_dialect", "_error",
        "_events", "_exchange", "_is_complete", "_is_rewritten", "_phase", "_provider", "_reader",
        "_request", "_transport",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        request: HttpRequest,
        call: Call,
        dialect: Dialect,
        deadlines: Deadlines,
        *,
        provider: str | None = None,
    ) -> None:
        self._transport = transport
        self._request = request
        self._call = call
        self._dialect = dialect
        self._deadlines = deadlines
        self._provider = provider
        self._exchange: UpstreamExchange | None = None
        self._decoder: EventDecoder = dialect.make_decoder(call.candidate.model)
        self._reader = SseReader()
        self._events: deque[Event] = deque()
        self._error: DevFlowError | None = None
        self._is_complete = False
        self._is_rewritten = False
        """Whether the provider's own bytes are withheld, because they contain the call's key."""
        self._phase = "first event"
        self._allowed_s = 0.0
        self._deadline_at_s = 0.0

    async def __aenter__(self) -> AsyncIterator[Event]:
        now_s = asyncio.get_running_loop().time()
        self._allowed_s = min(self._deadlines.total_s, self._call.journal.remaining_s())
        self._deadline_at_s = now_s + self._allowed_s
        first_at_s = min(self._deadline_at_s, now_s + self._deadlines.first_token_s)
        try:
            self._exchange = await self._transport.start(self._request, deadline_s=first_at_s)
            await self._read_first_event(self._exchange)
        except BaseException as error:
            self._annotate_error(error)
            # before the exchange is released, since its headers name the generation
            late = self._timeout_error() if isinstance(error, TimeoutError) else None
            await self.__aexit__(type(error), error, None)
            if late is not None:
                raise late from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.close(is_complete=self._is_complete)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        events = self._events
        while not events:
            if self._error is not None:
                raise self._error
            if self._is_complete or self._exchange is None:
                raise StopAsyncIteration
            await self._read_events(self._exchange)
        return events.popleft()

    async def _read_first_event(self, exchange: UpstreamExchange) -> None:
        """Read up to the first event, or raise the error that came instead."""
        if exchange.status != 200:
            raise await self._read_error(exchange)
        content_type = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == "text/event-stream":
            while not self._events:
                await self._read_events(exchange)
                if self._error is not None and not self._events:
                    raise self._error
            self._complete_start(exchange)
            self._clean_start()
        elif content_type == "application/json":
            body = await read_all(exchange)
            self._add_events(self._dialect.decode_response(body, self._call.candidate.model))
            self._complete_start(exchange)
            self._clean_start(body)
        else:
            start = await exchange.read()
            raise ProtocolError(
                f"The provider sent {content_type or 'no content type'} instead of events: "
                f"{excerpt(start)!r}. Check the base URL.",
                status=200,
            )
        self._phase = "next event"

    async def _read_events(self, exchange: UpstreamExchange) -> None:
        """Decode the next bytes into events; an error is raised after the events before it."""
        try:
            data = await exchange.read()
            if data:
                self._feed_frames(self._reader.feed(data), exchange)
            else:
                self._feed_frames(self._reader.close(), exchange)
                self._add_events(self._decoder.close())
        except TimeoutError as error:
            self._error = self._timeout_error()
            self._error.__cause__ = error
        except DevFlowError as error:
            self._annotate_error(error)
            self._error = error

    def _feed_frames(self, frames: list[SseFrame], exchange: UpstreamExchange) -> None:
        """Decode frames, and extend the deadline if any of them is progress (a comment is not)."""
        is_progress = False
        feed, take = self._decoder.feed, self._add_events
        for frame in frames:
            is_progress = is_progress or frame.data is not None
            take(feed(frame))
        if is_progress:
            now_s = asyncio.get_running_loop().time()
            exchange.deadline_s = min(self._deadline_at_s, now_s + self._deadlines.idle_s)

    def _add_events(self, events: Iterable[Event]) -> None:
        for event in _without_bytes(events) if self._is_rewritten else events:
            self._events.append(event)
            if isinstance(event, Finished):
                self._is_complete = True

    def _complete_start(self, exchange: UpstreamExchange) -> None:
        """Add what the body lacks to the first event: the generation id, the provider's name."""
        first = self._events[0]
        if not isinstance(first, Started):
            return
        generation_id = exchange.headers.get("x-generation-id")
        if first.generation_id is None and generation_id:
            first = self._events[0] = replace(first, generation_id=clean_name(generation_id))
        if self._provider is not None and first.provider is None:
            self._events[0] = replace(first, provider=self._provider)

    def _clean_start(self, body: bytes = b"") -> None:
        """Clean the names in the first event, and check whether it echoes the key of the call.

        The names go into headers, the ledger and reports, so they have to be plain. If they, or
        anything else in the first event, echo the key, the whole reply is rewritten from its
        events, because later frames repeat the same names. The content is not checked: it is the
        caller's.

        Args:
            body: the body of a reply that came whole.
        """
        first = self._events[0]
        if not isinstance(first, Started):
            return
        secret = self._call.key.secret if self._call.key else ""
        names = (first.generation_id, first.model, first.provider)
        data = first.frame.data if first.frame else body
        is_plain = are_plain_names(*names)
        is_echoed = holds_secret("\n".join(filter(None, names)), secret) or (
            len(secret) >= MIN_SECRET_CHARS and secret.encode() in data
        )
        if is_plain and not is_echoed:
            return
        with KNOWN_SECRETS.using(secret):
            generation_id, model, provider = map(clean_name, names)
            # encodings with unusual characters are not found by `holds_secret`
            is_echoed = is_echoed or any(KNOWN_SECRETS.mask(one or "")[1] for one in names)
        cleaned = replace(first, generation_id=generation_id, model=model, provider=provider)
        self._is_rewritten = is_echoed
        rest = list(self._events)[1:]
        self._events.clear()
        self._add_events([cleaned, *rest])

    async def _read_error(self, exchange: UpstreamExchange) -> DevFlowError:
        status, model = exchange.status, self._call.candidate.model
        if status < 400:
            redirected = ProtocolError(
                f"The provider answered {status}, and redirects are not followed. "
                "Check the base URL.",
                status=status,
                model=model,
            )
            redirected.is_unbilled = status in _NOT_TAKEN_IN
            return redirected
        body = await read_all(exchange, max_bytes=_MAX_ERROR_BYTES)
        error = error_from_body(status, body, exchange.headers, model=model)
        limit = exchange.headers.get("x-ratelimit-limit", "")
        # the limit of a day's allowance is not a rate per minute
        if isinstance(error, RateLimited) and not isinstance(error, DailyQuotaExceeded):
            error.limit_per_min = int(limit[:9]) if limit.isascii() and limit.isdigit() else None
        return error

    def _annotate_error(self, error: BaseException) -> None:
        """Add to an error what only the exchange knows."""
        header = self._exchange.headers.get("x-generation-id") if self._exchange else None
        if isinstance(error, DevFlowError):
            error.model = error.model or self._call.candidate.model
        else:  # it was left before its first event; by this id its cost can be asked for
            vars(error)["generation_id"] = clean_name(header)
        if isinstance(error, UpstreamError):
            error.provider = error.provider or self._provider
            error.generation_id = error.generation_id or clean_name(header)

    def _timeout_error(self) -> UpstreamTimeout:
        model = self._call.candidate.model
        if asyncio.get_running_loop().time() >= self._deadline_at_s:
            limit_s, phase = self._allowed_s, "end of the reply within the time allowed"
        elif self._phase == "first event":
            limit_s, phase = self._deadlines.first_token_s, "first event"
        else:
            limit_s, phase = self._deadlines.idle_s, "next event"
        error = UpstreamTimeout(
            f"{model} has not sent the {phase} ({max(0.0, round(limit_s, 1)):g} s). Allow more "
            "time, or ask another model.",
            model=model,
        )
        self._annotate_error(error)
        return error


async def read_all(exchange: UpstreamExchange, *, max_bytes: int | None = None) -> bytes:
    """Return the rest of a body; nothing more is read once there are `max_bytes`.

    Raises:
        TimeoutError: the exchange's deadline has passed.
        DevFlowError: the body is cut off, malformed or too large.
    """
    pieces: list[bytes] = []
    size = 0
    while piece := await exchange.read():
        pieces.append(piece)
        size += len(piece)
        if max_bytes is not None and size >= max_bytes:
            break
    return b"".join(pieces)


def _without_bytes(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events without what only clients of the provider's dialect would receive."""
    for event in events:
        if isinstance(event, Finished):
            yield replace(event, frame=None, raw_response=None)
        elif not isinstance(event, Opaque):
            yield replace(event, frame=None)
