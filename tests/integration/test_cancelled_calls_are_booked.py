"""However a program's wait is ended, the call ends, its connection is freed and its cost booked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from devflow_core import ChatRequest
from devflow_core.events import TextDelta
from devflow_core.settings import Settings
from devflow_gateway import AsyncGateway, Gateway, Text
from devflow_sandbox import Sandbox
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_store import Store

MODEL = "anthropic/claude-haiku-4.5"
PATIENCE_S = 60.0
# says a little, then nothing more
HANG = {"faults": [{"then": {"kind": "stall", "at": {"event": 6}}}]}
Work = Callable[[], Awaitable[object]]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def asked(text: str = "Count from 1 to 40") -> ChatRequest:
    return replace(ChatRequest.from_text(text, model=MODEL), max_output_tokens=500)


def settings_of(sandbox: Sandbox, folder: Path) -> Settings:
    return Settings.load(
        {}, base_url=sandbox.base_url, api_key=sandbox.api_key, data_dir=folder / "data"
    )


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(faults=HANG) as opened:
        yield opened


@pytest.fixture
async def gateway(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[AsyncGateway]:
    async with AsyncGateway(settings_of(sandbox, tmp_path)) as opened:
        yield opened


async def by_fail_after(work: Work, ready: asyncio.Event) -> None:
    async def wait() -> None:
        with anyio.fail_after(PATIENCE_S) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_expire, scope, ready)
                await work()

    with pytest.raises(TimeoutError):
        await wait()


async def by_move_on_after(work: Work, ready: asyncio.Event) -> None:
    with anyio.move_on_after(PATIENCE_S) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_expire, scope, ready)
            await work()
    assert scope.cancelled_caught


async def _expire(scope: anyio.CancelScope, ready: asyncio.Event) -> None:
    await ready.wait()
    scope.deadline = anyio.current_time()


async def by_timeout(work: Work, ready: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    async def wait() -> None:
        async with asyncio.timeout(PATIENCE_S) as limit:
            waiting = asyncio.create_task(ready.wait())
            waiting.add_done_callback(lambda _: limit.reschedule(loop.time()))
            await work()

    with pytest.raises(TimeoutError):
        await wait()


async def by_cancel(work: Work, ready: asyncio.Event) -> None:
    task = asyncio.ensure_future(work())
    await ready.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


WAYS = [by_fail_after, by_move_on_after, by_timeout, by_cancel]


def work_of(name: str, gateway: AsyncGateway) -> Work:
    async def complete() -> None:
        await gateway.complete(asked())

    async def stream() -> None:
        async with gateway.stream(asked()) as reply:
            async for _ in reply:
                pass

    async def batch() -> None:
        async for _ in gateway.batch([asked(str(number)) for number in range(9)], concurrency=2):
            pass

    async def run_tools() -> None:
        await gateway.run_tools(asked(), [], max_cost_usd=1)

    works: dict[str, Work] = {
        "complete": complete, "stream": stream, "batch": batch, "run_tools": run_tools,
    }  # fmt: skip
    return works[name]


@pytest.mark.parametrize("name", ["complete", "stream", "batch", "run_tools"])
@pytest.mark.parametrize("leave", WAYS)
async def test_a_wait_that_is_ended_ends_the_call(
    sandbox: Sandbox,
    gateway: AsyncGateway,
    name: str,
    leave: Callable[[Work, asyncio.Event], Awaitable[None]],
    eventually: Eventually,
) -> None:
    calls = 2 if name == "batch" else 1
    ready = asyncio.Event()

    async def watch() -> None:
        await eventually(lambda: sandbox.bill()["running"] == calls)
        await asyncio.sleep(0.1)  # so that some of the reply has come; not relied upon
        ready.set()

    watching = asyncio.create_task(watch())
    before = len(asyncio.all_tasks())
    await leave(work_of(name, gateway), ready)
    await watching
    book = gateway.pipeline.book
    assert isinstance(book, Store)
    entries = list(book.entries())  # written by the time that the wait has ended
    assert [one.outcome for one in entries] == ["cancelled"] * calls
    assert book.under_way_since() is None
    await eventually(lambda: not sandbox.bill()["running"])
    known = Decimal(str(sandbox.bill()["total_usd"]))
    assert sum(one.cost_usd for one in entries) >= known > 0
    # nothing is left that waits, and the next call is answered
    await eventually(lambda: len(asyncio.all_tasks()) <= before)
    sandbox.set_faults(None)
    assert (await gateway.complete(asked("Reply with exactly: OK"))).text == "OK"


def test_the_synchronous_twin_has_the_same(tmp_path: Path) -> None:
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    with ThreadedSandbox() as sandbox, Gateway(settings_of(sandbox, tmp_path)) as gateway:
        with gateway.batch(
            [asked(f"Reply with exactly: {number}") for number in range(20)],
            concurrency=2,
            max_cost_usd="0.5",
            idempotency_key="twenty",
        ) as batch:
            first = next(batch)
            assert first.unwrap().text == str(first.index)
        assert 0 < len(sandbox.bill()["calls"]) <= 6  # leaving early asks no more
        again = list(
            gateway.batch(
                [asked(f"Reply with exactly: {number}") for number in range(20)],
                idempotency_key="twenty",
            )
        )
        assert sorted(one.index for one in again) == list(range(20))
        assert any(one.is_repeated for one in again)

        assert gateway.complete(asked(), response_model=list[int]).parsed is not None
        sandbox.set_script(
            {"turns": [
                {"reply": {"tool_calls": [{"name": "double", "arguments": {"number": 4}}]}},
                {"reply": {"text": "8"}},
            ]}
        )  # fmt: skip
        run = gateway.run_tools(asked(), [double], max_cost_usd=0.5)
        assert run.text == "8"
        assert any(
            part == Text(text="8")
            for message in run.messages
            for result in message.parts
            for part in getattr(result, "parts", ())
        )
        with gateway.stream(asked("Reply with exactly: OK")) as reply:
            assert "".join(one.text for one in reply if isinstance(one, TextDelta)) == "OK"
