"""A batch spends no more than its one limit, ends in order, and goes on after a crash."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from devflow_core import ChatRequest
from devflow_core.errors import BudgetExceeded, ConfigurationError, InvalidRequest
from devflow_core.memory import MemoryBook
from devflow_core.request import ResponseFormat
from devflow_core.settings import Settings
from devflow_gateway import AsyncGateway, open_gateway
from devflow_gateway.calls.batch import Batch
from devflow_gateway.calls.batch_run import BatchResult
from devflow_sandbox import Sandbox
from devflow_store import Store

MODEL = "openai/gpt-5-mini"
PATIENCE_S = 60.0
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def settings_of(sandbox: Sandbox, folder: Path) -> Settings:
    return Settings.load(
        {}, base_url=sandbox.base_url, api_key=sandbox.api_key, data_dir=folder / "data"
    )


def requests(count: int, *, max_output_tokens: int = 200) -> list[ChatRequest]:
    bare = [ChatRequest.from_text(f"Say {number}", model=MODEL) for number in range(count)]
    return [replace(one, max_output_tokens=max_output_tokens) for one in bare]


async def collect(batch: Batch) -> dict[int, BatchResult]:
    async with batch:
        return {one.index: one async for one in batch}


def total_of(sandbox: Sandbox) -> Decimal:
    return Decimal(str(sandbox.bill()["total_usd"]))


@pytest.mark.parametrize("concurrency", [1, 7, 32])
async def test_a_batch_never_overruns_its_budget(tmp_path: Path, concurrency: int) -> None:
    async with (
        Sandbox() as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        limit = Decimal("0.004")
        batch = gateway.batch(requests(60), concurrency=concurrency, max_cost_usd=limit)
        results = await collect(batch)
        answered = [one for one in results.values() if one.completion]
        assert sorted(results) == list(range(60))
        assert total_of(sandbox) == batch.spent_usd <= limit
        # nearly all of it was used: what is left is less than one worst case
        assert limit - batch.spent_usd < Decimal("0.0005")
        unasked = [one.index for one in results.values() if not one.was_asked]
        assert tuple(sorted(unasked)) == batch.unasked
        assert len(answered) == 60 - len(unasked)
        assert all(isinstance(results[one].error, BudgetExceeded) for one in unasked)
        book = gateway.pipeline.book
        assert isinstance(book, Store)
        # those that are known not to fit leave no row each
        assert sum(1 for _ in book.entries()) <= len(answered) + concurrency


async def test_what_others_hold_is_waited_for(tmp_path: Path) -> None:
    async with (
        Sandbox() as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        # four worst cases (0.000418 each) do not fit; what four calls cost does
        batch = gateway.batch(requests(4), concurrency=4, max_cost_usd=Decimal("0.0016"))
        results = await collect(batch)
        assert all(one.completion for one in results.values())
        assert total_of(sandbox) == batch.spent_usd


async def test_one_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    fault = {"when": {"nth": 2}, "then": {"kind": "status", "status": 400}}
    async with (
        Sandbox(faults={"faults": [fault]}) as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        results = await collect(gateway.batch(requests(5), concurrency=1))
        failed = [one for one in results.values() if one.error]
        assert [one.index for one in failed] == [1]
        assert failed[0].was_asked
        with pytest.raises(type(failed[0].error or Exception())):
            failed[0].unwrap()
        assert results[4].unwrap().text


async def test_a_dear_request_does_not_end_the_cheap_ones(tmp_path: Path) -> None:
    async with (
        Sandbox() as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        dear = replace(ChatRequest.from_text("long", model=MODEL), max_output_tokens=100_000)
        batch = gateway.batch([dear, *requests(4)], concurrency=2, max_cost_usd=Decimal("0.01"))
        results = await collect(batch)
        assert batch.unasked == (0,)
        assert all(results[number].completion for number in range(1, 5))


async def test_results_come_as_they_end_and_requests_are_read_as_needed(tmp_path: Path) -> None:
    read: list[int] = []

    async def source() -> AsyncIterator[ChatRequest]:
        for number, one in enumerate(requests(20)):
            read.append(number)
            yield one

    async with (
        Sandbox() as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
        gateway.batch(source(), concurrency=2) as batch,
    ):
        await anext(batch)
        assert len(read) <= 4


async def leave_by_break(batch: Batch) -> None:
    async for _ in batch:
        break


async def leave_by_block(batch: Batch) -> None:
    async with batch:
        await anext(batch)


async def leave_by_anyio(batch: Batch) -> None:
    with anyio.move_on_after(PATIENCE_S) as scope:
        async for _ in batch:
            scope.cancel()


async def leave_by_task(batch: Batch) -> None:
    began = asyncio.Event()

    async def consume() -> None:
        async for _ in batch:
            began.set()

    task = asyncio.create_task(consume())
    await began.wait()
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_block, leave_by_anyio, leave_by_task])
async def test_leaving_early_cancels_the_rest(
    tmp_path: Path, leave: Callable[[Batch], Awaitable[None]], eventually: Eventually
) -> None:
    rest = {"when": {"first": 2}, "then": {"kind": "stall", "at": {"event": 3}}}
    async with (
        Sandbox(faults={"faults": [rest]}) as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        await leave(gateway.batch(requests(9), concurrency=4))
        await eventually(lambda: not sandbox.bill()["running"])
        book = gateway.pipeline.book
        assert isinstance(book, Store)
        await eventually(lambda: not book.under_way_since())
        entries = list(book.entries())
        outcomes = [one.outcome for one in entries]
        assert outcomes.count("succeeded") == 1
        assert 1 <= outcomes.count("cancelled") <= 5
        assert sum(one.cost_usd for one in entries) >= total_of(sandbox)


async def test_an_error_of_the_source_is_raised(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[ChatRequest]:
        yield requests(1)[0]
        raise LookupError("the file of requests is broken")

    async with (
        Sandbox() as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        with pytest.raises(LookupError):
            await collect(gateway.batch(source(), concurrency=1))
    gc.collect()


async def test_what_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    async with (
        Sandbox() as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        for wrong in (0, 10_000):
            with pytest.raises(InvalidRequest, match="concurrency"):
                gateway.batch([], concurrency=wrong)
        with pytest.raises(InvalidRequest, match="idempotency_key"):
            gateway.batch([], idempotency_key="")
        memory = AsyncGateway(settings_of(sandbox, tmp_path), book=MemoryBook())
        async with memory:
            with pytest.raises(ConfigurationError, match="durable"):
                memory.batch([], idempotency_key="monday")


@pytest.mark.parametrize("texts", [("no JSON", "[]", "[1]"), ("no JSON", "[]", "{}", "[1]")])
async def test_repairs_of_earlier_runs_count_against_the_limit(
    tmp_path: Path, texts: tuple[str, ...]
) -> None:
    """With two repairs: the third reply fits, or three fail and the second run asks once more."""
    schema = {"type": "array", "minItems": 1}
    wanted = ResponseFormat(kind="json_schema", schema=schema, name="numbers")
    asked = [replace(one, response_format=wanted) for one in requests(1)]
    async with (
        Sandbox() as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        sandbox.set_script({"turns": [{"reply": {"text": one}} for one in texts]})

        async def run() -> Batch:
            batch = gateway.batch(asked, max_cost_usd=1, repairs=2, idempotency_key="monday")
            await collect(batch)
            return batch

        first = await run()
        assert len(sandbox.bill()["calls"]) == 3
        assert first.spent_usd == total_of(sandbox)
        for _ in range(2):
            assert (await run()).spent_usd == total_of(sandbox)
        assert len(sandbox.bill()["calls"]) == len(texts)


async def test_what_another_run_answers_meanwhile_was_not_asked_here(
    tmp_path: Path, eventually: Eventually
) -> None:
    slow = {"then": {"kind": "slow", "head_s": 1}}
    async with (
        Sandbox(faults={"faults": [slow]}) as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):

        def run() -> Batch:
            return gateway.batch(requests(1), max_cost_usd=1, idempotency_key="monday")

        first = asyncio.ensure_future(collect(run()))
        await eventually(lambda: sandbox.bill()["running"])
        batch = run()
        (found,) = (await collect(batch)).values()
        (asked,) = (await first).values()
        assert asked.was_asked
        assert not asked.is_repeated
        assert found.unwrap().text == asked.unwrap().text
        assert found.is_repeated
        assert not found.was_asked
        assert batch.spent_usd == total_of(sandbox) > 0
        assert len(sandbox.bill()["calls"]) == 1


async def test_a_reply_that_cannot_be_kept_is_handed_out(
    tmp_path: Path, eventually: Eventually
) -> None:
    slow = {"then": {"kind": "slow", "head_s": 1}}
    async with (
        Sandbox(faults={"faults": [slow]}) as sandbox,
        open_gateway(settings_of(sandbox, tmp_path)) as gateway,
    ):
        batch = gateway.batch(requests(1), idempotency_key="monday")
        results = asyncio.ensure_future(collect(batch))
        await eventually(lambda: sandbox.bill()["running"])
        with closing(sqlite3.connect(tmp_path / "data" / "ledger.db")) as ledger, ledger:
            assert ledger.execute("DELETE FROM idempotency").rowcount == 1
        (found,) = (await results).values()
        assert found.unwrap().text
        assert batch.spent_usd == total_of(sandbox) > 0


PROGRAM = """
import asyncio, sys
from decimal import Decimal
from pathlib import Path
sys.path.insert(0, {tests!r})
from integration.test_a_batch_holds_one_budget import Batch, open_gateway, requests, Settings

async def main():
    settings = Settings.load({{}}, base_url={url!r}, api_key={key!r}, data_dir=Path({data!r}))
    async with open_gateway(settings) as gateway:
        batch = gateway.batch(requests(12), concurrency=3, max_cost_usd=Decimal({limit!r}),
                      idempotency_key="monday")
        async for result in batch:
            print(result.index, flush=True)

asyncio.run(main())
"""


def run_until_killed(sandbox: Sandbox, data: Path, limit: str, answers: int) -> None:
    """Run the batch in a process of its own, and kill that after some answers."""
    program = PROGRAM.format(
        tests=str(Path(__file__).parents[1]),
        url=sandbox.base_url,
        key=sandbox.api_key,
        data=str(data),
        limit=limit,
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ), text=True
    )
    try:
        assert child.stdout is not None
        for _ in range(answers):
            assert child.stdout.readline(), "the batch has ended early"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE_S)
        if child.stdout is not None:
            child.stdout.close()


async def test_a_killed_batch_goes_on_where_it_was(tmp_path: Path, eventually: Eventually) -> None:
    # the first six are answered at once, later ones hang until the process is killed
    hang = {"when": {"first": 7}, "then": {"kind": "stall", "at": {"event": 3}}}
    settings_dir, limit = tmp_path / "data", "0.02"
    async with Sandbox(faults={"faults": [hang]}) as sandbox:
        await asyncio.to_thread(run_until_killed, sandbox, settings_dir, limit, 6)
        await eventually(lambda: not sandbox.bill()["running"])
        sandbox.set_faults(None)
        before = len(sandbox.bill()["calls"])
        async with open_gateway(settings_of(sandbox, tmp_path)) as gateway:
            batch = gateway.batch(
                requests(12), concurrency=3, max_cost_usd=limit, idempotency_key="monday"
            )
            results = await collect(batch)
            again = await collect(gateway.batch(requests(12)[::-1], idempotency_key="monday"))
            book = gateway.pipeline.book
            assert isinstance(book, Store)
            booked = sum((one.cost_usd for one in book.entries()), Decimal(0))
        assert all(one.completion for one in results.values())
        repeated = [one for one in results.values() if one.is_repeated]
        assert len(repeated) == 6
        # what was in flight is asked again, since nobody has its answer; the rest once
        assert len(sandbox.bill()["calls"]) - before == 6
        assert batch.spent_usd == booked >= total_of(sandbox)
        # a third run asks nothing, in whatever order; the replies are the same
        assert len(sandbox.bill()["calls"]) - before == 6
        texts = {one.request.messages[-1].text: one.unwrap().text for one in results.values()}
        assert {one.request.messages[-1].text: one.unwrap().text for one in again.values()} == texts
        assert {type(part) for one in again.values() for part in one.unwrap().parts} == {
            type(part) for one in results.values() for part in one.unwrap().parts
        }
        assert len(texts) == 12
