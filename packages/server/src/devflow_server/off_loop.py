"""Runs work on large bodies in threads, so that other streams are not held up meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from devflow_server.http.limits import MAX_PARSED_ON_LOOP_BYTES, MAX_READER_THREADS

_threads = ThreadPoolExecutor(MAX_READER_THREADS, thread_name_prefix="devflow-body")
"""The threads, started when first needed; their work is bounded by the limits."""
T = TypeVar("T")


async def run_by_size(size_bytes: int, work: Callable[[], T]) -> T:
    """Return what the work returns or raises; for a small body it runs at once, without a thread.

    Raises:
        MemoryError: no thread could be started.
    """
    if size_bytes <= MAX_PARSED_ON_LOOP_BYTES:
        return work()
    try:
        doing = _threads.submit(work)
    except RuntimeError as error:  # the system gives no more threads
        raise MemoryError from error
    return await asyncio.wrap_future(doing)
