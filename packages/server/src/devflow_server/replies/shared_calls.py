"""Shares one upstream call among any number of readers; each gets every event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Self

from devflow_core.errors import DevFlowError, PossiblyAccepted
from devflow_core.events import Event, Started
from devflow_core.pipeline import Pipeline
from devflow_core.request import ChatRequest

from devflow_server.replies.reply import LiveReply, ReplyMetadata
from devflow_server.replies.signal import Signal


class SharedCall:
    """A call under way in its own task, so that a reader who leaves does not end it for others."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.error: BaseException | None = None
        """The error that the call failed with; None while it runs and after a complete reply."""
        self.is_finished = False
        self.reply: LiveReply | None = None
        """The pipeline's reply, once it has begun."""
        self.task: asyncio.Task[None] | None = None
        self._readers = 0
        self._changes = Signal()

    @property
    def is_abandoned(self) -> bool:
        """Whether its last reader has left, and the call was cancelled."""
        return self.task is not None and self.task.cancelling() > 0

    def add(self, event: Event) -> None:
        """Add the next event."""
        self.events.append(event)
        self._changes.notify()

    def finish(self, error: BaseException | None) -> None:
        """End the call, with the error that broke it off; None if it is complete."""
        self.error = error
        self.is_finished = True
        self._changes.notify()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncIterator[Event]]:
        """Yield an iterator over all events from the first on; entered once there is one.

        When the last reader leaves, the call is cancelled.

        Raises:
            DevFlowError: the call failed before its first event or, from the iterator, after it.
        """
        self._readers += 1
        try:
            while not self.events and not self.is_finished:
                await self._changes.wait()
            if not self.events and self.error is not None:
                raise self.error
            yield self._iterate_events()
        finally:
            self._readers -= 1
            if not self._readers and self.task is not None:
                self.task.cancel()

    async def _iterate_events(self) -> AsyncIterator[Event]:
        seen = 0
        while True:
            while seen < len(self.events):
                yield self.events[seen]
                seen += 1
            if self.is_finished:
                break
            await self._changes.wait()
        if self.error is not None:
            raise self.error


class SharedReply:
    """A shared call as the reply of one reader.

    Args:
        call: the shared call.
        events: as from `SharedCall.read`.
        is_own: whether this reader's request is the one that was sent and is paid for.
    """

    def __init__(self, call: SharedCall, events: AsyncIterator[Event], *, is_own: bool) -> None:
        self._call = call
        self._events = events
        self._is_own = is_own

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    def start_metadata(self, started: Started) -> ReplyMetadata:
        return self._adjust_metadata(self._live_reply().start_metadata(started))

    def final_metadata(self) -> ReplyMetadata:
        return self._adjust_metadata(self._live_reply().final_metadata())

    def _adjust_metadata(self, metadata: ReplyMetadata) -> ReplyMetadata:
        if self._is_own:
            return metadata
        return replace(metadata, attempts=0, cache="hit", cost_usd=Decimal(0))

    def _live_reply(self) -> LiveReply:
        if self._call.reply is None:
            raise RuntimeError("the call has no events")
        return self._call.reply


class SharedCalls:
    """Starts shared calls and owns their tasks; on exit it cancels those still under way.

    Args:
        pipeline: carries requests out.
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

    def start(self, request: ChatRequest, entry_id: str, *, on_end: OnEnd) -> SharedCall:
        """Start a call for a request; `on_end` is called with it at its end, successful or not."""
        call = SharedCall()
        task = asyncio.get_running_loop().create_task(self._run(call, request, entry_id, on_end))
        call.task = task
        self._tasks.add(task)
        task.add_done_callback(self._make_done_callback(call))
        return call

    def _make_done_callback(self, call: SharedCall) -> Callable[[asyncio.Task[None]], None]:
        def on_done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            fault = None if task.cancelled() else task.exception()
            if not call.is_finished:
                call.finish(fault or PossiblyAccepted("The call was given up. Ask again."))

        return on_done

    async def _run(
        self, call: SharedCall, request: ChatRequest, entry_id: str, on_end: OnEnd
    ) -> None:
        try:
            async with self._pipeline.stream(request, entry_id=entry_id) as reply:
                call.reply = LiveReply(reply, "miss")
                async for event in reply:
                    call.add(event)
        except DevFlowError as error:
            call.finish(error)
        else:
            call.finish(None)
        finally:
            # after `finish`, since the callback looks at how the call has ended
            on_end(call)


OnEnd = Callable[[SharedCall], None]
"""Called once with a call that has ended, successful or not."""
