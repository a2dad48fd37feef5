"""The SDKs people already use, pointed at the whole gateway over the stand-in, just work."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import openrouter
import pytest
from devflow_core.settings import Settings
from devflow_sandbox import Sandbox
from devflow_server import RunningGateway, run_gateway
from devflow_store import Store

MODEL = "anthropic/claude-haiku-4.5"
ASK: list[Any] = [{"role": "user", "content": "Why does test_login fail on the second run?"}]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with Sandbox() as sandbox:
        settings = Settings.load(
            {},
            None,
            base_url=sandbox.base_url,
            api_key=sandbox.api_key,
            port=0,
            require_key=False,
            data_dir=tmp_path,
        )
        async with run_gateway(settings) as started:
            yield started


async def test_openai_chat_completions(gateway: RunningGateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
        whole = await client.chat.completions.create(model=MODEL, messages=ASK)
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        models = [model.id async for model in await client.models.list()]
    assert whole.choices[0].message.content
    assert whole.usage is not None
    assert whole.usage.total_tokens > 0
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text
    assert chunks[-1].usage is not None
    assert MODEL in models


async def test_openai_responses(gateway: RunningGateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
        whole = await client.responses.create(model=MODEL, input="Say ok.")
        stream = await client.responses.create(model=MODEL, input="Say ok.", stream=True)
        kinds = [event.type async for event in stream]
    assert whole.output_text
    assert whole.usage is not None
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


async def test_openai_errors_have_their_classes(gateway: RunningGateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="no/such-model", messages=ASK)


async def test_anthropic_messages(gateway: RunningGateway) -> None:
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none") as client:
        whole = await client.messages.create(model=MODEL, max_tokens=200, messages=ASK)
        async with client.messages.stream(model=MODEL, max_tokens=200, messages=ASK) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            last = await stream.get_final_message()
        count = await client.messages.count_tokens(model=MODEL, messages=ASK)
    assert whole.content[0].type == "text"
    assert text
    assert last.usage.output_tokens > 0
    assert last.stop_reason == "end_turn"
    assert count.input_tokens > 0


async def test_a_prompt_over_the_named_models_window_has_the_wording_clients_know(
    gateway: RunningGateway,
) -> None:
    long: list[Any] = [{"role": "user", "content": "word " * 1_000_000}]
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none") as client:
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.messages.create(model=MODEL, max_tokens=200, messages=long)
    assert re.search(r"prompt is too long: \d+ tokens > 200000 maximum", str(refused.value))


async def test_open_connections_are_told(gateway: RunningGateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as client:
        await client.get("/healthz")
        async with asyncio.timeout(60):
            metrics = ""
            while 'devflow_connections{worker="0"} 1.0' not in metrics:
                await asyncio.sleep(0.1)  # a sweep counts them
                metrics = (await client.get("/metrics")).text


async def test_the_official_openrouter_sdk(gateway: RunningGateway) -> None:
    def ask() -> Any:
        with openrouter.OpenRouter(api_key="none", server_url=f"{gateway.url}/api/v1") as client:
            return client.chat.send(model=MODEL, messages=ASK)

    reply = await asyncio.to_thread(ask)
    assert reply.choices[0].message.content


async def test_embeddings_are_passed_through_and_booked(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
        reply = await client.embeddings.create(
            model="openai/text-embedding-3-small", input=["one", "two"], encoding_format="float"
        )
        with pytest.raises(openai.BadRequestError):
            await client.embeddings.create(model="openai/text-embedding-3-small", input=[])
    assert len(reply.data) == 2
    (entry,) = [one for one in Store(tmp_path / "ledger.db").entries() if one.attempts]
    assert entry.outcome == "succeeded"
    assert entry.usage.prompt_tokens == reply.usage.prompt_tokens > 0
    assert entry.cost_usd > 0
