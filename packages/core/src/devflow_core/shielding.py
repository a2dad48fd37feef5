"""Lets work that must not stop half-way run to its end in a task that is being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end, then raise a cancellation that came meanwhile; return its result.

    A cancellation may come any number of times: a cancel scope of anyio repeats it at every step
    until its block is left.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; the work is done.
    """
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError as error:
            if running.cancelled():
                raise
            cancelled = error
    result = running.result()
    if cancelled is not None:
        raise cancelled
    return result
