"""Offers batches: many requests at once, with one limit on their cost, resumable by a key."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from decimal import Decimal
from types import TracebackType
from typing import Self

from devflow_core.call_arguments import UsdAmount, read_usd
from devflow_core.errors import ConfigurationError, InvalidRequest
from devflow_core.ledger import Book
from devflow_store import Store

from devflow_gateway.calls.arguments import RequestAsker
from devflow_gateway.calls.batch_replies import BatchReplies
from devflow_gateway.calls.batch_run import BatchResult, BatchRun, Requests
from devflow_gateway.calls.main_provider import BaseGateway
from devflow_gateway.calls.spending import limit_spending

DEFAULT_CONCURRENCY = 8
"""The number of requests that are asked at once by default."""
MAX_CONCURRENCY = 256
"""The most requests at once; keys and models have limits of their own below that."""
MAX_KEY_CHARS = 128
"""The most characters of a batch's idempotency key."""


class Batch:
    """The results of a batch as they come; use `async with` where you may stop early.

    Leaving the block cancels the requests under way, and waits until they are booked.

    Args:
        gateway: asks the models; it is not closed here.
        requests: what is asked; read as places become free, or at once if there is a key.
        bind: returns an asker for a gateway: for this one, or its view that keeps the limit.
        concurrency: how many requests are asked at once, 1 to 256.
        max_cost_usd: the most that all of them may cost together, in USD; None: no limit.
        key: the same in every run of a batch that is to go on after a crash, up to 128 characters;
            None: nothing is kept.

    Raises:
        InvalidRequest: the concurrency, the limit or the length of the key is out of range.
        ConfigurationError: there is a limit or a key and the gateway has not been entered, or there
            is a key and its ledger is not durable.
    """

    def __init__(
        self,
        gateway: BaseGateway,
        requests: Requests,
        bind: Callable[[BaseGateway], RequestAsker],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        max_cost_usd: UsdAmount | None = None,
        key: str | None = None,
    ) -> None:
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise InvalidRequest(f"concurrency: send a number from 1 to {MAX_CONCURRENCY}.")
        if key is not None and not 1 <= len(key) <= MAX_KEY_CHARS:
            raise InvalidRequest(f"idempotency_key: send 1 to {MAX_KEY_CHARS} characters.")
        kept = None if key is None else BatchReplies(_durable(gateway.pipeline.book))
        limit = None
        if max_cost_usd is not None:
            gateway, limit = limit_spending(gateway, read_usd(max_cost_usd, "max_cost_usd"))
        self._run = BatchRun(
            gateway=gateway,
            requests=requests,
            ask=bind(gateway).ask,
            concurrency=concurrency,
            limit=limit,
            kept=kept,
            key=key or "",
        )
        # the run does not hold it: a loop that is left early then ends it, as no one else refers
        self._results: AsyncGenerator[BatchResult] = self._run.results()

    @property
    def spent_usd(self) -> Decimal:
        """What the batch has cost so far in USD, earlier runs under its key included.

        Without a limit, requests that failed in this run are left out, and so are the replies that
        repairs have replaced.
        """
        return self._run.spent_usd if self._run.limit is None else self._run.limit.spent_usd

    @property
    def unasked(self) -> tuple[int, ...]:
        """The places, from 0, of requests not asked because of what they may cost; ascending.

        Each of them has a result with the error, too.
        """
        return tuple(sorted(self._run.unasked))

    def __aiter__(self) -> AsyncGenerator[BatchResult]:
        return self._results

    async def __anext__(self) -> BatchResult:
        return await anext(self._results)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the requests under way, and wait until they are booked."""
        await self._results.aclose()


def _durable(book: Book) -> Store:
    if not isinstance(book, Store):
        raise ConfigurationError(
            "idempotency_key: the replies are kept in the durable ledger, and this gateway's is in "
            "memory. Open it with the ledger of its settings, or leave the key out."
        )
    return book
