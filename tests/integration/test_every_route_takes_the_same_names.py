"""Embeddings and the single model take the names that chat takes, within the same limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_sandbox import Sandbox
from devflow_server import run_gateway
from devflow_store import Budget

EMBEDDER, SONNET = "openai/text-embedding-3-small", "anthropic/claude-sonnet-4.5"
SCOPES: dict[str, dict[str, Any]] = {
    "all": {},
    "openai": {"models": ["openai/*"]},
    "claude": {"models": ["anthropic/*"]},
    "old": {"models": ["anthropic/claude-opus-4*"]},
    "broke": {},
}


@dataclass(frozen=True)
class Gateway:
    url: str
    client: httpx.AsyncClient
    secrets: dict[str, str]
    sandbox: Sandbox

    async def embed(self, model: str, key: str = "all") -> httpx.Response:
        headers = {"x-api-key": self.secrets[key]}
        body = {"model": model, "input": ["one", "two"]}
        return await self.client.post("/v1/embeddings", json=body, headers=headers)

    async def model(self, name: str, key: str = "all", **headers: str) -> httpx.Response:
        headers["x-api-key"] = self.secrets[key]
        return await self.client.get(f"/v1/models/{name}", headers=headers)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with Sandbox() as sandbox:
        settings = Settings.load(
            {},
            None,
            base_url=sandbox.base_url,
            api_key=sandbox.api_key,
            port=0,
            require_key=True,
            data_dir=tmp_path,
            aliases={"vectors": EMBEDDER, "quick": "openai/gpt-4o-mini", "any-claude": "*claude*"},
            models={EMBEDDER: {"prompt_usd_per_mtok": "0.02", "completion_usd_per_mtok": "0"}},
        )
        async with wiring.make_store(settings) as store:
            secrets = {
                name: (await store.keys.create(name, one))[1] for name, one in SCOPES.items()
            }
            limit = Budget(
                scope="model", value=EMBEDDER, window="day", limit_usd=Decimal("0.00000001")
            )
            if "budget" in tmp_path.name:
                await store.budgets.set(limit)
        async with (
            run_gateway(settings) as started,
            httpx.AsyncClient(base_url=started.url, timeout=60, trust_env=False) as client,
        ):
            yield Gateway(started.url, client, secrets, sandbox)


async def test_embeddings_take_a_bare_name_an_alias_and_an_id(gateway: Gateway) -> None:
    for name in ("text-embedding-3-small", "vectors", EMBEDDER, "claude-via-devflow/vectors"):
        reply = await gateway.embed(name)
        assert (reply.status_code, len(reply.json()["data"])) == (200, 2), name
        assert reply.headers["x-devflow-model"] == EMBEDDER
    assert {call["model"] for call in gateway.sandbox.bill()["calls"]} == {EMBEDDER}
    unknown = await gateway.embed("text-embedding-9-odd")
    assert unknown.status_code in (400, 404)


async def test_a_bare_name_keeps_to_the_scope(gateway: Gateway) -> None:
    for key, status in (("openai", 200), ("claude", 403)):
        assert (await gateway.embed("text-embedding-3-small", key)).status_code == status
        assert (await gateway.embed("vectors", key)).status_code == status


async def test_a_budget_of_the_model_holds_for_its_bare_name(gateway: Gateway) -> None:
    for name in ("text-embedding-3-small", "vectors", EMBEDDER):
        assert (await gateway.embed(name)).status_code == 402
    assert gateway.sandbox.bill()["calls"] == []


async def test_a_single_model_is_found_by_every_name_that_messages_take(gateway: Gateway) -> None:
    found = {
        "claude-sonnet-4-5": SONNET,
        "claude-sonnet-4-5-20250929": SONNET,
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0": SONNET,
        "claude-sonnet-4-5[1m]": SONNET,
        SONNET: SONNET,
        f"claude-via-devflow/{SONNET}": SONNET,
        "gpt-5-mini": "openai/gpt-5-mini",
        "quick": "openai/gpt-4o-mini",
        "auto": "auto",
        "auto:cheap": "auto:cheap",
        "any-claude": "any-claude",
    }
    for name, model in found.items():
        reply = await gateway.model(name)
        assert (reply.status_code, reply.json().get("id")) == (200, model), name
        assert reply.json()["object"] == "model"
    newest = (await gateway.model("claude-opus-9")).json()["id"]
    assert newest.startswith("anthropic/claude-opus-5")
    for name in ("no/such", "claude-symphony-9", "a b"):
        assert (await gateway.model(name)).status_code == 404


async def test_a_single_model_keeps_to_the_scope(gateway: Gateway) -> None:
    assert (await gateway.model("claude-sonnet-4-5", "openai")).status_code == 404
    assert (await gateway.model("quick", "claude")).status_code == 404
    assert (await gateway.model("claude-opus-9", "old")).json()["id"] == "anthropic/claude-opus-4.8"
    assert (await gateway.model("auto", "old")).status_code == 200


async def test_a_single_model_has_the_shape_of_its_client(gateway: Gateway) -> None:
    secret = gateway.secrets["all"]
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=secret) as theirs:
        model = await theirs.models.retrieve("claude-sonnet-4-5")
        assert (model.type, model.id) == ("model", SONNET)
        assert "Sonnet 4.5" in model.display_name
        assert (await theirs.models.retrieve("auto")).id == "claude-via-devflow/auto"
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=secret) as theirs:
        plain = await theirs.models.retrieve("claude-sonnet-4-5")
        assert (plain.object, plain.id, plain.owned_by) == ("model", SONNET, "anthropic")
