"""Holds one limit on the cost of several requests, however many of them run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

from devflow_core.errors import AllCandidatesFailed, BudgetExceeded, DevFlowError, UnknownPrice
from devflow_core.ledger import Attempt, AttemptStart, Book, LedgerEntry
from devflow_core.request import ChatRequest
from devflow_core.scope import unknown_price_message
from devflow_core.usage import from_pico, to_pico, usd_text

from devflow_gateway.calls.main_provider import BaseGateway

MAX_WAIT_S = 300.0
"""The most seconds that a call waits for others to release what they hold of the limit."""

AnyGateway = TypeVar("AnyGateway", bound=BaseGateway)


class SpendingLimit(Book):
    """A book that lets the calls of several requests spend no more than one amount together.

    Before a call is sent, its worst case is held here as well as in the budgets of the book behind
    it, and afterwards what it has cost. A call that does not fit waits, at most `MAX_WAIT_S`, while
    others hold an amount that they may release.

    Args:
        book: where attempts and entries become durable.
        limit_usd: the most that all calls may cost together, in USD.
    """

    def __init__(self, book: Book, limit_usd: Decimal) -> None:
        self._book = book
        self._limit_pico = to_pico(limit_usd)
        self._spent_pico = 0
        self._held: dict[str, int] = {}
        self._waiting = 0
        self._change = asyncio.Event()

    @property
    def spent_usd(self) -> Decimal:
        """The cost of ended calls in USD, with the amounts given to `add`."""
        return from_pico(self._spent_pico)

    @property
    def left_usd(self) -> Decimal:
        """The most that calls in flight and new ones may cost together, in USD; never below 0."""
        return from_pico(max(0, self._limit_pico - self._spent_pico))

    def bound(self, request: ChatRequest) -> ChatRequest:
        """Return the request with a ceiling of what is left, so that no dearer model is chosen."""
        own, left_usd = request.max_cost_usd, self.left_usd
        return replace(request, max_cost_usd=left_usd if own is None else min(own, left_usd))

    def add(self, usd: Decimal) -> None:
        """Count an amount that was spent elsewhere, such as by an earlier run."""
        self._spent_pico += to_pico(usd)

    async def wait_for_room(self) -> None:
        """Wait while any call waits for what others hold: a new one would only wait behind it."""
        while self._waiting:
            await self._change.wait()

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        self._settle(ended)
        await self._hold(start)
        try:
            await self._book.begin(start, ended=ended)
        except BaseException:
            self._release(start.attempt_id, 0)
            raise

    async def close(self, entry: LedgerEntry, /) -> None:
        self._settle(entry.attempts)
        await self._book.close(entry)

    async def _hold(self, start: AttemptStart) -> None:
        if start.reserved_usd is None:
            reason = start.unpriced_reason or f"the price of {start.model} is not known"
            raise UnknownPrice(unknown_price_message(reason), model=start.model)
        pico = to_pico(start.reserved_usd)
        loop = asyncio.get_running_loop()
        end_s = loop.time() + MAX_WAIT_S
        while self._spent_pico + sum(self._held.values()) + pico > self._limit_pico:
            can_wait = self._held and self._spent_pico + pico <= self._limit_pico
            if not can_wait or not await self._wait_for_change(end_s - loop.time()):
                raise self._refusal(start, pico)
        self._held[start.attempt_id] = pico

    async def _wait_for_change(self, timeout_s: float) -> bool:
        """Wait until a call has ended; return False if none ends within the time-out."""
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._change.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._wake()
        return True

    def _refusal(self, start: AttemptStart, pico: int) -> BudgetExceeded:
        left_pico = max(0, self._limit_pico - self._spent_pico - sum(self._held.values()))
        return BudgetExceeded(
            f"{start.model} may cost up to {usd_text(from_pico(pico))} USD, and "
            f"{usd_text(from_pico(left_pico))} of {usd_text(from_pico(self._limit_pico))} USD are "
            "left for these requests together. Raise max_cost_usd, or set a smaller "
            "max_output_tokens.",
            model=start.model,
        )

    def _settle(self, ended: Iterable[Attempt]) -> None:
        for attempt in ended:
            self._release(attempt.attempt_id, to_pico(attempt.cost_usd))

    def _release(self, attempt_id: str, cost_pico: int) -> None:
        """Put what a call has cost in the place of what it held; do nothing the second time."""
        if self._held.pop(attempt_id, None) is not None:
            self._spent_pico += cost_pico
            self._wake()

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


def limit_spending(gateway: AnyGateway, limit_usd: Decimal) -> tuple[AnyGateway, SpendingLimit]:
    """Return a view of a gateway whose calls share a limit, and the limit.

    The view shares everything else with the gateway, which is not changed and closes everything.

    Raises:
        ConfigurationError: the gateway has not been entered.
    """
    limit = SpendingLimit(gateway.pipeline.book, limit_usd)
    return gateway.with_book(limit), limit


def is_refused_for_cost(error: DevFlowError) -> bool:
    """Return whether a request was not sent because of what it may cost."""
    errors = error.errors if isinstance(error, AllCandidatesFailed) else (error,)
    return all(isinstance(one, BudgetExceeded) for one in errors)
