"""Where answers come from: the pipeline, by way of what is already known or under way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from devflow_core.events import Event, Started
from devflow_core.ledger import Book, Ledger, LedgerEntry
from devflow_core.pipeline import Pipeline
from devflow_core.request import ChatRequest

from devflow_server.replies.reply import Answer, Facts, LiveAnswer
from devflow_server.replies.response_cache import Kept, Memo, key_of, may_repeat
from devflow_server.replies.shared_calls import Flight, FlightAnswer, Flights
from devflow_server.routes import Visit


class PipelineDesk:
    """Asks the pipeline; exact repetitions share a call under way or get the reply kept.

    Args:
        pipeline: who is asked.
        flights: calls that several requests may share.
        memo: replies that may be repeated; None repeats nothing.
        book: where a repetition leaves its entry, as every request does.
        ledger: fed that entry.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        flights: Flights,
        memo: Memo | None,
        book: Book,
        ledger: Ledger,
    ) -> None:
        self._pipeline = pipeline
        self._flights = flights
        self._memo = memo
        self._book = book
        self._ledger = ledger
        self._under_way: dict[bytes, Flight] = {}

    def open(self, visit: Visit, request: ChatRequest, /) -> AbstractAsyncContextManager[Answer]:
        """As `Desk.open`."""
        if self._memo is None or not may_repeat(request, visit.exchange.request.headers):
            return self._asked(visit, request)
        return self._shared(visit, request, self._memo)

    @asynccontextmanager
    async def _asked(self, visit: Visit, request: ChatRequest) -> AsyncGenerator[Answer]:
        async with self._pipeline.stream(request, entry_id=visit.request_id) as reply:
            yield LiveAnswer(reply)

    @asynccontextmanager
    async def _shared(
        self, visit: Visit, request: ChatRequest, memo: Memo
    ) -> AsyncGenerator[Answer]:
        key = key_of(request, visit.caller.name)
        kept = memo.get(key)
        if kept is not None:
            await self._book_repetition(visit, request)
            yield Repetition(kept, visit.request_id)
            return
        flight = self._under_way.get(key)
        is_own = flight is None or flight.is_over or flight.is_abandoned
        if flight is None or is_own:
            flight = self._flights.start(request, visit.request_id, on_end=self._keep(key, memo))
            self._under_way[key] = flight
        async with flight.read() as events:
            if not is_own:
                await self._book_repetition(visit, request)
            yield FlightAnswer(flight, events, is_own=is_own)

    def _keep(self, key: bytes, memo: Memo):
        async def keep(flight: Flight) -> None:
            self._under_way.pop(key, None)
            if flight.error is None and flight.answer is not None:
                memo.put(key, tuple(flight.events), flight.answer.ended())

        return keep

    async def _book_repetition(self, visit: Visit, request: ChatRequest) -> None:
        """The entry of a request that cost nothing; durable before it is answered."""
        entry = LedgerEntry(
            entry_id=visit.request_id,
            started_at=datetime.now(UTC),
            requested_model=request.model,
            outcome="succeeded",
            attempts=(),
            task_type="",
            complexity="",
            attribution=request.attribution,
            is_cache_hit=True,
        )
        await self._book.close(entry)
        self._ledger.record(entry)


class Repetition:
    """A reply that was kept, as an answer to another request."""

    def __init__(self, kept: Kept, request_id: str) -> None:
        self._kept = kept
        self._facts = replace(
            kept.facts, request_id=request_id, attempts=0, cache="hit", cost_usd=Decimal(0)
        )

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self._kept.events:
            yield event

    def begun(self, started: Started) -> Facts:
        """As `Answer.begun`; `started` tells nothing that is not kept."""
        return self._facts

    def ended(self) -> Facts:
        """As `Answer.ended`."""
        return self._facts
