"""Costs that a cut reply left open are settled without anybody asking."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import DevFlowError, StoreError
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_sandbox import Sandbox
from devflow_server.operations import maintenance
from devflow_store import Store

CUT = {
    "faults": [
        {
            "when": {"path": "/chat/*"},
            "then": {"kind": "truncate", "at": {"share": 0.6}},
            "billed": "full",
        }
    ]
}


def settings_for(sandbox: Sandbox, home: Path) -> Settings:
    environ = {"HOME": str(home), "OPENROUTER_API_KEY": sandbox.api_key}
    return Settings.load(environ, base_url=sandbox.base_url, max_retries=1)


@asynccontextmanager
async def a_failed_call(
    sandbox: Sandbox, home: Path
) -> AsyncGenerator[tuple[Store, wiring.AsyncGateway]]:
    """A ledger and a gateway, after one call that has failed."""
    settings = settings_for(sandbox, home)
    async with (
        wiring.make_store(settings) as book,
        wiring.build_gateway(book, settings) as gateway,
    ):
        with suppress(DevFlowError):
            await gateway.complete(ChatRequest.from_text("Hi.", model="openai/gpt-4o-mini"))
        yield book, gateway


async def test_an_open_cost_is_confirmed_in_the_background(tmp_path: Path, eventually: Any) -> None:
    async with Sandbox(generation_delay_s=0, faults=CUT) as sandbox:
        async with a_failed_call(sandbox, tmp_path) as (book, gateway):
            assert book.unconfirmed()
            confirming = asyncio.create_task(
                maintenance.confirm_costs(wiring.make_reconciler(book, gateway), interval_s=0.01)
            )
            await eventually(lambda: not book.unconfirmed())
            confirming.cancel()
        (entry,) = book.entries()
        assert str(entry.cost_usd) == sandbox.bill()["total_usd"]


async def test_a_ledger_that_cannot_be_read_does_not_end_it(eventually: Any) -> None:
    asked: list[None] = []

    class Broken:
        async def confirm_pending(self) -> tuple[str, ...]:
            asked.append(None)
            raise StoreError("The ledger cannot be read.")

    confirming = asyncio.create_task(maintenance.confirm_costs(Broken(), interval_s=0.001))  # type: ignore[arg-type]
    await eventually(lambda: len(asked) > 2)
    assert not confirming.done()
    confirming.cancel()


async def test_a_cost_without_an_id_is_settled_in_the_background(
    tmp_path: Path, eventually: Any
) -> None:
    lost = {"when": {"path": "/chat/*"}, "then": {"kind": "drop"}, "billed": "full"}
    async with Sandbox(faults={"faults": [lost]}) as sandbox:
        async with a_failed_call(sandbox, tmp_path) as (book, gateway):
            ((_, attempt),) = book.unconfirmed()
            assert attempt.cost_usd == attempt.reserved_usd
            reconciler = wiring.make_reconciler(book, gateway, patience_s=0.2)
            settling = asyncio.create_task(
                maintenance.settle_old_costs(reconciler, interval_s=0.05)
            )
            await eventually(lambda: not book.unconfirmed())
            settling.cancel()
        (entry,) = book.entries()
        assert entry.cost_usd == Decimal(sandbox.bill()["total_usd"])
        (attempt,) = entry.attempts
        assert (attempt.cost_source or "").startswith("total of ")


async def test_totals_that_cannot_be_had_do_not_end_it(eventually: Any) -> None:
    asked: list[None] = []

    class Broken:
        async def settle_old(self) -> dict[str, int]:
            asked.append(None)
            raise StoreError("The ledger cannot be read.")

    settling = asyncio.create_task(maintenance.settle_old_costs(Broken(), interval_s=0.001))  # type: ignore[arg-type]
    await eventually(lambda: len(asked) > 2)
    assert not settling.done()
    settling.cancel()


async def test_limits_are_learned_or_left_unknown(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        settings = settings_for(sandbox, tmp_path)
        async with wiring.open_gateway(settings) as gateway:
            await maintenance.learn_limits(gateway)
    async with wiring.open_gateway(settings) as gateway:
        await maintenance.learn_limits(gateway)  # the sandbox has gone: no error comes out


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
