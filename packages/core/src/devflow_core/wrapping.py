"""What every wrapper around a call does alike: it holds what it has entered, and leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType

from devflow_core.events import Event
from devflow_core.ports import EventStream


class WrappedCall:
    """The base of an `EventStream` around another one; a subclass says how it is entered.

    `__aenter__` is the subclass's own and ends with `return await self._enter(inner)`. What was
    entered is left with the wrapper.
    """

    __slots__ = ("_inner",)

    def __init__(self) -> None:
        self._inner: EventStream | None = None

    async def _enter(self, inner: EventStream) -> AsyncIterator[Event]:
        """Enter `inner` and hold it; one that fails on entry is not held."""
        events = await inner.__aenter__()
        self._inner = inner
        return events

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._inner is not None  # noqa: S101 - it was entered
        return await self._inner.__aexit__(kind, error, trace)
