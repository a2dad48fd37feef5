"""The innermost wrapper of a call: durable before bytes leave, counted until its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from devflow_core.events import Event
from devflow_core.ports import Call, EventStream, OpenAttempt, Upstream


class Metered:
    """The innermost wrapper: each call has a row before bytes leave, and exactly one end."""

    def __init__(self, inner: Upstream) -> None:
        self._inner = inner

    def open(self, call: Call, /) -> EventStream:
        """As `Upstream.open`, also raising what `Book.begin` raises."""
        return self._open(call)

    @asynccontextmanager
    async def _open(self, call: Call) -> AsyncGenerator[AsyncIterator[Event]]:
        attempt = await call.journal.begin(call)
        error: BaseException | None = None
        try:
            async with self._inner.open(call) as events:
                yield _observe_events(events, attempt)
        except BaseException as caught:
            error = caught
            raise
        finally:
            attempt.end(error)


async def _observe_events(
    events: AsyncIterator[Event], attempt: OpenAttempt
) -> AsyncIterator[Event]:
    async for event in events:
        attempt.observe(event)
        yield event
