"""What wakes all tasks that wait for the next change of something."""

from __future__ import annotations

import asyncio


class Signal:
    """Any number of waiters; each `notify` wakes those that wait at that moment."""

    def __init__(self) -> None:
        self._changed: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Something has changed."""
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    async def wait(self) -> None:
        """Until the next change; a waiter that is cancelled does not disturb the others."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)
