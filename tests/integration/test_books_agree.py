"""What our ledger says a time has cost is what the provider billed, to the last digit."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_sandbox import Sandbox

ROOT = Path(__file__).parents[2]
MODEL = "anthropic/claude-haiku-4.5"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=5, generation_delay_s=0.1) as running:
        yield running


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> Settings:
    return Settings.load(
        {},
        base_url=sandbox.base_url,
        api_key=sandbox.api_key,
        management_key=sandbox.management_key,
        data_dir=tmp_path,
    )


def test_the_books_agree_over_faults_cancels_cuts_retries_and_kills(tmp_path: Path) -> None:
    told = tmp_path / "books.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/books.py", "--calls=600", "--kills=2", f"--json={told}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    books = json.loads(told.read_text())["books"]
    assert Decimal(books["ours_usd"]) == Decimal(books["bill_usd"]) > 0
    assert books["killed"] == 2
    assert books["errors"]["process_lost"] > 0
    assert books["outcomes"]["cancelled"] > 0
    assert books["confirmed_by_id"] > 0
    assert books["settled_by_total"] > 0
    assert len(books["faults"]) >= 8
    assert books["over_reserved"] == {}
    assert books["budget_refused"] > 0
    assert len(books["dialects"]) == 3
    took_part = {name for name, calls in books["features"].items() if calls}
    assert took_part == {
        "web plugin",
        "search tool",
        "dear fallback",
        "flex",
        "priority",
        "fast Claude",
        "image",
        "PDF",
        "advisor",
        "speech",
    }


async def test_a_call_that_somebody_else_made_with_our_key_is_an_orphan(
    sandbox: Sandbox, settings: Settings
) -> None:
    async with wiring.open_gateway(settings) as gateway:
        ours = await gateway.complete(ChatRequest.from_text("Hello", model=MODEL))
    async with httpx.AsyncClient(timeout=60) as stranger:
        reply = await stranger.post(
            f"{sandbox.base_url}/chat/completions",
            headers={"Authorization": f"Bearer {sandbox.api_key}"},
            json={"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]},
        )
    theirs_usd = Decimal(str(reply.json()["usage"]["cost"]))
    document = (await wiring.reconcile(settings, days=1, patience_s=0.2)).as_json()
    assert document["ours_usd"] == str(ours.cost_usd)
    (orphan,) = document["orphans"]
    assert Decimal(orphan["cost_usd"]) == theirs_usd
    assert Decimal(document["difference_usd"]) == -theirs_usd


async def test_a_stream_that_was_left_is_settled_at_what_it_cost(
    sandbox: Sandbox, settings: Settings
) -> None:
    request = ChatRequest.from_text("Tell me a long story.", model="google/gemini-2.5-flash")
    async with wiring.open_gateway(settings) as gateway, gateway.stream(request) as reply:
        async for _ in reply:
            break
    assert reply.entry is not None
    assert reply.entry.cost_status == "estimated"
    document = (await wiring.reconcile(settings, days=0, patience_s=5)).as_json()
    assert document["confirmed"] == 1
    assert document["ours_usd"] == document["theirs_usd"] == sandbox.bill()["total_usd"]
    settled = wiring.make_store(settings).entry(reply.entry_id)
    assert settled is not None
    assert settled.cost_status == "settled"
    assert 0 < settled.cost_usd < reply.entry.cost_usd


async def test_without_a_management_key_the_month_is_closed(
    sandbox: Sandbox, settings: Settings
) -> None:
    async with wiring.open_gateway(settings) as gateway:
        await gateway.complete(ChatRequest.from_text("Hello", model=MODEL))
    keyless = settings.model_copy(update={"management_key": None})
    document = (await wiring.reconcile(keyless, patience_s=0.1)).as_json()
    assert document["difference_usd"] == "0"
    assert len(document["windows"][0]["window"]) == len("2026-11")
    assert "management key" in document["notes"][0]


async def test_a_wrong_management_key_is_no_management_key(settings: Settings) -> None:
    wrong = settings.model_copy(update={"management_key": settings.api_key})
    document = (await wiring.reconcile(wrong, patience_s=0.1)).as_json()
    assert "management key" in document["notes"][0]
