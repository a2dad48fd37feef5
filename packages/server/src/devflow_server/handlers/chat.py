"""One handler for every dialect of chat: read, ask, send as it comes."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from devflow_core.errors import DevFlowError, Overloaded
from devflow_core.events import Finished, Opaque, Started
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire import EventEncoder, Translator, translator

from devflow_server.error_responses import ids_of
from devflow_server.replies.idempotency import Kept, Once, replay
from devflow_server.replies.keep_alive import LiveStream, Pulse
from devflow_server.replies.reply import Answer, Facts
from devflow_server.requests.reader import Intake
from devflow_server.requests.session_contexts import Contexts
from devflow_server.routes import Visit

_STREAM = (("content-type", "text/event-stream"), ("cache-control", "no-cache"))
_JSON = ("content-type", "application/json")


class Desk(Protocol):
    """Where answers come from."""

    def open(self, visit: Visit, request: ChatRequest, /) -> AbstractAsyncContextManager[Answer]:
        """The answer to a request, entered at its first event.

        Raises:
            DevFlowError: nobody has begun to answer.
        """
        ...


class ChatHandler:
    """Answers `/v1/chat/completions`, `/v1/messages` and `/v1/responses`.

    Args:
        intake: reads requests.
        contexts: adds what a session knows.
        desk: answers them.
        once: carries requests with an idempotency key out once.
        pulse: keeps silent streams alive.
    """

    def __init__(
        self, intake: Intake, contexts: Contexts, desk: Desk, once: Once, pulse: Pulse
    ) -> None:
        self._intake = intake
        self._contexts = contexts
        self._desk = desk
        self._once = once
        self._pulse = pulse

    async def __call__(self, visit: Visit) -> None:
        """Answer one request."""
        request = await self._contexts.add(visit, self._intake.read(visit))
        visit.notes["requested"] = request.model
        assert visit.route.wire is not None  # noqa: S101 - checked by the intake
        dialect = translator(visit.route.wire)
        if request.is_stream:
            await self._stream(visit, request, dialect)
        else:
            await self._whole(visit, request, dialect)

    async def _whole(self, visit: Visit, request: ChatRequest, dialect: Translator) -> None:
        collector = Collector()
        found = await self._find(visit, request)
        if isinstance(found, Kept):
            replay(visit, found, [_JSON])
            return
        async with found as answer:
            async for event in answer:
                collector.add(event)
            facts = answer.ended()
        body = dialect.encode_response(collector.response(), request, facts.annotations())
        visit.exchange.respond(
            200, body, [_JSON, *ids_of(visit.request_id), *visit.headers, *facts.headers()]
        )
        _note(visit, facts)

    async def _stream(self, visit: Visit, request: ChatRequest, dialect: Translator) -> None:
        exchange = visit.exchange
        stream = LiveStream(
            exchange, dialect.name, [*_STREAM, *ids_of(visit.request_id), *visit.headers]
        )
        encoder = dialect.encoder(request)
        self._pulse.streams.add(stream)
        try:
            found = await self._find(visit, request)
            if isinstance(found, Kept):
                replay(visit, found, list(_STREAM if found.status == 200 else (_JSON,)))
                return
            async with found as answer:
                await self._send(visit, stream, answer, encoder)
            exchange.finish()
        except DevFlowError as error:
            if not exchange.is_started:
                raise
            visit.notes["error"] = error.code
            _end_with(visit, encoder, error)
        except asyncio.CancelledError:
            if exchange.is_draining and exchange.is_started:
                _end_with(visit, encoder, Overloaded("The gateway is going down. Ask again."))
            raise
        finally:
            self._pulse.streams.discard(stream)

    async def _find(
        self, visit: Visit, request: ChatRequest
    ) -> Kept | AbstractAsyncContextManager[Answer]:
        """The answer to come, or the reply that this idempotency key was given before."""
        key = visit.exchange.request.headers.get("idempotency-key")
        if key is None:
            return self._desk.open(visit, request)
        found = await self._once.claim(visit, key)
        return found if isinstance(found, Kept) else self._once.open(visit, request, found)

    async def _send(
        self, visit: Visit, stream: LiveStream, answer: Answer, encoder: EventEncoder
    ) -> None:
        write = visit.exchange.write
        held: Opaque | None = None
        async for event in answer:
            if isinstance(event, Started):
                stream.begin(answer.begun(event).headers())
            elif isinstance(event, Finished):
                facts = answer.ended()
                encoder.annotate(facts.annotations())
                _note(visit, facts)
            elif isinstance(event, Opaque) and event.kind == "usage":
                held = event  # until the cost is known, which is with the next event
                continue
            if held is not None:
                await write(encoder.encode(held))
                held = None
            await write(encoder.encode(event))


def _end_with(visit: Visit, encoder: EventEncoder, error: DevFlowError) -> None:
    """An error event after the reply has begun, and its end: the connection stays usable."""
    visit.exchange.write_now(encoder.encode_error(error, visit.request_id))
    visit.exchange.finish()


def _note(visit: Visit, facts: Facts) -> None:
    visit.notes.update(
        model=facts.model, attempts=facts.attempts, cost_usd=str(facts.cost_usd), cache=facts.cache
    )
