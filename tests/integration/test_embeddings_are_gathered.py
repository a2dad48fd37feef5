"""Embeddings that are asked for one by one go upstream together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Protocol

import pytest
from devflow_core.errors import DevFlowError
from devflow_core.ledger import LedgerEntry
from devflow_gateway import AsyncGateway, Embeddings
from devflow_gateway.calls import gathering
from devflow_gateway.calls.gathering import Gatherer, split_cost
from devflow_sandbox import Sandbox
from devflow_store import Store
from hypothesis import given
from hypothesis import strategies as st

MODEL = "openai/text-embedding-3-small"


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def book_of(gateway: AsyncGateway) -> Store:
    book = gateway.pipeline.book
    assert isinstance(book, Store)
    return book


def entries_of(gateway: AsyncGateway) -> list[LedgerEntry]:
    return list(book_of(gateway).entries())


async def test_those_of_one_moment_are_one_call(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    texts = [f"text number {number} " * number for number in range(1, 20)]
    one_by_one = await asyncio.gather(*(gateway.embed(one, model=MODEL) for one in texts))
    assert len(sandbox.bill()["calls"]) == 1
    together = await gateway.embed(texts, model=MODEL)
    assert tuple(one.vectors[0] for one in one_by_one) == together.vectors
    assert {one.entry.entry_id for one in one_by_one} == {one_by_one[0].entry.entry_id}
    assert sum(one.cost_usd for one in one_by_one) == one_by_one[0].entry.cost_usd > 0
    assert one_by_one[-1].cost_usd > one_by_one[0].cost_usd


async def test_what_differs_goes_apart(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    small, large, *labelled = await asyncio.gather(
        gateway.embed("a", model=MODEL, dimensions=8),
        gateway.embed("a", model=MODEL),
        gateway.embed("a", model=MODEL, project="shop"),
        gateway.embed("b", model=MODEL, project="shop", tags={"team": "web"}),
    )
    assert (len(small.vectors[0]), len(large.vectors[0])) == (8, 1536)
    assert len(sandbox.bill()["calls"]) == 4
    assert [one.entry.attribution.project for one in labelled] == ["shop", "shop"]
    await asyncio.gather(*(gateway.embed("a", model=MODEL, idempotency_key=one) for one in "ab"))
    assert len(sandbox.bill()["calls"]) == 6


async def test_an_error_reaches_every_caller(sandbox: Sandbox, gateway: AsyncGateway) -> None:
    await gateway.refresh_catalogue()  # before the faults, which would meet it too
    sandbox.set_faults({"faults": [{"then": {"kind": "status", "status": 400}}]})
    found = await asyncio.gather(
        *(gateway.embed(one, model=MODEL) for one in "abc"), return_exceptions=True
    )
    assert all(isinstance(one, DevFlowError) for one in found)
    assert [one.outcome for one in entries_of(gateway)] == ["failed"]


async def test_one_that_leaves_does_not_cancel_the_others(
    sandbox: Sandbox, gateway: AsyncGateway, eventually: Eventually
) -> None:
    await gateway.refresh_catalogue()  # before the faults, which would meet it too
    sandbox.set_faults({"faults": [{"then": {"kind": "slow", "head_s": 1}}]})
    tasks = [asyncio.create_task(gateway.embed(one, model=MODEL)) for one in ("a", "b", "c")]
    await asyncio.sleep(0)
    tasks[0].cancel()  # before the call: it is not paid for
    await eventually(lambda: book_of(gateway).under_way_since())
    tasks[1].cancel()  # during the call
    last: Embeddings = await tasks[2]
    assert last.cost_usd < last.entry.cost_usd
    assert tasks[0].cancelled()
    assert len(sandbox.bill()["calls"]) == 1


async def test_a_call_that_nobody_waits_for_is_cancelled(
    sandbox: Sandbox, gateway: AsyncGateway, eventually: Eventually
) -> None:
    await gateway.refresh_catalogue()  # before the faults, which would meet it too
    sandbox.set_faults({"faults": [{"then": {"kind": "slow", "head_s": 60}}]})
    tasks = [asyncio.create_task(gateway.embed(one, model=MODEL)) for one in ("a", "b")]
    await eventually(lambda: book_of(gateway).under_way_since())
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await eventually(lambda: entries_of(gateway))
    assert [one.outcome for one in entries_of(gateway)] == ["cancelled"]


async def test_a_group_has_a_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_TEXTS", 3)
    monkeypatch.setattr(gathering, "MAX_CHARS", 10)
    sent: list[list[str]] = []

    async def send(key: str, texts: list[str]) -> str:
        sent.append(texts)
        return key

    gatherer = Gatherer[str, str](send, lambda _: Decimal(1))  # type: ignore[arg-type]
    texts = ["a", "b", "c", "d", "eeeeeeeee", "f", "g"]
    shares = await asyncio.gather(*(gatherer.ask("k", one) for one in texts))
    assert sorted(sent) == [["a", "b", "c"], ["d", "eeeeeeeee"], ["f", "g"]]
    assert [one.place for one in shares] == [0, 1, 2, 0, 1, 0, 1]
    assert sum(one.cost_usd for one in shares) == 3


class Clock(Protocol):
    """The loop's clock, which stands still but for `advance`."""

    def advance(self, seconds: float) -> None: ...

    async def until(self, condition: Callable[[], object]) -> None: ...


async def test_a_group_closes_ten_milliseconds_after_its_first_text(loop_clock: Clock) -> None:
    sent: list[list[str]] = []

    async def send(key: str, texts: Sequence[str]) -> str:
        sent.append(list(texts))
        return key

    gatherer = Gatherer[str, str](send, lambda _: Decimal(1))
    asked: list[asyncio.Task[object]] = []

    async def ask(text: str) -> None:
        asked.append(asyncio.create_task(gatherer.ask("k", text)))
        for _ in range(5):  # so that the text is in its group
            await asyncio.sleep(0)

    await ask("first")
    loop_clock.advance(0.005)
    await ask("second")
    loop_clock.advance(0.0049)
    await ask("third")  # 9.9 ms after the first, whatever the second has waited
    assert sent == []
    loop_clock.advance(0.0002)
    await loop_clock.until(lambda: sent)
    assert sent == [["first", "second", "third"]]
    await ask("late")
    loop_clock.advance(0.0098)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(sent) == 1
    loop_clock.advance(0.0003)
    await loop_clock.until(lambda: len(sent) == 2)
    assert sent[1] == ["late"]
    await asyncio.gather(*asked)


@given(
    st.integers(0, 10**15).map(lambda pico: Decimal(pico).scaleb(-12)),
    st.lists(st.integers(0, 10_000), min_size=1, max_size=40),
)
def test_parts_add_up_to_the_cost(cost: Decimal, weights: list[int]) -> None:
    parts = split_cost(cost, weights)
    assert sum(parts) == cost
    assert min(parts) >= 0
    assert len(parts) == len(weights)
