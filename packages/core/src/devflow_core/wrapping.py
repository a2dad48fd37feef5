"""Provides the base of all wrappers around a call; it leaves the stream that it has entered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType

from devflow_core.events import Event
from devflow_core.ports import EventStream


class WrappedCall:
    """The base of an `EventStream` around another one; a subclass decides how to enter it.

    The subclass implements `__aenter__`, which ends with `return await self._enter(inner)`. The
    inner stream is left together with the wrapper.
    """

    __slots__ = ("_inner",)

    def __init__(self) -> None:
        self._inner: EventStream | None = None

    async def _enter(self, inner: EventStream) -> AsyncIterator[Event]:
        """Enter `inner` and keep it for leaving; one that fails on entry is not kept."""
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
