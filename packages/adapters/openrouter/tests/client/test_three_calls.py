"""The three calls for programs: JSON, text and a stream, by position and by keyword."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from devflow_core.errors import ConfigurationError, StructuredOutputInvalid, UpstreamError
from devflow_openrouter.inference import (
    SYSTEM_KEY_EXHAUSTED,
    get_llm_text_response,
    invoke_llm_for_raw_json,
    stream_llm_response,
)
from devflow_openrouter.testing import (
    CANARY,
    SSE_HEAD,
    GatewayHarness,
    ScriptedUpstream,
    chunked_body,
    error_reply,
    final_events,
    streamed_reply,
    text_event,
)

MODEL = "acme/one"
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}


def messages_of(upstream: ScriptedUpstream, number: int) -> list[dict[str, Any]]:
    return orjson.loads(upstream.requests[number].partition(b"\r\n\r\n")[2])["messages"]


async def test_three_texts_by_position_or_name(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply("Hel", "lo"))
    texts = {"model_name": MODEL, "system_prompt": "Be brief.", "user_prompt": "x"}
    async with harness.build_gateway() as gateway:
        assert await get_llm_text_response(MODEL, "Be brief.", "x", gateway=gateway) == "Hello"
        assert await get_llm_text_response(**texts, gateway=gateway) == "Hello"
        assert await get_llm_text_response("x", system="Be brief.", gateway=gateway) == "Hello"
        assert await get_llm_text_response(prompt="x", gateway=gateway) == "Hello"
        assert await get_llm_text_response(MODEL, "", "x", gateway=gateway) == "Hello"
    roles = [[one["role"] for one in messages_of(upstream, number)] for number in range(5)]
    assert roles == [["system", "user"]] * 3 + [["user"]] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"model_name": "m", "system_prompt": "s"},
        {"model_name": "m", "system_prompt": "s", "user_prompt": "u", "prompt": "p"},
        {"model_name": "m", "prompt": "p"},
    ],
)
async def test_a_call_without_one_prompt_is_a_mistake_of_the_program(wrong: Any) -> None:
    with pytest.raises(TypeError, match="user_prompt"):
        await get_llm_text_response(**wrong)
    with pytest.raises(TypeError, match="user_prompt"):
        stream_llm_response(**wrong)


@pytest.mark.parametrize("form", [SimpleNamespace, dict])
async def test_json_is_an_object_or_none(
    harness: GatewayHarness, upstream: ScriptedUpstream, form: type
) -> None:
    upstream.add_script(streamed_reply('{"age":3}'))
    upstream.add_script(streamed_reply("no")).add_script(streamed_reply('{"a":1}'))
    upstream.add_script(streamed_reply("no"))
    request = form(system_prompt="JSON.", user_prompt="How old?", model_name=MODEL)
    async with harness.build_gateway() as gateway:
        assert await invoke_llm_for_raw_json(request, gateway=gateway) == {"age": 3}
        assert await invoke_llm_for_raw_json(request, gateway=gateway) == {"a": 1}
        assert await invoke_llm_for_raw_json(request, gateway=gateway) is None
        with pytest.raises(TypeError):
            await invoke_llm_for_raw_json(form(model_name=MODEL), gateway=gateway)
    assert [one["role"] for one in messages_of(upstream, 0)] == ["system", "user"]


async def test_a_failed_call_raises_and_is_no_text(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(error_reply(400, "no such field"))
    request: Any = SimpleNamespace(system_prompt="", user_prompt="x", model_name=MODEL)
    async with harness.build_gateway() as gateway:
        with pytest.raises(UpstreamError):
            await get_llm_text_response(MODEL, "", "x", gateway=gateway)
        with pytest.raises(UpstreamError):
            await invoke_llm_for_raw_json(request, gateway=gateway)


async def test_a_schema_is_checked_and_repaired_once(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply('{"age":3}')).add_script(streamed_reply("no"))
    async with harness.build_gateway() as gateway:
        assert await invoke_llm_for_raw_json("x", schema=SCHEMA, gateway=gateway) == {"age": 3}
        with pytest.raises(StructuredOutputInvalid):
            await invoke_llm_for_raw_json(prompt="x", schema=SCHEMA, gateway=gateway)
    assert len(upstream.requests) == 3


async def test_a_stream_tells_chunks_the_whole_and_its_usage(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    usage = {
        "prompt_tokens": 14,
        "completion_tokens": 10,
        "total_tokens": 24,
        "cost": 0.000064,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
    }
    texts = (text_event("Hel"), text_event("lo"), text_event("", "stop"))
    upstream.add_script(SSE_HEAD + chunked_body(*texts, final_events(usage)))
    async with harness.build_gateway() as gateway:
        events = [one async for one in stream_llm_response(MODEL, "s", "x", gateway=gateway)]
        again = [one async for one in stream_llm_response("x", gateway=gateway)]
    assert events == again
    assert events == [
        {"event": "message_chunk", "data": {"chunk": "Hel"}},
        {"event": "message_chunk", "data": {"chunk": "lo"}},
        {"event": "final_response", "data": {"response": "Hello"}},
        {
            "event": "usage",
            "data": {
                "usage": {
                    "total_tokens": 24,
                    "prompt_tokens": 14,
                    "completion_tokens": 10,
                    "cache_read": 4,
                    "cache_write": 3,
                },
                "model": MODEL,
                "provider": "Acme",
                "id": "gen-1780944465-body",
                "cost_usd": "0.000064",
            },
        },
    ]


async def test_a_stream_that_breaks_ends_with_its_error(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(SSE_HEAD + chunked_body(text_event("Hel")))
    async with (
        harness.build_gateway() as gateway,
        stream_llm_response("x", gateway=gateway) as stream,
    ):
        events = [one async for one in stream]
    assert [one["event"] for one in events] == ["message_chunk", "error"]
    data = events[-1]["data"]
    assert data["code"] == "upstream_incomplete"
    assert data["error"] == data["message"] != ""


@pytest.mark.parametrize(
    ("answer", "is_exhausted"),
    [
        (error_reply(402, "Insufficient credits"), True),
        (error_reply(401, "No auth credentials found"), True),
        (error_reply(403, "Key limit exceeded", limit_source="openrouter_key_limit"), True),
        (error_reply(429, "credits", limit_source="openrouter_credits"), True),
        (error_reply(400, "insufficient funds"), True),
        (error_reply(403, "flagged by moderation"), False),
        (error_reply(429, "slow down"), False),
        (error_reply(500), False),
    ],
)
async def test_a_stream_says_when_the_gateways_own_key_is_spent(
    harness: GatewayHarness, upstream: ScriptedUpstream, answer: bytes, *, is_exhausted: bool
) -> None:
    upstream.add_script(answer)
    async with harness.build_gateway(max_retries=1) as gateway:
        events = [one async for one in stream_llm_response("x", gateway=gateway)]
    assert [one["event"] for one in events] == ["error"]
    assert (events[0]["data"]["code"] == SYSTEM_KEY_EXHAUSTED) is is_exhausted


async def test_without_a_key_they_fail_when_they_are_built(
    monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEVFLOW_DATA_DIR", str(tmp_path))
    for name in ("OPENROUTER_API_KEYS", "OPENROUTER_API_KEY", "OPEN_ROUTER_API_KEY",
                 "OPENROUTER_SYSTEM_KEY", "DEVFLOW_API_KEY", "DEVFLOW_API_KEYS"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError):
        stream_llm_response("m", "s", "x")
    with pytest.raises(ConfigurationError):
        await get_llm_text_response("x")
    monkeypatch.setenv("OPENROUTER_API_KEY", CANARY)
    monkeypatch.setenv("OPENROUTER_BASE_URL", upstream.base_url)
    upstream.add_script(streamed_reply())
    named = "anthropic/claude-haiku-4.5"
    assert await get_llm_text_response("x", model=named) == "Hello"
    assert [one["event"] async for one in stream_llm_response("x", model=named)][-1] == "usage"
