"""A new list of models is seen by everything that reads one, at once and after a restart."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_core import ChatRequest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_routing import live_catalogue
from devflow_sandbox import Sandbox
from devflow_sandbox.catalogue.models import SandboxCatalogue
from devflow_server.serving import run_gateway

NEW, EMBEDDER = "acme/new-model", "openai/text-embedding-3-small"
NOBODY = "http://127.0.0.1:9/api/v1"
PATIENCE_S = 60.0


def row(model: str, prompt: str, completion: str, **changes: Any) -> dict[str, Any]:
    """A row of the stand-in's list under another name, or at another price."""
    known = SandboxCatalogue.load(()).models
    wanted = model if model != NEW else "openai/gpt-5-mini"
    found = copy.deepcopy(next(one.row for one in known if one.id == wanted))
    pricing = {**found["pricing"], "prompt": prompt, "completion": completion}
    return {**found, "id": model, "canonical_slug": model, "pricing": pricing, **changes}


def list_of(prompt: str, tokenizer: str) -> list[dict[str, Any]]:
    architecture = {**row(NEW, "0", "0")["architecture"], "tokenizer": tokenizer}
    return [
        row(NEW, prompt, "0.000002", architecture=architecture),
        row(EMBEDDER, prompt, "0"),
    ]


def settings_of(folder: Path, base_url: str, key: str = "sk-or-v1-test") -> Settings:
    return Settings.load(
        {},
        base_url=base_url,
        api_key=key,
        require_key=False,
        port=0,
        data_dir=folder,
        cache=False,
        preferred_models=(NEW,),
        models={NEW: {"completion_usd_per_mtok": 9}},
    )


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncGenerator[httpx.AsyncClient]:
    async with (
        run_gateway(settings) as running,
        httpx.AsyncClient(base_url=running.url, timeout=PATIENCE_S, trust_env=False) as client,
    ):
        yield client


async def listed_price(client: httpx.AsyncClient) -> str | None:
    pricing = (await client.get(f"/v1/models/{NEW}")).json()["pricing"]
    return pricing and pricing["prompt"]


async def wait_for_price(client: httpx.AsyncClient, price: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await listed_price(client) != price:  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.02)


async def count_error(client: httpx.AsyncClient) -> float:
    body = {"model": NEW, "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    reply = await client.post("/v1/messages/count_tokens", json=body)
    return reply.json()["devflow"]["relative_error"]


async def embed(client: httpx.AsyncClient, ceiling_usd: str) -> int:
    """The status of a request of about 1,000 tokens at most under a ceiling."""
    body = {"model": EMBEDDER, "input": "word " * 200}
    headers = {"X-DevFlow-Max-Cost-Usd": ceiling_usd}
    return (await client.post("/v1/embeddings", json=body, headers=headers)).status_code


async def choose(client: httpx.AsyncClient, ceiling_usd: str) -> str:
    """The model that `auto` takes under a ceiling."""
    body = {"model": "auto", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"X-DevFlow-Max-Cost-Usd": ceiling_usd}
    reply = await client.post("/v1/chat/completions", json=body, headers=headers)
    return reply.headers["x-devflow-model"]


async def explained_price(settings: Settings) -> str:
    async with wiring.open_gateway(settings) as gateway:
        chosen = gateway.explain(ChatRequest.from_text("Hi")).chosen
    assert chosen.model == NEW
    assert chosen.price is not None
    # the user's correction lies over every list
    assert f"{chosen.price.completion:f}" == "0.000009"
    return f"{chosen.price.prompt:f}"


async def test_all_doors_follow_a_new_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_catalogue, "POLL_INTERVAL_S", 0.05)
    cheap, dear = "0.00000025", "0.00025"
    async with Sandbox(models=list_of(cheap, "GPT")) as sandbox:
        settings = settings_of(tmp_path, sandbox.base_url, sandbox.api_key)
        async with open_server(settings) as client:
            await wait_for_price(client, cheap)
            first_error = await count_error(client)
            assert await embed(client, "0.01") == 200
            assert await choose(client, "0.002") == NEW
            sandbox.state.catalogue = SandboxCatalogue.load(list_of(dear, "Llama4"))
            # another process fetches; this one only looks at the file
            live, changes = await wiring.refresh_catalogue(settings)
            catalogue = live.current
            assert ("price_rose", NEW) in [(one.kind, one.model) for one in changes]
            assert catalogue.find(NEW).tokenizer == "Llama4"
            await wait_for_price(client, dear)
            assert await count_error(client) != first_error
            assert await embed(client, "0.01") == 402
            assert await embed(client, "1") == 200
            assert await choose(client, "0.002") != NEW
            assert await choose(client, "1") == NEW
            status = (await client.get("/openrouter/status")).json()
            assert status["cache_size"] == len(catalogue)
        assert await explained_price(settings) == dear
    away = settings_of(tmp_path, NOBODY)
    async with open_server(away) as client:
        assert await listed_price(client) == dear
        assert await embed(client, "0.01") == 402
    assert await explained_price(away) == dear


async def test_what_keeps_nothing_is_fetched_with_the_list(tmp_path: Path) -> None:
    plain = ChatRequest.from_text("Hi")
    request = replace(plain, extra={"provider": {"zdr": True}})
    async with Sandbox() as sandbox:
        settings = settings_of(tmp_path, sandbox.base_url, sandbox.api_key)
        async with wiring.open_gateway(settings) as gateway:
            await gateway.refresh_catalogue()
            everybody = {one.model for one in gateway.explain(plain).candidates}
            keeping_nothing = gateway.catalogue.current.zero_retention
            assert keeping_nothing
            left = gateway.explain(request)
            assert {one.model for one in left.candidates} == everybody & keeping_nothing
            assert "has no zero-retention endpoint" in {one.reason for one in left.excluded}
    async with wiring.open_gateway(settings_of(tmp_path, NOBODY)) as gateway:
        assert gateway.catalogue.current.zero_retention == keeping_nothing


async def test_without_its_endpoints_the_list_is_new_and_what_keeps_nothing_as_before(
    tmp_path: Path,
) -> None:
    async with Sandbox() as sandbox:
        settings = settings_of(tmp_path, sandbox.base_url, sandbox.api_key)
        before = (await wiring.refresh_catalogue(settings))[0].current
        fault = {"when": {"path": "/endpoints/zdr"}, "then": {"kind": "status", "status": 500}}
        sandbox.set_faults({"faults": [fault]})
        after = (await wiring.refresh_catalogue(settings))[0].current
    assert after.fetched_at > before.fetched_at
    assert before.zero_retention
    assert after.zero_retention == before.zero_retention
