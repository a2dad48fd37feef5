"""Wakes all tasks that wait for a change."""

from __future__ import annotations

import asyncio


class Signal:
    """An event without state: each `notify` wakes the tasks waiting at that moment."""

    def __init__(self) -> None:
        self._changed: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Wake all waiting tasks."""
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    async def wait(self) -> None:
        """Wait for the next change; cancelling one waiter does not disturb the others."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)
