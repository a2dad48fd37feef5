from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest
from devflow_sandbox import Sandbox

Client = Callable[..., httpx.AsyncClient]
Body = dict[str, Any]
Events = Callable[[str], list[dict[str, Any]]]


async def test_whole_reply_is_padded_and_mentions_what_was_asked(
    chat_body: Body, client: Client, events: Events
) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        reply = await http.post("chat/completions", json=chat_body)
    assert reply.text.startswith("\n         \n")
    body = reply.json()
    assert "tests/test_auth.py" in body["choices"][0]["message"]["content"]
    assert body["model"] == "anthropic/claude-4.5-sonnet-20250929"
    assert reply.headers["x-generation-id"] == body["id"]


async def test_streamed_reply_says_finish_twice_and_usage_beside_a_choice(
    chat_body: Body, client: Client, events: Events
) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        reply = await http.post("chat/completions", json={**chat_body, "stream": True})
    assert reply.text.startswith(": OPENROUTER PROCESSING\n\n")
    sent = events(reply.text)
    assert all(one["choices"][0]["delta"]["role"] == "assistant" for one in sent)
    ends = [one["choices"][0]["finish_reason"] for one in sent]
    assert ends[-2:] == ["stop", "stop"]
    assert "usage" in sent[-1]
    assert "usage" not in sent[-2]


async def test_same_seed_says_the_same_streamed_or_not(
    chat_body: Body, client: Client, events: Events
) -> None:
    async with client(Sandbox(seed=3)) as one, client(Sandbox(seed=3)) as other:
        reply = (await one.post("chat/completions", json=chat_body)).json()
        streamed = events(
            (await other.post("chat/completions", json={**chat_body, "stream": True})).text
        )
    text = "".join(event["choices"][0]["delta"]["content"] for event in streamed)
    assert text == reply["choices"][0]["message"]["content"]
    assert streamed[-1]["usage"]["completion_tokens"] == reply["usage"]["completion_tokens"]


async def test_cost_on_the_wire_is_the_bill_to_the_last_digit(
    chat_body: Body, client: Client, events: Events
) -> None:
    sandbox = Sandbox()
    async with client(sandbox) as http:
        body = (await http.post("chat/completions", json=chat_body)).content
    sent = body.split(b'"cost":')[1].split(b",")[0].decode()
    (call,) = sandbox.bill()["calls"]
    assert call["cost_usd"] == sent == sandbox.bill()["total_usd"]
    usage = orjson.loads(body)["usage"]
    expected = usage["prompt_tokens"] * Decimal("0.000003") + usage["completion_tokens"] * Decimal(
        "0.000015"
    )
    assert Decimal(sent) == expected


async def test_bill_is_served_over_a_socket(
    chat_body: Body, client: Client, events: Events
) -> None:
    async with Sandbox() as sandbox, httpx.AsyncClient(timeout=60) as http:
        headers = {"authorization": f"Bearer {sandbox.api_key}"}
        await http.post(f"{sandbox.base_url}/chat/completions", json=chat_body, headers=headers)
        bill = (await http.get(f"{sandbox.url}/sandbox/bill")).json()
    assert bill["calls"][0]["outcome"] == "completed"


@pytest.mark.parametrize(
    ("headers", "message"),
    [({}, "Missing Authentication header"), ({"authorization": "Bearer no"}, "User not found.")],
)
async def test_key_is_checked(headers: dict[str, str], message: str, chat_body: Body) -> None:
    transport = Sandbox().transport()
    async with httpx.AsyncClient(transport=transport, base_url="http://x/api/v1/") as http:
        reply = await http.post("chat/completions", json=chat_body, headers=headers)
    assert (reply.status_code, reply.json()) == (401, {"error": {"message": message, "code": 401}})
