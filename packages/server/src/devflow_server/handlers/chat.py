"""One handler for every dialect of chat: read, ask, send as it comes."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from devflow_core.errors import DevFlowError, Overloaded
from devflow_core.events import Finished, Started
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire import EventEncoder, Translator, get_translator

from devflow_server.error_responses import id_headers
from devflow_server.replies.held_usage import HeldUsage
from devflow_server.replies.idempotency import IdempotencyHandler, StoredResponse, send_stored
from devflow_server.replies.keep_alive import KeepAlive, LiveStream
from devflow_server.replies.reply import HttpReply, ReplyMetadata
from devflow_server.requests.reader import RequestReader
from devflow_server.requests.session_contexts import SessionContexts
from devflow_server.routes import RequestContext

_STREAM_HEADERS = (("content-type", "text/event-stream"), ("cache-control", "no-cache"))
_JSON_HEADER = ("content-type", "application/json")


class ReplySource(Protocol):
    """Where replies come from."""

    def open(
        self, context: RequestContext, request: ChatRequest, /
    ) -> AbstractAsyncContextManager[HttpReply]:
        """The reply to a request, entered at its first event.

        Raises:
            DevFlowError: nobody has begun to answer.
        """
        ...


class ChatHandler:
    """Answers `/v1/chat/completions`, `/v1/messages` and `/v1/responses`.

    Args:
        reader: reads requests.
        session_contexts: adds what a session knows.
        reply_source: answers them.
        idempotency: carries requests with an idempotency key out once.
        keep_alive: pings silent streams.
    """

    def __init__(
        self,
        reader: RequestReader,
        session_contexts: SessionContexts,
        reply_source: ReplySource,
        idempotency: IdempotencyHandler,
        keep_alive: KeepAlive,
    ) -> None:
        self._reader = reader
        self._session_contexts = session_contexts
        self._reply_source = reply_source
        self._idempotency = idempotency
        self._keep_alive = keep_alive

    async def __call__(self, context: RequestContext) -> None:
        """Answer one request."""
        request = await self._reader.read(context)
        request = await self._session_contexts.add_context(context, request)
        context.log_fields["requested"] = request.model
        assert context.route.wire is not None  # noqa: S101 - checked by the reader
        dialect = get_translator(context.route.wire)
        if request.is_stream:
            await self._send_stream(context, request, dialect)
        else:
            await self._send_complete(context, request, dialect)

    async def _send_complete(
        self, context: RequestContext, request: ChatRequest, dialect: Translator
    ) -> None:
        collector = Collector()
        found = await self._open_reply(context, request)
        if isinstance(found, StoredResponse):
            send_stored(context, found, [_JSON_HEADER])
            return
        async with found as reply:
            async for event in reply:
                collector.add(event)
            metadata = reply.final_metadata()
        body = dialect.encode_response(collector.to_response(), request, metadata.annotations())
        context.exchange.respond(
            200,
            body,
            [
                _JSON_HEADER,
                *id_headers(context.request_id),
                *context.reply_headers,
                *metadata.headers(),
            ],
        )
        _log_metadata(context, metadata)

    async def _send_stream(
        self, context: RequestContext, request: ChatRequest, dialect: Translator
    ) -> None:
        exchange = context.exchange
        stream = LiveStream(
            exchange,
            dialect.name,
            [*_STREAM_HEADERS, *id_headers(context.request_id), *context.reply_headers],
        )
        encoder = dialect.make_encoder(request)
        self._keep_alive.streams.add(stream)
        try:
            found = await self._open_reply(context, request)
            if isinstance(found, StoredResponse):
                send_stored(
                    context,
                    found,
                    list(_STREAM_HEADERS if found.status == 200 else (_JSON_HEADER,)),
                )
                return
            async with found as reply:
                await self._send_events(context, stream, reply, encoder)
            exchange.finish()
        except DevFlowError as error:
            if not exchange.is_started:
                raise
            context.log_fields["error"] = error.code
            _end_with_error(context, encoder, error)
        except asyncio.CancelledError:
            if exchange.is_draining and exchange.is_started:
                _end_with_error(
                    context, encoder, Overloaded("The gateway is going down. Ask again.")
                )
            raise
        finally:
            self._keep_alive.streams.discard(stream)

    async def _open_reply(
        self, context: RequestContext, request: ChatRequest
    ) -> StoredResponse | AbstractAsyncContextManager[HttpReply]:
        """The reply to come, or the one that this idempotency key was given before."""
        key = context.exchange.request.headers.get("idempotency-key")
        if key is None:
            return self._reply_source.open(context, request)
        found = await self._idempotency.claim(context, request, key)
        return (
            found
            if isinstance(found, StoredResponse)
            else self._idempotency.open(context, request, found)
        )

    async def _send_events(
        self, context: RequestContext, stream: LiveStream, reply: HttpReply, encoder: EventEncoder
    ) -> None:
        write, held = context.exchange.write, HeldUsage(encoder)
        try:
            async for event in reply:
                if isinstance(event, Started):
                    stream.start(reply.start_metadata(event).headers())
                elif isinstance(event, Finished):
                    metadata = reply.final_metadata()
                    encoder.annotate(metadata.annotations())
                    _log_metadata(context, metadata)
                await write(held.encode(event))
        except (DevFlowError, asyncio.CancelledError):
            context.exchange.write_now(held.release())
            raise


def _end_with_error(context: RequestContext, encoder: EventEncoder, error: DevFlowError) -> None:
    """An error event after the reply has begun, and its end: the connection stays usable."""
    context.exchange.write_now(encoder.encode_error(error, context.request_id))
    context.exchange.finish()


def _log_metadata(context: RequestContext, metadata: ReplyMetadata) -> None:
    context.log_fields.update(
        model=metadata.model,
        attempts=metadata.attempts,
        cost_usd=str(metadata.cost_usd),
        cache=metadata.cache,
    )
