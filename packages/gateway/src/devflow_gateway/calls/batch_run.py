"""Carries a batch out: workers take requests from one source and share one limit on the cost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from devflow_core.errors import BudgetExceeded, DevFlowError, InvalidRequest
from devflow_core.pipeline import Completion
from devflow_core.request import ChatRequest
from devflow_core.shielding import finish_despite_cancel

from devflow_gateway.calls.batch_replies import (
    MAX_WAIT_S,
    BatchReplies,
    Earlier,
    EntryIds,
    fingerprint,
)
from devflow_gateway.calls.main_provider import BaseGateway
from devflow_gateway.calls.spending import SpendingLimit, is_refused_for_cost

_T = TypeVar("_T")
Requests = Iterable[ChatRequest] | AsyncIterable[ChatRequest]
Ask = Callable[[ChatRequest, EntryIds | None], Awaitable[Completion]]
"""Asks a request and its repairs, and books them under the ids; None: under new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of one request of a batch: a reply or an error."""

    index: int
    """The request's place in the batch, from 0; results come in the order in which they end."""
    request: ChatRequest
    completion: Completion | None = None
    """The reply; None if there is an error."""
    error: DevFlowError | None = None
    """Why there is no reply; None if there is one."""
    is_repeated: bool = False
    """Whether the reply is that of another run of the batch, so that this one asked nothing."""

    @property
    def was_asked(self) -> bool:
        """Whether this run has called a model for the request."""
        if self.completion is not None:
            return not self.is_repeated
        return self.error is not None and self.error.attempts > 0

    def unwrap(self) -> Completion:
        """Return the reply.

        Raises:
            DevFlowError: there is none; the error says why.
        """
        if self.completion is None:
            raise self.error or InvalidRequest("This request of the batch was not asked.")
        return self.completion


@dataclass(frozen=True, slots=True)
class _Item:
    index: int
    request: ChatRequest
    key: str = ""
    """The idempotency key of this request; empty if the batch has none."""
    counted_usd: Decimal = Decimal(0)
    """What of the cost of other runs has been counted, in USD."""


@dataclass(kw_only=True)
class BatchRun:
    """One run of a batch."""

    gateway: BaseGateway
    requests: Requests
    ask: Ask
    concurrency: int
    limit: SpendingLimit | None
    """The limit on the cost of all requests; None: there is none."""
    kept: BatchReplies | None
    """Where replies are kept for another run; None: nowhere."""
    key: str
    """The idempotency key of the batch; empty without."""
    unasked: list[int] = field(default_factory=list[int])
    """The places of the requests that were not asked because of what they may cost."""
    spent_usd: Decimal = Decimal(0)
    """The cost of this run's replies and of other runs, in USD."""
    is_tight: bool = False
    """Whether a request was refused for its cost; under a limit, later ones are checked first."""

    async def results(self) -> AsyncGenerator[BatchResult]:
        """Yield the results as requests end.

        Closing the generator cancels the requests under way, and waits until they are booked.
        """
        items = self._items()
        if self.kept is not None:
            repeated, new = await self._sort_out([one async for one in items], self.kept)
            items = _each(new)
            for one in repeated:
                yield one
        asked: set[asyncio.Task[BatchResult]] = set()
        fetch: asyncio.Task[_Item | None] | None = None
        is_open = True
        try:
            while is_open or asked:
                if is_open and fetch is None and len(asked) < self.concurrency:
                    fetch = asyncio.create_task(self._next(items))
                waited = asked if fetch is None else {*asked, fetch}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if fetch is not None and fetch.done():
                    item, fetch = fetch.result(), None
                    is_open = item is not None
                    if item is not None:
                        asked.add(asyncio.create_task(self._result_of(item)))
                for ended in [one for one in asked if one.done()]:
                    asked.discard(ended)
                    yield ended.result()
        finally:
            await finish_despite_cancel(_end_all([*asked, *([fetch] if fetch else [])]))
            await items.aclose()

    async def _next(self, items: AsyncGenerator[_Item]) -> _Item | None:
        if self.limit is not None:
            await self.limit.wait_for_room()
        return await anext(items, None)

    async def _items(self) -> AsyncGenerator[_Item]:
        given, seen, index = self.requests, Counter[str](), 0
        requests = given if isinstance(given, AsyncIterable) else _each(given)
        async for request in requests:
            key = ""
            if self.kept is not None:
                # by content, so that requests may be added and moved between two runs
                content = fingerprint(request)
                seen[content] += 1
                key = f"{self.key}/{content}/{seen[content]}"
            yield _Item(index, request, key)
            index += 1

    async def _sort_out(
        self, items: list[_Item], kept: BatchReplies
    ) -> tuple[list[BatchResult], list[_Item]]:
        """Return earlier runs' replies and what is left to ask; count what those runs have cost."""
        repeated: list[BatchResult] = []
        new: list[_Item] = []
        for item in items:
            earlier = await kept.find(item.key)
            self._count(earlier.spent_usd)
            if earlier.completion is None:
                new.append(replace(item, counted_usd=earlier.spent_usd))
                continue
            result = BatchResult(
                index=item.index,
                request=item.request,
                completion=earlier.completion,
                is_repeated=True,
            )
            repeated.append(result)
        return repeated, new

    def _count(self, usd: Decimal) -> None:
        """Count what other runs have spent."""
        self.spent_usd += usd
        if self.limit is not None:
            self.limit.add(usd)

    async def _result_of(self, item: _Item) -> BatchResult:
        try:
            earlier = await self._find(item)
            if earlier is not None and earlier.completion is not None:
                return BatchResult(
                    index=item.index,
                    request=item.request,
                    completion=earlier.completion,
                    is_repeated=True,
                )
            completion = await self._answer(item, earlier.key if earlier else "")
        except DevFlowError as error:
            if not error.attempts and is_refused_for_cost(error):
                self.is_tight = True
                self.unasked.append(item.index)
            return BatchResult(index=item.index, request=item.request, error=error)
        self.spent_usd += completion.cost_usd
        return BatchResult(index=item.index, request=item.request, completion=completion)

    async def _find(self, item: _Item) -> Earlier | None:
        """Wait for another run that asks the request now, and count what it has cost.

        None if no replies are kept.
        """
        if self.kept is None:
            return None
        earlier = await self.kept.find(item.key, wait_s=MAX_WAIT_S)
        self._count(earlier.spent_usd - item.counted_usd)
        return earlier

    async def _answer(self, item: _Item, numbered_key: str) -> Completion:
        request = item.request
        if self.limit is not None:
            request = self.limit.bound(request)
            if self.is_tight:
                self._check_fits(request)
        if self.kept is None:
            return await self.ask(request, None)
        return await self.kept.ask(item.request, numbered_key, lambda ids: self.ask(request, ids))

    def _check_fits(self, request: ChatRequest) -> None:
        """Refuse a request that no longer fits, without a row in the ledger.

        Raises:
            BudgetExceeded: every model may cost more than is left.
        """
        try:
            self.gateway.explain(request)
        except BudgetExceeded:
            raise
        except DevFlowError:
            return  # the request itself will say so, with a row in the ledger


async def _each(items: Iterable[_T]) -> AsyncGenerator[_T]:
    for one in items:
        yield one


async def _end_all(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
