"""What the service object answers, sends and promises."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import structlog.testing
from devflow_core.errors import ConfigurationError
from devflow_core.memory import MemoryBook
from devflow_openrouter.service import (
    OpenRouterConfigError,
    OpenRouterRejectedError,
    OpenRouterSchemaError,
    OpenRouterService,
    OpenRouterServiceError,
    OpenRouterTimeoutError,
    SyncOpenRouterService,
)
from devflow_openrouter.testing import (
    CANARY,
    SSE_HEAD,
    ScriptedUpstream,
    chunked_body,
    error_reply,
    final_events,
    http_reply,
    streamed_reply,
    text_event,
)

MakeService = Callable[..., OpenRouterService]
MODEL = "anthropic/claude-haiku-4.5"
HELLO = [{"role": "user", "content": "Hello?"}]
AGE = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"age": {"type": "integer"}},
            "required": ["age"],
            "additionalProperties": False,
        },
    },
}
WHOLE = {
    "id": "gen-1",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "cost": 0.00001},
}


def body_of(upstream: ScriptedUpstream, number: int) -> dict[str, Any]:
    return orjson.loads(upstream.requests[number].partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("kind", [OpenRouterService, SyncOpenRouterService])
def test_the_signature_is_the_one_that_its_users_know(kind: type) -> None:
    parameters = inspect.signature(kind).parameters
    assert [
        (one.name, one.kind is one.KEYWORD_ONLY, one.default) for one in parameters.values()
    ] == [
        ("api_key", False, inspect.Parameter.empty),
        ("model_name", False, "openrouter/azure/gpt-4o"),
        ("base_url", True, "https://openrouter.ai/api/v1"),
        ("timeout", True, 30.0),
        ("max_retries", True, 3),
        ("backoff_factor", True, 2.0),
        ("default_system_prompt", True, None),
        ("default_response_format", True, None),
        ("http_client", True, None),
    ]


def test_the_methods_are_those_that_its_users_know() -> None:
    called = inspect.signature(OpenRouterService.chat_completion).parameters
    assert list(called) == ["self", "messages", "model_params", "response_format"]
    assert called["model_params"].kind is called["model_params"].KEYWORD_ONLY
    assert inspect.iscoroutinefunction(OpenRouterService.chat_completion)
    assert inspect.iscoroutinefunction(OpenRouterService.generate_completion)
    assert inspect.iscoroutinefunction(OpenRouterService.ahealth_check)
    assert not inspect.iscoroutinefunction(OpenRouterService.health_check)


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_neither_is_built(key: str | None) -> None:
    for kind in (OpenRouterService, SyncOpenRouterService):
        with pytest.raises(OpenRouterConfigError, match="api_key") as caught:
            kind(key)
        assert isinstance(caught.value, ConfigurationError)
        assert caught.value.user_message


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"max_retries": 0},
        {"backoff_factor": -1},
        {"base_url": "http://not.loopback/api"},
    ],
)
def test_a_service_that_cannot_work_is_not_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(OpenRouterConfigError):
        OpenRouterService(CANARY, **wrong)


async def test_a_reply_is_parsed_in_openais_shape(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply("Hel", "lo"))
    reply = await make_service().chat_completion(HELLO)
    assert reply["object"] == "chat.completion"
    assert reply["choices"][0]["message"]["content"] == "Hello"
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["total_tokens"] == 24
    assert reply["devflow"]["cost_usd"] == "0.000064"


async def test_every_field_of_the_api_passes(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply())
    params: dict[str, Any] = {
        "model": "anthropic/claude-sonnet-4.5", "temperature": 0.2, "max_tokens": 7, "top_p": 0.9,
        "top_k": 4, "min_p": 0.1, "seed": 3, "stop": ["x"], "logit_bias": {"1": 2},
        "frequency_penalty": 0.5, "metadata": {"team": "a"}, "user": "u-1",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "reasoning": {"effort": "low"}, "provider": {"sort": "price"}, "a_field_to_come": [1],
    }  # fmt: skip
    await make_service().chat_completion(HELLO, model_params=params)
    sent = body_of(upstream, 0)
    assert {name: sent.get(name) for name in params} == params
    assert sent["messages"] == HELLO


async def test_a_prompt_becomes_its_text(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply("one"))
    service = make_service(default_system_prompt="Be brief.")
    assert await service.generate_completion("x", temperature=0.2, model_params={"top_p": 1}) == (
        "one"
    )
    sent = body_of(upstream, 0)
    assert [one["role"] for one in sent["messages"]] == ["system", "user"]
    assert (sent["temperature"], sent["top_p"]) == (0.2, 1)


async def test_a_system_message_of_ones_own_replaces_the_default(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply())
    own = [{"role": "system", "content": "Mine."}, *HELLO]
    await make_service(default_system_prompt="Be brief.").chat_completion(own)
    assert body_of(upstream, 0)["messages"] == own


async def test_the_model_may_change_and_the_address_may_not(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply())
    service = make_service()
    assert (service.model_name, service.base_url) == (MODEL, upstream.base_url)
    service.model_name = "openai/gpt-4o"
    await service.chat_completion(HELLO)
    assert body_of(upstream, 0)["model"] == "openai/gpt-4o"
    with pytest.raises(AttributeError):
        service.base_url = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("named", "model", "only"),
    [
        ("openrouter/azure/gpt-4o", "openai/gpt-4o", ["azure"]),
        ("azure/gpt-4o", "openai/gpt-4o", ["azure"]),
        ("openrouter/openai/gpt-4o", "openai/gpt-4o", None),
        ("openai/gpt-4o", "openai/gpt-4o", None),
        ("groq/openai/gpt-oss-120b", "openai/gpt-oss-120b", ["groq"]),
    ],
)
async def test_a_name_may_begin_with_a_router_and_a_provider(
    make_service: MakeService,
    upstream: ScriptedUpstream,
    named: str,
    model: str,
    only: list[str] | None,
) -> None:
    upstream.add_script(streamed_reply())
    await make_service(named).chat_completion(HELLO)
    sent = body_of(upstream, 0)
    assert (sent["model"], sent.get("provider", {}).get("only")) == (model, only)


async def test_a_retired_model_goes_to_its_successor_with_a_line_in_the_log(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply())
    with structlog.testing.capture_logs() as logs:
        await make_service("anthropic/claude-3-opus").chat_completion(HELLO)
    sent = body_of(upstream, 0)["model"]
    assert sent.startswith("anthropic/claude-opus-")
    assert any(
        one["event"] == "model.substituted" and one["requested"] == "anthropic/claude-3-opus"
        for one in logs
    )


async def test_a_reply_that_breaks_its_schema_tells_each_violation_in_three_languages(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply('{"age":"three","x":1}'))
    service = make_service()
    service.options.language = "pl"
    with pytest.raises(OpenRouterSchemaError) as caught:
        await service.chat_completion(HELLO, response_format=AGE)
    error = caught.value
    assert error.reply == '{"age":"three","x":1}'
    assert len(error.violations) == 2
    assert error.user_message == error.user_message_in("pl") != error.user_message_in("en")
    assert "Spróbuj" in error.user_message
    assert "Riprova" in error.user_message_in("it-IT,it;q=0.9,en;q=0.8")
    assert error.user_message_in("fr") == error.user_message_in("en")


async def test_a_default_format_holds_unless_a_call_brings_its_own(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply('{"age":3}')).add_script(streamed_reply('{"b":1}'))
    service = make_service(default_response_format=AGE)
    reply = await service.chat_completion(HELLO)
    assert reply["choices"][0]["message"]["content"] == '{"age":3}'
    assert body_of(upstream, 0)["response_format"] == AGE
    await service.chat_completion(HELLO, response_format={"type": "json_object"})
    assert body_of(upstream, 1)["response_format"] == {"type": "json_object"}


async def test_health_is_asked_without_a_loop_within_one_and_by_await(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    for _ in range(3):
        upstream.add_script(http_reply(b'{"data":[]}'))
    upstream.add_script(error_reply(503))
    service = make_service()
    assert await asyncio.to_thread(service.health_check)
    assert await service.ahealth_check()
    assert upstream.requests[0].startswith(b"GET /api/v1/models?limit=1 ")
    async with own_thread_upstream() as (address, _):
        # the upstream cannot share this loop, which the call blocks
        assert OpenRouterService(CANARY, base_url=address).health_check() is True
    assert await service.ahealth_check()
    assert not await service.ahealth_check()
    assert OpenRouterService(CANARY, base_url="http://127.0.0.1:9/api/v1").health_check() is False


@asynccontextmanager
async def own_thread_upstream() -> AsyncGenerator[tuple[str, ScriptedUpstream]]:
    """An upstream in a thread of its own, for callers that block their loop."""
    here = asyncio.get_running_loop()
    ready = asyncio.Queue[tuple[ScriptedUpstream, asyncio.AbstractEventLoop, asyncio.Event]]()

    async def serve() -> None:
        async with ScriptedUpstream().add_script(http_reply(b'{"data":[]}')).serve() as upstream:
            done = asyncio.Event()
            found = (upstream, asyncio.get_running_loop(), done)
            here.call_soon_threadsafe(ready.put_nowait, found)
            await done.wait()

    serving = asyncio.create_task(asyncio.to_thread(asyncio.run, serve()))
    upstream, loop, done = await ready.get()
    try:
        yield upstream.base_url, upstream
    finally:
        loop.call_soon_threadsafe(done.set)
        await serving


async def test_calls_go_over_a_client_of_httpx() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=WHOLE if request.method == "POST" else {"data": []})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        service = OpenRouterService(CANARY, http_client=client)
        service.options.ledger = MemoryBook()
        async with service:
            assert await service.generate_completion("Hello?") == "Hi."
            assert service.health_check()
            assert await service.ahealth_check()
        assert not client.is_closed
    assert str(seen[0].url) == "https://openrouter.ai/api/v1/chat/completions"
    assert seen[0].headers["authorization"] == f"Bearer {CANARY}"
    assert str(seen[1].url).startswith("https://openrouter.ai/api/v1/models")


class Reply:
    """A response as other HTTP clients give it."""

    def __init__(self, body: dict[str, Any], status: int = 200) -> None:
        self.status_code = status
        self._body = body

    def json(self) -> dict[str, Any]:
        return self._body


class OwnClient:
    """An HTTP client of a program's own, with the three methods and nothing else."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def post(self, url: str, **options: Any) -> Reply:
        self.calls.append((url, options))
        return self.replies.pop(0)

    async def get(self, url: str, **options: Any) -> Reply:
        self.calls.append((url, options))
        return self.replies.pop(0)

    def stream(self, method: str, url: str, **options: Any) -> Any:
        raise AssertionError("post is enough")


class NoBody:
    """A response with a status and nothing else."""

    status_code = 200


class BrokenBody(NoBody):
    """A response whose body is not JSON."""

    def json(self) -> object:
        raise ValueError("no JSON")


class NoPlainBody(NoBody):
    """A response whose body is none of JSON's types."""

    def json(self) -> object:
        return object()


@pytest.mark.parametrize("reply", [object(), NoBody(), BrokenBody(), NoPlainBody()])
async def test_a_response_without_a_body_is_an_error_of_the_service(reply: Any) -> None:
    client = OwnClient(reply, reply, reply, reply)
    service = OpenRouterService(CANARY, MODEL, http_client=client, max_retries=1)
    service.options.ledger = MemoryBook()
    async with service:
        with pytest.raises(OpenRouterServiceError, match="http_client"):
            await service.generate_completion("Hello?")
        assert not await service.ahealth_check()


async def test_calls_go_over_anything_with_its_methods() -> None:
    client = OwnClient(Reply(WHOLE), Reply({"error": {"code": 400, "message": "no"}}, 400))
    client.replies += [Reply({"data": []}), Reply({"data": []})]
    service = OpenRouterService(CANARY, MODEL, http_client=client, timeout=70.0)
    service.options.ledger = MemoryBook()
    async with service:
        assert await service.generate_completion("Hello?") == "Hi."
        with pytest.raises(OpenRouterRejectedError):
            await service.generate_completion("Hello?")
        assert service.health_check()
        assert await service.ahealth_check()
    url, options = client.calls[0]
    assert url == "https://openrouter.ai/api/v1/chat/completions"
    assert options["json"]["model"] == MODEL
    assert options["timeout"] == 70.0
    assert options["headers"]["Authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize("comments", [5, 0])
async def test_comments_while_a_model_thinks_are_no_silence(
    make_service: MakeService, upstream: ScriptedUpstream, loop_clock: Any, comments: int
) -> None:
    comment = chunked_body(b": OPENROUTER PROCESSING\n\n", end=b"")
    thinking = [20.0, *([comment, 20.0] * comments)] if comments else [100.0]
    rest = chunked_body(text_event("Hi."), text_event("", "stop"), final_events())
    upstream.add_script(SSE_HEAD, *thinking, rest)
    service = make_service(timeout=30.0, max_retries=1)
    asked = asyncio.create_task(service.generate_completion("Hello?"))
    await loop_clock.run_until(asked.done, step_s=0.5)
    if comments:
        assert await asked == "Hi."
    else:
        with pytest.raises(OpenRouterTimeoutError):
            await asked


async def test_a_service_belongs_to_one_loop_and_says_so(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply())
    service = make_service()
    await service.chat_completion(HELLO)

    def elsewhere() -> None:
        asyncio.run(service.generate_completion("x"))

    with pytest.raises(OpenRouterConfigError, match="SyncOpenRouterService"):
        await asyncio.to_thread(elsewhere)


async def test_a_closed_service_opens_again(
    make_service: MakeService, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply("one")).add_script(streamed_reply("two"))
    service = make_service()
    async with service:
        assert await service.generate_completion("x") == "one"
    assert await service.generate_completion("x") == "two"


async def test_calls_stand_in_the_ledger_of_the_settings(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.add_script(streamed_reply())
    async with OpenRouterService(CANARY, MODEL, base_url=upstream.base_url) as service:
        reply = await service.chat_completion(HELLO)
    from devflow_core.settings import Settings
    from devflow_store import make_store

    store = make_store(Settings.load())
    entries = list(store.entries())
    assert [one.entry_id for one in entries] == [reply["devflow"]["entry_id"]]
    assert entries[0].model == MODEL
    assert CANARY not in repr(entries)
