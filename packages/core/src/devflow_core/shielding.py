"""Lets a piece of work end although the task that waits for it is being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finish_despite_cancel(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work; if the task was cancelled meanwhile, raise that afterwards.

    The work is never cancelled: neither by `Task.cancel` nor by a cancel scope of anyio, which
    cancels again and again while its task waits.

    Raises:
        asyncio.CancelledError: the waiting task was cancelled; the work has ended by then, and its
            error, if any, is the cause.
    """
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: BLE001 - raised below, by `result`
            break
    if cancelled is not None:
        raise cancelled from running.exception()
    return running.result()
