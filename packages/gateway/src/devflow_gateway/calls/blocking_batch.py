"""Offers a batch to programs without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from types import TracebackType
from typing import Self

from devflow_gateway.calls.batch import Batch
from devflow_gateway.calls.batch_run import BatchResult
from devflow_gateway.loop_thread import LoopThread


class BlockingBatch:
    """The results of a batch as they come; `Batch` without an event loop.

    Args:
        thread: runs the batch.
        batch: as `AsyncGateway.batch` returns it.
    """

    def __init__(self, thread: LoopThread, batch: Batch) -> None:
        self._thread = thread
        self._batch = batch

    @property
    def spent_usd(self) -> Decimal:
        """What the batch has cost so far in USD; see `Batch.spent_usd`."""
        return self._batch.spent_usd

    @property
    def unasked(self) -> tuple[int, ...]:
        """The places of the requests that were not asked; see `Batch.unasked`."""
        return self._batch.unasked

    def __iter__(self) -> Iterator[BatchResult]:
        return self

    def __next__(self) -> BatchResult:
        result = self._thread.run(self._next())
        if result is None:
            raise StopIteration
        return result

    async def _next(self) -> BatchResult | None:
        return await anext(self._batch, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the requests under way, and wait until they are booked."""
        self._thread.run(self._batch.aclose())
