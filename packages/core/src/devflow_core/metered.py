"""Books each call before it is sent, and holds its reply back until there is content."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from devflow_core.events import Event, has_content
from devflow_core.ports import Call, EventStream, OpenAttempt, Upstream

MAX_OPENING_EVENTS = 1_000
"""The number of events without content after which a reply is handed on regardless."""


class Metered:
    """The innermost wrapper: each call is booked before it is sent, and ends exactly once.

    The context is entered at the first event with content. A failure before that has shown nothing
    to the client, so it is raised on entry, where a policy may retry it; it is booked like any
    call.
    """

    def __init__(self, inner: Upstream) -> None:
        self._inner = inner

    def open(self, call: Call, /) -> EventStream:
        """Open the call with its attempt booked.

        Raises:
            BudgetExceeded, UnknownPrice, StoreError: it could not be booked, so nothing was sent.
            DevFlowError: on entry, if the candidate failed before any content; from the iterator,
                if the reply broke off.
        """
        return self._open(call)

    @asynccontextmanager
    async def _open(self, call: Call) -> AsyncGenerator[AsyncIterator[Event]]:
        attempt = await call.journal.begin(call)
        error: BaseException | None = None
        try:
            async with self._inner.open(call) as events:
                opening = await _read_opening(events, attempt)
                yield _observe_events(opening, events, attempt)
        except BaseException as caught:
            error = caught
            raise
        finally:
            attempt.end(error)


async def _read_opening(events: AsyncIterator[Event], attempt: OpenAttempt) -> list[Event]:
    """Return the events up to the first with content, at most `MAX_OPENING_EVENTS`."""
    opening: list[Event] = []
    async for event in events:
        attempt.observe(event)
        opening.append(event)
        if has_content(event) or len(opening) >= MAX_OPENING_EVENTS:
            break
    return opening


async def _observe_events(
    opening: list[Event], events: AsyncIterator[Event], attempt: OpenAttempt
) -> AsyncIterator[Event]:
    for event in opening:
        yield event
    async for event in events:
        attempt.observe(event)
        yield event
