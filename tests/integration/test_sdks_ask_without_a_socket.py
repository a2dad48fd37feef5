"""OpenAI's and Anthropic's SDKs ask through `as_httpx_client()` as they would ask the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from devflow_core.ledger import LedgerEntry
from devflow_gateway import AsyncGateway, ConfigurationError, Gateway, Settings
from devflow_sandbox import Sandbox
from devflow_sandbox.threaded import ThreadedSandbox
from devflow_server import run_gateway
from devflow_store import Store
from pydantic import BaseModel

MODEL = "anthropic/claude-haiku-4.5"
EMBEDDER = "openai/text-embedding-3-small"
ASK: list[Any] = [{"role": "user", "content": "Reply with exactly: OK"}]
TOOL_ASK: list[Any] = [{"role": "user", "content": "How warm is it? use the get_weather tool"}]
COUNT: list[Any] = [{"role": "user", "content": "Count from 1 to 40"}]
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
ADDRESS = "http://nowhere.invalid:1/some/proxy/v1"
STALL = {"faults": [{"then": {"kind": "stall", "at": {"event": 9}}}]}
SILENT = {"faults": [{"then": {"kind": "stall", "at": {"byte": 0}}}]}
IMPATIENCE_S = 0.2
"""What a client waits for an upstream that stays silent for ever: it passes on any machine."""
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Forecast(BaseModel):
    city: str
    degrees: int


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as started:
        yield started


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> Settings:
    return make_settings(sandbox, tmp_path)


def make_settings(sandbox: Sandbox | ThreadedSandbox, folder: Path, **more: Any) -> Settings:
    key, url = sandbox.api_key, sandbox.base_url
    given: dict[str, Any] = {"api_key": key, "base_url": url, "data_dir": folder / "data", **more}
    return Settings.load({}, None, **given)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[AsyncGateway]:
    async with AsyncGateway(settings) as opened:
        yield opened


@pytest.fixture
async def to_openai(gateway: AsyncGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    http = gateway.as_httpx_client()
    async with openai.AsyncOpenAI(http_client=http, base_url=ADDRESS, api_key="sk-wrong") as client:
        yield client


@pytest.fixture
async def to_anthropic(gateway: AsyncGateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    http = gateway.as_httpx_client()
    async with anthropic.AsyncAnthropic(
        http_client=http, base_url=ADDRESS, api_key="sk-wrong"
    ) as client:
        yield client


def entries_of(gateway: AsyncGateway) -> list[LedgerEntry]:
    book = gateway.pipeline.book
    assert isinstance(book, Store)
    return list(book.entries())


async def test_a_text_comes_whole_and_in_pieces_and_its_cost_is_in_the_ledger(
    to_openai: openai.AsyncOpenAI, gateway: AsyncGateway
) -> None:
    raw = await to_openai.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)
    assert raw.parse().choices[0].message.content == "OK"
    pieces: list[str] = []
    async with await to_openai.chat.completions.create(
        model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
    ) as stream:
        async for chunk in stream:
            pieces += [one.delta.content or "" for one in chunk.choices]
    assert "".join(pieces) == "OK"
    first, second = entries_of(gateway)
    assert raw.headers["x-devflow-request-id"] == raw.request_id == first.entry_id
    assert raw.headers["x-devflow-model"] == MODEL
    assert Decimal(raw.headers["x-devflow-cost-usd"]) == first.cost_usd > 0
    assert second.cost_usd == first.cost_usd


async def test_responses_embeddings_and_models_are_answered(
    to_openai: openai.AsyncOpenAI, gateway: AsyncGateway
) -> None:
    whole = await to_openai.responses.create(model=MODEL, input="Reply with exactly: OK")
    assert whole.output_text == "OK"
    stream = await to_openai.responses.create(model=MODEL, input="Say ok.", stream=True)
    assert [event.type async for event in stream][-1] == "response.completed"
    vectors = await to_openai.embeddings.create(model=EMBEDDER, input=["a", "b"])
    assert len(vectors.data) == 2
    assert MODEL in [model.id async for model in to_openai.models.list()]
    assert (await to_openai.models.retrieve(MODEL)).id == MODEL
    assert [entry.model for entry in entries_of(gateway)] == [MODEL, MODEL, EMBEDDER]


async def test_tools_and_structured_output_work(to_openai: openai.AsyncOpenAI) -> None:
    function: Any = {"name": "get_weather", "parameters": PARAMETERS}
    reply = await to_openai.chat.completions.create(
        model=MODEL, messages=TOOL_ASK, tools=[{"type": "function", "function": function}]
    )
    calls: Any = reply.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather"]
    parsed = await to_openai.chat.completions.parse(
        model=MODEL, messages=ASK, response_format=Forecast
    )
    assert isinstance(parsed.choices[0].message.parsed, Forecast)


async def test_anthropics_messages_tools_and_counts_work(
    to_anthropic: anthropic.AsyncAnthropic, gateway: AsyncGateway
) -> None:
    whole = await to_anthropic.messages.create(model=MODEL, max_tokens=100, messages=ASK)
    assert whole.content[0].type == "text"
    assert whole.content[0].text == "OK"
    async with to_anthropic.messages.stream(model=MODEL, max_tokens=100, messages=ASK) as stream:
        assert "".join([text async for text in stream.text_stream]) == "OK"
    called = await to_anthropic.messages.create(
        model=MODEL,
        max_tokens=1_000,
        messages=TOOL_ASK,
        tools=[{"name": "get_weather", "input_schema": PARAMETERS}],
    )
    assert "get_weather" in [part.name for part in called.content if part.type == "tool_use"]
    counted = await to_anthropic.messages.count_tokens(model=MODEL, messages=ASK)
    assert counted.input_tokens > 0
    assert [entry.outcome for entry in entries_of(gateway)] == ["succeeded"] * 3


WRONG: list[tuple[str, dict[str, str], int]] = [
    ("no/such-model", {}, 404),
    (MODEL, {"X-DevFlow-Max-Cost-Usd": "0.000000001"}, 402),
    (MODEL, {"X-DevFlow-Max-Cost-Usd": "much"}, 400),
]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_errors_are_the_sdks_own_classes(
    to_openai: openai.AsyncOpenAI, to_anthropic: anthropic.AsyncAnthropic, *, is_stream: bool
) -> None:
    for model, headers, status in WRONG:
        with pytest.raises(openai.APIStatusError) as of_openai:
            await to_openai.chat.completions.create(
                model=model, messages=ASK, extra_headers=headers, stream=is_stream
            )
        with pytest.raises(anthropic.APIStatusError) as of_anthropic:
            await to_anthropic.messages.create(
                model=model, max_tokens=9, messages=ASK, extra_headers=headers, stream=is_stream
            )
        assert of_openai.value.status_code == of_anthropic.value.status_code == status
        assert str(of_openai.value.request_id).startswith("req_")
        assert str(of_anthropic.value.request_id).startswith("req_")
        if status == 404:
            assert isinstance(of_openai.value, openai.NotFoundError)
            assert isinstance(of_anthropic.value, anthropic.NotFoundError)


async def test_who_leaves_a_stream_early_cancels_the_call(
    to_openai: openai.AsyncOpenAI, sandbox: Sandbox, gateway: AsyncGateway
) -> None:
    sandbox.set_faults(STALL)
    async with await to_openai.chat.completions.create(
        model=MODEL, messages=COUNT, stream=True
    ) as stream:
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
    assert [entry.outcome for entry in entries_of(gateway)] == ["cancelled"]


async def test_a_clients_time_out_ends_the_call(
    to_openai: openai.AsyncOpenAI,
    to_anthropic: anthropic.AsyncAnthropic,
    sandbox: Sandbox,
    gateway: AsyncGateway,
    eventually: Eventually,
) -> None:
    sandbox.set_faults(SILENT)
    impatient = to_openai.with_options(timeout=IMPATIENCE_S, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        await impatient.chat.completions.create(model=MODEL, messages=ASK)
    with pytest.raises(anthropic.APITimeoutError):
        await to_anthropic.with_options(timeout=IMPATIENCE_S, max_retries=0).messages.create(
            model=MODEL, max_tokens=9, messages=ASK
        )
    await eventually(lambda: len(entries_of(gateway)) == 2)
    assert [entry.outcome for entry in entries_of(gateway)] == ["cancelled"] * 2
    sandbox.set_faults(STALL)
    reader = to_openai.with_options(timeout=IMPATIENCE_S, max_retries=0)
    with pytest.raises(openai.APITimeoutError):  # in the stream; on a busy machine before it
        _ = [
            chunk
            async for chunk in await reader.chat.completions.create(
                model=MODEL, messages=COUNT, stream=True
            )
        ]
    await eventually(lambda: len(entries_of(gateway)) == 3)
    assert entries_of(gateway)[2].outcome == "cancelled"


async def test_labels_and_idempotency_keys_of_headers_hold(
    to_openai: openai.AsyncOpenAI, gateway: AsyncGateway, sandbox: Sandbox
) -> None:
    headers = {"Idempotency-Key": "once", "X-DevFlow-Project": "shop"}
    first, second = [
        await to_openai.chat.completions.with_raw_response.create(
            model=MODEL, messages=ASK, extra_headers=headers
        )
        for _ in range(2)
    ]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    (entry,) = entries_of(gateway)
    assert entry.attribution.project == "shop"
    assert len(sandbox.bill()["calls"]) == 1


async def test_a_ledger_in_memory_refuses_idempotency_keys(settings: Settings) -> None:
    async with (
        AsyncGateway(settings, ledger="memory") as gateway,
        openai.AsyncOpenAI(http_client=gateway.as_httpx_client(), api_key="any") as client,
    ):
        reply = await client.chat.completions.create(model=MODEL, messages=ASK)
        assert reply.choices[0].message.content == "OK"
        with pytest.raises(openai.BadRequestError, match="durable ledger"):
            await client.chat.completions.create(
                model=MODEL, messages=ASK, extra_headers={"Idempotency-Key": "once"}
            )


CHAT: dict[str, Any] = {"model": MODEL, "messages": ASK, "max_tokens": 50}
ASKED: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/chat/completions", CHAT | {"stream": True}),
    ("POST", "/v1/messages", CHAT),
    ("POST", "/v1/messages", CHAT | {"stream": True}),
    ("POST", "/v1/messages/count_tokens", CHAT),
    ("POST", "/v1/responses", {"model": MODEL, "input": "Reply with exactly: OK"}),
    ("POST", "/v1/embeddings", {"model": EMBEDDER, "input": "a"}),
    ("POST", "/v1/chat/completions", {"model": MODEL}),
    ("POST", "/v1/chat/completions", CHAT | {"model": "no/such"}),
    ("POST", "/v1/messages", CHAT | {"model": "no/such"}),
    ("POST", "/v1/embeddings", {"model": EMBEDDER}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models?limit=1", None),
    ("HEAD", "/v1/models", None),
    ("GET", "/v1/messages", None),
    ("POST", "/v1/images/generations", {"prompt": "a"}),
]
OF_HTTP = {"date", "transfer-encoding", "content-length"}


async def test_the_same_request_has_the_same_answer_over_a_socket_and_without(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = make_settings(sandbox, tmp_path, port=0, require_key=False)
    async with (
        run_gateway(settings) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as over_socket,
        AsyncGateway(settings) as gateway,
        gateway.as_httpx_client(library="httpx") as in_process,
    ):
        for method, path, body in ASKED:
            theirs = await over_socket.request(method, path, json=body)
            ours = await in_process.request(method, f"http://any.invalid{path}", json=body)
            case = (method, path, body)
            assert ours.status_code == theirs.status_code, case
            assert set(ours.headers) - OF_HTTP == set(theirs.headers) - OF_HTTP, case
            assert len(ours.content) == pytest.approx(len(theirs.content), rel=0.05), case


BASE_URLS = ("http://a.invalid/v1", "http://a.invalid", "https://api.openai.com/v1", ADDRESS)


async def test_any_base_url_will_do(gateway: AsyncGateway) -> None:
    for url in BASE_URLS:
        http = gateway.as_httpx_client()
        async with openai.AsyncOpenAI(http_client=http, base_url=url, api_key="any") as client:
            assert (await client.models.retrieve(MODEL)).id == MODEL


def test_blocking_sdks_ask_through_a_synchronous_gateway(
    openrouter_sandbox: ThreadedSandbox, tmp_path: Path
) -> None:
    settings = make_settings(openrouter_sandbox, tmp_path)
    with (
        Gateway(settings) as gateway,
        openai.OpenAI(http_client=gateway.as_httpx_client(), api_key="any") as to_openai,
        anthropic.Anthropic(http_client=gateway.as_httpx_client(), api_key="any") as to_anthropic,
    ):
        whole = to_openai.chat.completions.create(model=MODEL, messages=ASK)
        assert whole.choices[0].message.content == "OK"
        with to_anthropic.messages.stream(model=MODEL, max_tokens=99, messages=ASK) as stream:
            assert "".join(stream.text_stream) == "OK"
        with pytest.raises(openai.NotFoundError):
            to_openai.chat.completions.create(model="no/such", messages=ASK)
        openrouter_sandbox.set_faults(STALL)
        with to_openai.chat.completions.create(model=MODEL, messages=COUNT, stream=True) as left:
            next(iter(left))
        openrouter_sandbox.set_faults(SILENT)
        with pytest.raises(openai.APITimeoutError):
            to_openai.with_options(timeout=IMPATIENCE_S, max_retries=0).chat.completions.create(
                model=MODEL, messages=ASK
            )
    outcomes = [entry.outcome for entry in Store(settings.data_dir / "ledger.db").entries()]
    assert outcomes == ["succeeded", "succeeded", "failed", "cancelled", "cancelled"]


async def test_an_asynchronous_client_of_a_synchronous_gateway_serves_any_loop(
    openrouter_sandbox: ThreadedSandbox, tmp_path: Path, eventually: Eventually
) -> None:
    settings = make_settings(openrouter_sandbox, tmp_path)
    ledger = Store(settings.data_dir / "ledger.db")
    with Gateway(settings) as gateway:
        http = gateway.as_async_httpx_client()
        async with openai.AsyncOpenAI(http_client=http, api_key="any") as client:
            stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
            chunks = [chunk async for chunk in stream]
            openrouter_sandbox.set_faults(SILENT)
            asking = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=ASK))
            await eventually(lambda: len(openrouter_sandbox.bill()["calls"]) == 2)
            asking.cancel()
            await eventually(lambda: len(list(ledger.entries())) == 2)
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text == "OK"
    assert [entry.outcome for entry in ledger.entries()] == ["succeeded", "cancelled"]


def test_a_client_may_be_closed_after_its_gateway(
    openrouter_sandbox: ThreadedSandbox, tmp_path: Path
) -> None:
    with Gateway(make_settings(openrouter_sandbox, tmp_path)) as gateway:
        client = openai.OpenAI(http_client=gateway.as_httpx_client(), api_key="any")
        assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(ConfigurationError, match="closed"):
        client.models.retrieve(MODEL)
    client.close()


async def test_clients_are_of_the_library_that_is_asked_for(gateway: AsyncGateway) -> None:
    async with (
        gateway.as_httpx_client() as usual,
        gateway.as_httpx_client(library="httpx") as older,
    ):
        assert isinstance(usual, httpx2.AsyncClient)
        assert isinstance(older, httpx.AsyncClient)
        for client in (usual, older):
            reply = await client.post("chat/completions", json=CHAT)
            assert reply.json()["choices"][0]["message"]["content"] == "OK"
