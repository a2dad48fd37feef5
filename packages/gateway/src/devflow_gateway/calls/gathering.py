"""Gathers embeddings that are asked for one by one into calls for many texts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, TypeVar

from devflow_core.usage import from_pico, to_pico

WINDOW_S = 0.01
"""Seconds that the first text of a call waits for others."""
MAX_TEXTS = 256
"""The most texts of one call; OpenAI takes 2,048 (its API's description of 2026)."""
MAX_CHARS = 200_000
"""The most characters of several texts in one call, about 50,000 tokens; OpenAI takes 300,000."""

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Share(Generic[R]):
    """One caller's part of a call that was made for several."""

    result: R
    """The result of the whole call."""
    place: int
    """The place of the caller's text in it, from 0."""
    cost_usd: Decimal
    """The caller's part of the cost by the length of the text; all parts add up to the cost."""


@dataclass(slots=True)
class _Group(Generic[R]):
    callers: list[asyncio.Future[Share[R]]]
    texts: list[str] = field(default_factory=list[str])
    chars: int = 0
    is_full: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Gatherer(Generic[K, R]):
    """Puts texts with the same key that come within ten milliseconds into one call.

    Args:
        send: makes the call for texts with the same key, and may raise.
        cost_of: returns what a call has cost, in USD.
    """

    def __init__(
        self,
        send: Callable[[K, Sequence[str]], Awaitable[R]],
        cost_of: Callable[[R], Decimal],
    ) -> None:
        self._send = send
        self._cost_of = cost_of
        self._open: dict[K, _Group[R]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: K, text: str) -> Share[R]:
        """Return the caller's part of the call that its text went into.

        Args:
            key: all that texts of one call must have in common: the gateway, the model, the
                dimensions, the labels.
            text: the caller's text.

        Raises:
            DevFlowError: the call failed; every caller of the call gets the same error.
        """
        group = self._open.get(key)
        if group is not None and group.chars + len(text) > MAX_CHARS:
            self._seal(key, group)
            group = None
        if group is None:
            group = self._open[key] = _Group[R]([])
            group.task = asyncio.create_task(self._carry_out(key, group))
            self._tasks.add(group.task)
            group.task.add_done_callback(self._tasks.discard)
        caller: asyncio.Future[Share[R]] = asyncio.get_running_loop().create_future()
        group.texts.append(text)
        group.callers.append(caller)
        group.chars += len(text)
        if len(group.texts) >= MAX_TEXTS:
            self._seal(key, group)
        try:
            return await caller
        finally:
            if group.task is not None and all(one.done() for one in group.callers):
                self._seal(key, group)
                group.task.cancel()  # nobody waits for it any more, or it has ended

    def _seal(self, key: K, group: _Group[R]) -> None:
        """Let no more texts into a group, and send it."""
        if self._open.get(key) is group:
            del self._open[key]
        group.is_full.set()

    async def _carry_out(self, key: K, group: _Group[R]) -> None:
        try:
            async with asyncio.timeout(WINDOW_S):
                await group.is_full.wait()
        except TimeoutError:
            self._seal(key, group)
        # whoever has left meanwhile is not paid for
        waiting = [
            (text, caller)
            for text, caller in zip(group.texts, group.callers, strict=True)
            if not caller.done()
        ]
        try:
            result = await self._send(key, [text for text, _ in waiting])
        except Exception as error:  # noqa: BLE001 - it is raised in every caller
            for _, caller in waiting:
                if not caller.done():
                    caller.set_exception(error)
            return
        shares = split_cost(self._cost_of(result), [len(text.encode()) for text, _ in waiting])
        for place, (_, caller) in enumerate(waiting):
            if not caller.done():
                caller.set_result(Share(result, place, shares[place]))


def split_cost(cost_usd: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """Return the parts of a cost in USD by weights; they add up to it exactly.

    Args:
        cost_usd: the whole cost, to 10⁻¹² USD.
        weights: at least one; if all are 0, the parts are equal.
    """
    total = sum(weights) or len(weights)
    parts = weights if sum(weights) else [1] * len(weights)
    whole_pico, given_pico, sum_of_parts = to_pico(cost_usd), 0, 0
    shares: list[Decimal] = []
    for part in parts:
        sum_of_parts += part
        # what is due to all so far, less what they have: rounding never adds up
        due_pico = whole_pico * sum_of_parts // total
        shares.append(from_pico(due_pico - given_pico))
        given_pico = due_pico
    return shares
