"""Models for embeddings have prices: fetched with the list, kept, and looked up when one lacks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import ProviderUnavailable, UnknownPrice
from devflow_core.settings import Settings
from devflow_gateway import AsyncGateway
from devflow_openrouter.models.catalogue import decode_document, fetch_document, make_catalogue
from devflow_routing.catalogue import Catalogue
from devflow_routing.live_catalogue import POLL_INTERVAL_S, REFRESH_INTERVAL_S, LiveCatalogue
from devflow_routing.model_config import ModelConfig
from devflow_sandbox import Sandbox

MODEL = "openai/text-embedding-3-small"


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> Settings:
    """A limit for the month, and a data folder in which no list was kept so far."""
    return Settings.load(
        {},
        base_url=sandbox.base_url,
        api_key=sandbox.api_key,
        data_dir=tmp_path / "data",
        cost_budget_usd=Decimal(1),
        aliases={"vectors": MODEL},
    )


@pytest.mark.parametrize("name", [MODEL, "vectors"])
async def test_under_a_limit_the_first_text_learns_the_price(
    settings: Settings, sandbox: Sandbox, name: str
) -> None:
    async with AsyncGateway(settings) as gateway:
        assert gateway.catalogue.price_of(MODEL) is None
        found = await gateway.embed("a text", model=name, max_cost_usd="0.001")
        assert found.cost_usd == found.entry.cost_usd > 0
        fetched = gateway.catalogue.current.version
        await gateway.embed("another", model=MODEL)
        assert gateway.catalogue.current.version == fetched
    # kept: the next program neither fetches it nor lacks it
    async with AsyncGateway(settings) as later:
        assert later.catalogue.price_of(MODEL) is not None
    assert Decimal(sandbox.bill()["calls"][0]["cost_usd"]) == found.cost_usd


async def test_openais_client_in_this_process_learns_it_too(settings: Settings) -> None:
    async with AsyncGateway(settings) as gateway, gateway.as_httpx_client() as client:
        headers = {"X-DevFlow-Max-Cost-Usd": "0.001"}
        body = {"model": MODEL, "input": "a text"}
        reply = await client.post("/v1/embeddings", json=body, headers=headers)
        assert reply.status_code == 200, reply.text


class ListsOfModels:
    """A provider whose list of all models lacks those for embeddings."""

    def __init__(self, embeddings: dict[str, Any]) -> None:
        self._embeddings = embeddings

    async def models(self) -> dict[str, Any]:
        return {"data": [_row("openai/gpt-4o-mini", "0.00000015")]}

    async def embedding_models(self) -> dict[str, Any]:
        return self._embeddings

    async def zero_retention_endpoints(self) -> dict[str, Any]:
        return {"data": []}

    async def endpoints(self, model: str, *, key: object = None) -> dict[str, Any]:
        return {"data": {"endpoints": []}}


def _row(model: str, prompt: str) -> dict[str, Any]:
    return {"id": model, "name": model, "pricing": {"prompt": prompt, "completion": "0"}}


async def test_models_that_the_list_lacks_are_added_once() -> None:
    rows = [_row(MODEL, "0.00000002"), _row("openai/gpt-4o-mini", "9")]
    known = make_catalogue(Settings.load({}))
    document = await fetch_document(ListsOfModels({"data": rows}), known.current)
    found = decode_document(document)
    assert [one.id for one in found.models] == ["openai/gpt-4o-mini", MODEL]
    prices = [one.price.prompt for one in found.models if one.price]
    assert prices == [Decimal("0.00000015"), Decimal("0.00000002")]
    for strange in ({"data": "none"}, {}):
        kept = decode_document(await fetch_document(ListsOfModels(strange), known.current))
        assert [one.id for one in kept.models] == ["openai/gpt-4o-mini"]


async def test_a_price_that_nobody_knows_is_asked_for_once_an_hour() -> None:
    now = datetime(2026, 11, 30, tzinfo=UTC)
    fetches = 0
    shipped = Catalogue([ModelConfig(id="a/b")], version="1", fetched_at=now - timedelta(days=9))
    fresh = Catalogue([ModelConfig(id="a/b")], version="2", fetched_at=now)
    live = LiveCatalogue(lambda: shipped, lambda _document: fresh, clock=lambda: now)

    async def fail() -> dict[str, Any]:
        nonlocal fetches
        fetches += 1
        raise ProviderUnavailable("down")

    async def answer() -> dict[str, Any]:
        nonlocal fetches
        fetches += 1
        return {}

    for _ in range(3):
        await live.learn_price("a/b", fail)  # a failure is told by the call itself
    assert fetches == 1
    now += timedelta(seconds=POLL_INTERVAL_S)
    await live.learn_price("a/b", answer)
    assert (fetches, live.current.version) == (2, "2")
    now += timedelta(seconds=REFRESH_INTERVAL_S - POLL_INTERVAL_S - 1)
    await live.learn_price("a/b", answer)
    assert fetches == 2


async def test_a_price_that_cannot_be_learned_is_refused_as_before(
    settings: Settings, sandbox: Sandbox
) -> None:
    async with AsyncGateway(settings) as gateway:
        with pytest.raises(UnknownPrice):
            await gateway.embed("a text", model="nobody/nothing")
    assert sandbox.bill()["calls"] == []
