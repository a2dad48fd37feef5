"""Streams of OpenAI's chat dialect at the door: one role, one reason, calls with numbers, UTF-8."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
from devflow_core.settings import Settings
from devflow_core.wire import SseReader
from devflow_sandbox import Sandbox
from devflow_server.serving import run_gateway
from integration.upstream_door import MODEL, open_door, streamed

CALLS: list[tuple[str, dict[str, str]]] = [
    ("get_weather", {"city": "Köln"}),
    ("now", {}),
    ("get_weather", {"city": "Rom"}),
]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "now")
]
TURNS: list[dict[str, Any]] = [
    {
        "when": {"after_tool": False},
        "reply": {
            "text": "Let me look.",
            "tool_calls": [{"name": name, "arguments": value} for name, value in CALLS],
        },
        "repeat": True,
    },
    {"when": {}, "reply": {"text": "It rains."}, "repeat": True},
]
FORMS = [None, "duplicate", "gap", "ids", "split", "object"]


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[tuple[Sandbox, str]]:
    """A stand-in whose replies call tools, and the URL of a gateway before it."""
    async with Sandbox(script={"turns": TURNS}) as sandbox:
        settings = Settings.load(
            {}, base_url=sandbox.base_url, api_key=sandbox.api_key, require_key=False, port=0,
            data_dir=tmp_path, cache=False,
        )  # fmt: skip
        async with run_gateway(settings) as running:
            yield sandbox, running.url


async def test_a_round_of_parallel_calls_works_with_the_stream_helper(
    doors: tuple[Sandbox, str],
) -> None:
    sandbox, url = doors
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        for form in FORMS:
            fault = {"when": {"method": "POST"}, "then": {"kind": "tool_index", "form": form}}
            sandbox.set_faults({"faults": [fault]} if form else None)
            await _make_round(client)


async def _make_round(client: openai.AsyncOpenAI) -> None:
    asked: list[Any] = [{"role": "user", "content": "What is the weather?"}]
    async with client.chat.completions.stream(model=MODEL, messages=asked, tools=TOOLS) as stream:
        choice = (await stream.get_final_completion()).choices[0]
    message, calls = choice.message, choice.message.tool_calls or []
    assert (message.role, choice.finish_reason) == ("assistant", "tool_calls")
    found = [(one.function.name, orjson.loads(one.function.arguments)) for one in calls]
    assert found == CALLS
    assert len({one.id for one in calls}) == len(CALLS)
    results = [{"role": "tool", "tool_call_id": one.id, "content": "ok"} for one in calls]
    asked += [message.model_dump(exclude_none=True), *results]
    answer = await client.chat.completions.create(model=MODEL, messages=asked, tools=TOOLS)
    assert answer.choices[0].message.content == "It rains."


async def test_every_field_that_clients_append_comes_once(doors: tuple[Sandbox, str]) -> None:
    sandbox, url = doors
    sandbox.set_faults(None)
    roles: list[str] = []
    reasons: list[str] = []
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi"}], tools=TOOLS, stream=True
        )
        async for chunk in stream:
            roles += [one.delta.role for one in chunk.choices if one.delta.role]
            reasons += [one.finish_reason for one in chunk.choices if one.finish_reason]
    assert (roles, reasons) == (["assistant"], ["tool_calls"])


def _chunk(content: bytes, reason: bytes = b"null") -> bytes:
    return (
        b'data: {"id":"gen-1","object":"chat.completion.chunk","created":1,"model":"a/b",'
        b'"choices":[{"index":0,"delta":{"role":"assistant","content":"%b"},"finish_reason":%b}]}'
        b"\n\n" % (content, reason)
    )


@pytest.mark.parametrize("is_stream", [True, False])
async def test_bytes_that_are_not_utf8_are_replaced(tmp_path: Path, is_stream: bool) -> None:
    reply = (
        _chunk(b"a\xff\xfe"),
        b": \xff\n\n",
        _chunk(b"b\xe2\x82"),  # a letter that is cut in two by the end of an event
        _chunk(b"\xacc"),
        _chunk(b"", b'"stop"'),
        b"data: [DONE]\n\n",
    )
    async with open_door(tmp_path, streamed(*reply)) as door:
        answer = await door.send("openai_chat", stream=is_stream)
    text = answer.content.decode()
    if is_stream:
        frames = SseReader().feed(answer.content)
        bodies = [
            orjson.loads(one.data or b"") for one in frames if one.data not in {None, b"[DONE]"}
        ]
        deltas = [body["choices"][0]["delta"] for body in bodies]
        assert "".join(one["content"] for one in deltas) == "a��b��c"
        assert ": �" in text
    else:
        assert answer.json()["choices"][0]["message"]["content"] == "a��b��c"
