"""What a client key is limited to holds for every model that may answer, whoever chooses it."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_sandbox import Sandbox
from devflow_server import run_gateway
from devflow_store import Budget

ASK = [{"role": "user", "content": "Why does test_login fail on the second run?"}]
HAIKU, MINI = "anthropic/claude-haiku-4.5", "openai/gpt-4o-mini"
EMBEDDER = "openai/text-embedding-3-small"
BUSY = {"when": {"model": HAIKU}, "then": {"kind": "status", "status": 503}}
SCOPES: dict[str, dict[str, Any]] = {
    "openai": {"models": ["openai/*"]},
    "claude": {"models": ["anthropic/*"]},
    "nobody": {"models": ["no/*"]},
    "all": {},
}


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs, and the secrets of its client keys by their names."""

    client: httpx.AsyncClient
    secrets: dict[str, str]

    async def post(self, key: str, path: str, **body: Any) -> httpx.Response:
        return await self.client.post(path, json=body, headers={"x-api-key": self.secrets[key]})

    async def chat(self, key: str, model: str, **body: Any) -> httpx.Response:
        asked = {"model": model, "messages": ASK, "max_tokens": 50, **body}
        return await self.post(key, "/v1/chat/completions", **asked)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with Sandbox(faults={"faults": [BUSY]}) as sandbox:
        settings = Settings.load(
            {},
            None,
            base_url=sandbox.base_url,
            api_key=sandbox.api_key,
            port=0,
            require_key=True,
            data_dir=tmp_path,
            max_retries=2,
            retry_wait_factor=0.0,
            aliases={"quick": MINI},
            fallbacks={HAIKU: [MINI, "anthropic/claude-sonnet-4.5"]},
            models={EMBEDDER: {"prompt_usd_per_mtok": "0.02", "completion_usd_per_mtok": "0"}},
            nodes={"titles": {"model": MINI}},
        )
        async with wiring.make_store(settings) as store:
            secrets = {
                name: (await store.keys.create(name, one))[1] for name, one in SCOPES.items()
            }
            for key, limit in (("broke", "0.00000001"), ("rich", "5")):
                secrets[key] = (await store.keys.create(key, {}))[1]
                budget = Budget(scope="key", value=key, window="day", limit_usd=Decimal(limit))
                await store.budgets.set(budget)
        async with (
            run_gateway(settings) as started,
            httpx.AsyncClient(base_url=started.url, timeout=30, trust_env=False) as client,
        ):
            yield Gateway(client, secrets)


def is_beyond_scope(reply: httpx.Response, scope: str) -> bool:
    return reply.status_code == 403 and f"({scope})" in reply.json()["error"]["message"]


@pytest.mark.parametrize("mode", ["auto", "auto:cheap", "auto:best"])
async def test_the_automatic_choice_keeps_to_the_scope(gateway: Gateway, mode: str) -> None:
    reply = await gateway.chat("openai", mode)
    assert reply.status_code == 200
    assert reply.headers["x-devflow-model"].startswith("openai/")
    assert is_beyond_scope(await gateway.chat("nobody", mode), "no/*")


async def test_an_alias_and_a_node_lead_nowhere_else(gateway: Gateway) -> None:
    for key in ("openai", "all"):
        assert (await gateway.chat(key, "quick")).headers["x-devflow-model"] == MINI
    assert is_beyond_scope(await gateway.chat("claude", "quick"), "anthropic/*")
    node = {"x-devflow-node": "titles", "x-api-key": gateway.secrets["claude"]}
    body = {"model": HAIKU, "messages": ASK}
    reply = await gateway.client.post("/v1/chat/completions", json=body, headers=node)
    assert is_beyond_scope(reply, "anthropic/*")


async def test_fallbacks_beyond_the_scope_are_not_asked(gateway: Gateway) -> None:
    free = await gateway.chat("all", HAIKU)
    bound = await gateway.chat("claude", HAIKU)
    assert free.headers["x-devflow-model"] == MINI
    assert bound.headers["x-devflow-model"] == "anthropic/claude-sonnet-4.5"


async def test_the_providers_own_fallbacks_count(gateway: Gateway) -> None:
    reply = await gateway.chat("openai", MINI, models=[MINI, HAIKU])
    assert is_beyond_scope(reply, "openai/*")


async def test_embeddings_keep_to_the_scope(gateway: Gateway) -> None:
    for key, status in (("openai", 200), ("claude", 403), ("nobody", 403)):
        reply = await gateway.post(key, "/v1/embeddings", model=EMBEDDER, input="one")
        assert reply.status_code == status


async def test_the_budget_of_a_key_stops_it_on_every_paid_route(gateway: Gateway) -> None:
    for key, status in (("broke", 402), ("rich", 200)):
        chat = await gateway.chat(key, "auto")
        embedded = await gateway.post(key, "/v1/embeddings", model=EMBEDDER, input="one")
        assert (chat.status_code, embedded.status_code) == (status, status)


async def test_a_prompt_over_every_window_says_so_in_the_routes_dialect(gateway: Gateway) -> None:
    long = [{"role": "user", "content": "word " * 3_200_000}]
    wording = r"prompt is too long: \d+ tokens > \d+ maximum"
    chat = await gateway.chat("all", "auto", messages=long)
    messages = await gateway.post("all", "/v1/messages", model="auto", max_tokens=50, messages=long)
    assert (chat.status_code, messages.status_code) == (400, 400)
    assert re.search(wording, chat.json()["error"]["message"])
    assert chat.json()["error"]["code"] == "context_length_exceeded"
    assert messages.json()["type"] == "error"
    assert re.match(wording, messages.json()["error"]["message"])
