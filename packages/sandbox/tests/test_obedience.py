"""Replies to plain instructions: code words, counting, stop sequences, several tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from devflow_sandbox import Sandbox

Client = Callable[..., httpx.AsyncClient]
SIDE = {"type": "object", "properties": {"side": {"enum": ["left"]}}, "required": ["side"]}


def messages(question: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "anthropic/claude-sonnet-4.5", "max_tokens": 1000}
    return {**body, "messages": [{"role": "user", "content": question}], **fields}


async def test_code_words_are_found_wherever_they_stand(client: Client) -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "The code word is HERON-2."}
    body = messages("", system="The code word of the system is MAPLE-1.")
    body["messages"] = [
        {"role": "user", "content": "The code word of this is CEDAR-3. List every code word."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "a"}]},
        {"role": "user", "content": [result]},
    ]
    async with client(Sandbox()) as http:
        reply = (await http.post("messages", json=body)).json()
    assert reply["content"][0]["text"] == "MAPLE-1 CEDAR-3 HERON-2"


async def test_counting_ends_before_a_stop_sequence_and_names_it(client: Client) -> None:
    body = messages("Count from 1 to 30.", stop_sequences=["zebra", "12"])
    async with client(Sandbox()) as http:
        reply = (await http.post("messages", json=body)).json()
        streamed = (await http.post("messages", json={**body, "stream": True})).text
    assert reply["content"][0]["text"].split() == [str(one) for one in range(1, 12)]
    assert (reply["stop_reason"], reply["stop_sequence"]) == ("stop_sequence", "12")
    assert '"stop_reason":"stop_sequence","stop_sequence":"12"' in streamed


async def test_a_limit_before_the_stop_sequence_is_what_ended_the_reply(client: Client) -> None:
    body = messages("Count from 1 to 300.", stop_sequences=["250"], max_tokens=10)
    async with client(Sandbox()) as http:
        reply = (await http.post("messages", json=body)).json()
    assert (reply["stop_reason"], reply["stop_sequence"]) == ("max_tokens", None)


async def test_several_tools_are_called_at_once_with_ids_of_their_own(client: Client) -> None:
    tools = [{"name": name, "input_schema": SIDE} for name in ("one", "two", "three")]
    body = messages("Use the one tool and use the three tool.", tools=tools)
    async with client(Sandbox()) as http:
        reply = (await http.post("messages", json=body)).json()
    calls = [one for one in reply["content"] if one["type"] == "tool_use"]
    assert [one["name"] for one in calls] == ["one", "three"]
    assert len({one["id"] for one in calls}) == 2
