"""Handles chat requests of every dialect: reads the request, opens a reply, and sends it."""

from __future__ import annotations

import asyncio

from devflow_core.errors import DevFlowError, Overloaded
from devflow_core.events import Finished, Started
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire import Dialect, EventEncoder

from devflow_server.error_responses import id_headers
from devflow_server.http.message import Header
from devflow_server.replies.held_usage import HeldUsage
from devflow_server.replies.idempotency import IdempotencyHandler
from devflow_server.replies.keep_alive import KeepAlive, LiveStream
from devflow_server.replies.keyed_call import KeyedCall
from devflow_server.replies.reply import HttpReply, ReplyMetadata
from devflow_server.replies.reply_source import ReplySource
from devflow_server.replies.stored_response import JSON_HEADER, STREAM_HEADERS, StoredResponse
from devflow_server.requests.reader import RequestReader
from devflow_server.requests.session_contexts import SessionContexts
from devflow_server.routes import RequestContext

_REPLAYED: Header = ("idempotent-replayed", "true")


class ChatHandler:
    """Answers the chat route of every dialect.

    Args:
        reader: decodes requests.
        session_contexts: adds the context of a session.
        reply_source: opens replies.
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
        """Answer one request.

        Raises:
            DevFlowError: it failed before the reply began; a later failure is reported in the
                stream.
        """
        request = await self._reader.read(context)
        request = await self._session_contexts.add_context(context, request)
        context.log_fields["requested"] = request.model
        dialect = context.dialect
        if request.is_stream:
            await self._send_stream(context, request, dialect)
        else:
            await self._send_complete(context, request, dialect)

    async def _send_complete(
        self, context: RequestContext, request: ChatRequest, dialect: Dialect
    ) -> None:
        key = context.exchange.request.headers.get("idempotency-key")
        if key is not None:
            found = await self._idempotency.open(context, request, dialect, key)
            await _send_kept(context, found, is_stream=False)
            return
        collector = Collector()
        async with self._reply_source.open(context, request) as reply:
            async for event in reply:
                collector.add(event)
            metadata = reply.final_metadata()
        body = dialect.encode_response(collector.to_response(), request, metadata.annotations())
        context.exchange.respond(
            200,
            body,
            [
                JSON_HEADER,
                *id_headers(context.request_id),
                *context.reply_headers,
                *metadata.headers(),
            ],
        )
        _log_metadata(context, metadata)

    async def _send_stream(
        self, context: RequestContext, request: ChatRequest, dialect: Dialect
    ) -> None:
        exchange = context.exchange
        key = exchange.request.headers.get("idempotency-key")
        stream = LiveStream(
            exchange,
            dialect,
            [*STREAM_HEADERS, *id_headers(context.request_id), *context.reply_headers],
        )
        encoder = dialect.make_encoder(request)
        # before the reply is opened, so that pings bridge the wait for a provider
        self._keep_alive.streams.add(stream)
        try:
            if key is not None:
                found = await self._idempotency.open(context, request, dialect, key)
                await _relay_kept(context, stream, found)
                return
            async with self._reply_source.open(context, request) as reply:
                await self._send_events(context, stream, reply, encoder)
            exchange.finish()
        except DevFlowError as error:
            if not exchange.is_started:
                raise
            context.log_fields["error"] = error.code
            _end_with_error(context, encoder, error)
        except asyncio.CancelledError:
            # a client that left cancels too; only when draining is there still one to answer
            if exchange.is_draining and exchange.is_started:
                _end_with_error(
                    context, encoder, Overloaded("The gateway is going down. Ask again.")
                )
            raise
        finally:
            self._keep_alive.streams.discard(stream)

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
            # the events held back came before the failure, so they are sent before it
            context.exchange.write_now(held.release())
            raise


async def _relay_kept(
    context: RequestContext, stream: LiveStream, found: KeyedCall | StoredResponse
) -> None:
    """Send a stream under an idempotency key, live or from the stored reply."""
    if isinstance(found, KeyedCall):
        async for piece in found.read():
            stream.start(found.head)
            await context.exchange.write(piece)
        if found.has_begun:
            context.exchange.finish()
            _log_kept(context, found)
            return
    await _send_kept(context, found, is_stream=True)


async def _send_kept(
    context: RequestContext, found: KeyedCall | StoredResponse, *, is_stream: bool
) -> None:
    """Send a reply under an idempotency key once it is complete."""
    if isinstance(found, StoredResponse):
        found.send(context.exchange, [_REPLAYED], is_stream=is_stream)
        return
    response = await found.wait_for_response()
    response.send(context.exchange, context.reply_headers, is_stream=is_stream)
    _log_kept(context, found)


def _log_kept(context: RequestContext, call: KeyedCall) -> None:
    if call.metadata is not None:
        _log_metadata(context, call.metadata)
    if call.failure is not None:
        context.log_fields["error"] = call.failure.code


def _end_with_error(context: RequestContext, encoder: EventEncoder, error: DevFlowError) -> None:
    """Send an error event in a reply that has begun, and end it; the connection stays usable."""
    context.exchange.write_now(encoder.encode_error(error, context.request_id))
    context.exchange.finish()


def _log_metadata(context: RequestContext, metadata: ReplyMetadata) -> None:
    context.log_fields.update(
        model=metadata.model,
        attempts=metadata.attempts,
        cost_usd=str(metadata.cost_usd),
        cache=metadata.cache,
    )
