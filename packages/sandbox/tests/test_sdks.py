"""The official SDKs of OpenRouter, OpenAI and Anthropic hold conversations with the sandbox."""

from __future__ import annotations

import json
import warnings
from typing import Any

import anthropic
import openai
import pytest
from devflow_sandbox.threaded import ThreadedSandbox
from pydantic import BaseModel

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the generated SDK's own, at import
    from openrouter import OpenRouter, errors
    from openrouter.utils import BackoffStrategy, RetryConfig

USER: list[dict[str, Any]] = [{"role": "user", "content": "Use the lookup tool, please."}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
FUNCTION = {"type": "function", "function": {"name": "lookup", "parameters": SCHEMA}}
CLAUDE, GPT = "anthropic/claude-sonnet-4.5", "openai/gpt-5-mini"


class Verdict(BaseModel):
    is_right: bool
    reasons: list[str]


def fail(sandbox: ThreadedSandbox, **then: Any) -> None:
    sandbox.set_faults({"faults": [{"then": then}]})


def official(sandbox: ThreadedSandbox, key: str | None = None) -> OpenRouter:
    return OpenRouter(
        api_key=key or sandbox.api_key,
        server_url=sandbox.base_url,
        retry_config=RetryConfig("none", BackoffStrategy(1, 1, 1, 1), False),
        timeout_ms=60_000,
    )


def test_openrouters_sdk_talks_streams_and_calls_tools(
    openrouter_sandbox: ThreadedSandbox,
) -> None:
    with official(openrouter_sandbox) as client:
        chat: Any = client.chat
        reply = chat.send(model=CLAUDE, messages=USER, tools=[FUNCTION])
        (call,) = reply.choices[0].message.tool_calls
        assert json.loads(call.function.arguments)["name"]
        conversation = [
            *USER,
            {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
            {"role": "tool", "tool_call_id": call.id, "content": "found"},
        ]
        reply = chat.send(model=CLAUDE, messages=conversation, tools=[FUNCTION])
        assert reply.choices[0].finish_reason == "stop"
        with chat.send(model=CLAUDE, messages=USER, stream=True) as stream:
            events = list(stream)
        assert events[-1].usage.cost > 0
        models: Any = client.models.list()
        assert models.result.data
        generation: Any = client.responses
        response = generation.send(model=GPT, input="hi")
        assert response.usage.total_tokens > 0
        embedded: Any = client.embeddings
        vector = embedded.generate(model="openai/text-embedding-3-small", input="a")
        assert len(vector.data[0].embedding) == 1536


@pytest.mark.filterwarnings("ignore:.*DEPRECATED:DeprecationWarning")
def test_openrouters_sdk_reads_the_account(openrouter_sandbox: ThreadedSandbox) -> None:
    with official(openrouter_sandbox) as client:
        chat: Any = client.chat
        name = chat.send(model=CLAUDE, messages=USER).id
        openrouter_sandbox.advance(1)
        known: Any = client.generations.get_generation(id=name)
        assert known.data.total_cost > 0
        key: Any = client.api_keys.get_current_key_metadata()
        assert key.data.usage == known.data.total_cost
        assert client.providers.list().data
        served: Any = client.endpoints.list(author="openai", slug="gpt-5-mini")
        assert served.data.endpoints
    with official(openrouter_sandbox, openrouter_sandbox.management_key) as client:
        credits: Any = client.credits.get_credits()
        assert credits.data.total_credits == 100


@pytest.mark.parametrize(
    ("preset", "error"),
    [
        ("no_credits", errors.PaymentRequiredResponseError),
        ("rate_limited", errors.TooManyRequestsResponseError),
        ("context_too_long", errors.BadRequestResponseError),
    ],
)
def test_openrouters_sdk_understands_the_errors(
    openrouter_sandbox: ThreadedSandbox, preset: str, error: type[Exception]
) -> None:
    fail(openrouter_sandbox, kind="status", preset=preset)
    with official(openrouter_sandbox) as client:
        chat: Any = client.chat
        with pytest.raises(error):
            chat.send(model=CLAUDE, messages=USER)
        fail(openrouter_sandbox, kind="error_event", at={"event": 2})
        with chat.send(model=CLAUDE, messages=USER, stream=True) as stream:
            last = list(stream)[-1]
    assert last.error.code == 502


def test_openais_sdk_talks_streams_calls_tools_and_parses(
    openrouter_sandbox: ThreadedSandbox,
) -> None:
    url, key = openrouter_sandbox.base_url, openrouter_sandbox.api_key
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        chat: Any = client.chat.completions
        parsed = chat.parse(model=GPT, messages=USER, response_format=Verdict)
        assert isinstance(parsed.choices[0].message.parsed, Verdict)
        assert parsed.usage.cost > 0
        stream: Any = chat.create(model=GPT, messages=USER, tools=[FUNCTION], stream=True)
        deltas: list[Any] = [chunk.choices[0].delta for chunk in stream]
        calls: list[Any] = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
        pieces = [str(call.function.arguments or "") for call in calls]
        assert json.loads("".join(pieces))["name"]
        responses: Any = client.responses
        with responses.stream(model=GPT, input="Why does it fail?") as events:
            kinds = [event.type for event in events]
            assert events.get_final_response().output_text
        assert kinds[-1] == "response.completed"
        assert client.models.list().data
        fail(openrouter_sandbox, kind="status", status=503)
        with pytest.raises(openai.InternalServerError):
            chat.create(model=GPT, messages=USER)
        fail(openrouter_sandbox, kind="error_event", at={"event": 1})
        with pytest.raises(openai.APIError):
            list(chat.create(model=GPT, messages=USER, stream=True))


def test_anthropics_sdk_talks_thinks_streams_and_calls_tools(
    openrouter_sandbox: ThreadedSandbox,
) -> None:
    url, key = openrouter_sandbox.anthropic_url, openrouter_sandbox.api_key
    with anthropic.Anthropic(base_url=url, auth_token=key, api_key=None, max_retries=0) as client:
        messages: Any = client.messages
        options: dict[str, Any] = {"model": CLAUDE, "max_tokens": 4000, "messages": USER}
        tools = [{"name": "lookup", "input_schema": SCHEMA}]
        with messages.stream(
            **options, tools=tools, thinking={"type": "enabled", "budget_tokens": 1024}
        ) as stream:
            reply = stream.get_final_message()
        thought, call = reply.content
        assert (thought.type, bool(thought.signature)) == ("thinking", True)
        assert call.input["name"]
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "found"}
        turns = [
            *USER,
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": [result]},
        ]
        last = messages.create(**{**options, "messages": turns}, tools=tools)
        assert (last.stop_reason, last.content[0].type) == ("end_turn", "text")
        parsed = messages.parse(**options, output_format=Verdict)
        assert isinstance(parsed.parsed_output, Verdict)
        with pytest.raises(anthropic.NotFoundError):
            messages.count_tokens(model=CLAUDE, messages=USER)
        fail(openrouter_sandbox, kind="status", preset="rate_limited")
        with pytest.raises(anthropic.RateLimitError):
            messages.create(**options)
        fail(openrouter_sandbox, kind="error_event", at={"event": 3})
        with pytest.raises(anthropic.APIError), messages.stream(**options) as stream:
            stream.get_final_message()
