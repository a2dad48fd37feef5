"""One call upstream, any number of readers: each gets every event, whenever it joins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Self

from devflow_core.errors import DevFlowError, PossiblyAccepted
from devflow_core.events import Event, Started
from devflow_core.pipeline import Pipeline
from devflow_core.request import ChatRequest

from devflow_server.replies.reply import Facts, LiveAnswer


class Flight:
    """A call under way in a task of its own, so that no reader's leaving breaks it for others.

    Args:
        is_kept: whether it goes on when its last reader has gone, since its outcome is promised.
    """

    def __init__(self, *, is_kept: bool) -> None:
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self.is_over = False
        self.answer: LiveAnswer | None = None
        self.task: asyncio.Task[None] | None = None
        self._is_kept = is_kept
        self._readers = 0
        self._changed: asyncio.Future[None] | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether its last reader has gone, and the call with it."""
        return self.task is not None and self.task.cancelling() > 0

    def add(self, event: Event) -> None:
        """The next event has come."""
        self.events.append(event)
        self._wake()

    def end(self, error: BaseException | None) -> None:
        """It is over, whole or not."""
        self.error = error
        self.is_over = True
        self._wake()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncIterator[Event]]:
        """All events from the first on; entered when there is one.

        Raises:
            DevFlowError: nobody began to answer, or, from the iterator, the reply broke off.
        """
        self._readers += 1
        try:
            while not self.events and not self.is_over:
                await self._change()
            if not self.events and self.error is not None:
                raise self.error
            yield self._from_the_first()
        finally:
            self._readers -= 1
            if not self._readers and not self._is_kept and self.task is not None:
                self.task.cancel()

    async def _from_the_first(self) -> AsyncIterator[Event]:
        seen = 0
        while True:
            while seen < len(self.events):
                yield self.events[seen]
                seen += 1
            if self.is_over:
                break
            await self._change()
        if self.error is not None:
            raise self.error

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None


class FlightAnswer:
    """A flight as an answer.

    Args:
        flight: the call.
        events: as from `Flight.read`.
        is_own: whether this reader's request is the one that is asked and paid for.
    """

    def __init__(self, flight: Flight, events: AsyncIterator[Event], *, is_own: bool) -> None:
        self._flight = flight
        self._events = events
        self._is_own = is_own

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    def begun(self, started: Started) -> Facts:
        """As `Answer.begun`."""
        return self._as_mine(self._live().begun(started))

    def ended(self) -> Facts:
        """As `Answer.ended`."""
        return self._as_mine(self._live().ended())

    def _as_mine(self, facts: Facts) -> Facts:
        if self._is_own:
            return facts
        return replace(facts, attempts=0, cache="hit", cost_usd=Decimal(0))

    def _live(self) -> LiveAnswer:
        if self._flight.answer is None:
            raise RuntimeError("the flight has no events")
        return self._flight.answer


class Flights:
    """Starts flights and owns their tasks; left, it cancels what is still under way.

    Args:
        pipeline: who is asked.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(
        self, request: ChatRequest, entry_id: str, *, is_kept: bool = False, on_end: OnEnd
    ) -> Flight:
        """A flight for a request; `on_end` is awaited when it is over, unless it is cancelled."""
        flight = Flight(is_kept=is_kept)
        task = asyncio.get_running_loop().create_task(self._fly(flight, request, entry_id, on_end))
        flight.task = task
        self._tasks.add(task)
        task.add_done_callback(self._landed(flight))
        return flight

    def _landed(self, flight: Flight) -> Callable[[asyncio.Task[None]], None]:
        def landed(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            fault = None if task.cancelled() else task.exception()
            if not flight.is_over:
                flight.end(fault or PossiblyAccepted("The call was given up. Ask again."))

        return landed

    async def _fly(
        self, flight: Flight, request: ChatRequest, entry_id: str, on_end: OnEnd
    ) -> None:
        try:
            async with self._pipeline.stream(request, entry_id=entry_id) as reply:
                flight.answer = LiveAnswer(reply, "miss")
                async for event in reply:
                    flight.add(event)
        except DevFlowError as error:
            flight.end(error)
        else:
            flight.end(None)
        await on_end(flight)


OnEnd = Callable[[Flight], Awaitable[None]]
