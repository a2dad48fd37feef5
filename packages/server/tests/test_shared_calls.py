import asyncio
from typing import Any

from devflow_core.errors import Incomplete
from devflow_core.testing import FakeUpstream, reply_events

CHAT = {"model": "auto", "temperature": 0, "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


def text_of(reply: Any) -> str:
    return reply.json()["choices"][0]["message"]["content"]


async def test_an_exact_repetition_is_answered_from_memory_and_booked(open_server: Any) -> None:
    async with open_server(FakeUpstream(reply_events("one"), reply_events("two"))) as server:
        first = await server.client.post(PATH, json=CHAT)
        second = await server.client.post(PATH, json=CHAT)
    assert text_of(first) == text_of(second) == "one"
    assert (first.headers["x-devflow-cache"], second.headers["x-devflow-cache"]) == ("miss", "hit")
    assert second.headers["x-devflow-cost-usd"] == "0"
    assert second.headers["x-devflow-request-id"] != first.headers["x-devflow-request-id"]
    assert len(server.upstream.calls) == 1
    assert [entry.is_cache_hit for entry in server.book.ledger.entries] == [False, True]


async def test_a_repetition_is_replayed_as_a_stream_too(open_server: Any) -> None:
    async with open_server(FakeUpstream(reply_events("one", "two"))) as server:
        await server.client.post(PATH, json=CHAT)
        streamed = await server.client.post(PATH, json={**CHAT, "stream": True})
    assert streamed.headers["x-devflow-cache"] == "hit"
    assert '"content":"one"' in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert len(server.upstream.calls) == 1


async def test_any_difference_is_another_question(open_server: Any, fake_keys: Any) -> None:
    keys = fake_keys(anne={}, bob={})
    variants: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({}, {"x-api-key": "anne"}),
        ({}, {"x-api-key": "bob"}),
        ({"temperature": 0.5}, {"x-api-key": "anne"}),
        ({"max_tokens": 5}, {"x-api-key": "anne"}),
        ({"model": "auto:cheap"}, {"x-api-key": "anne"}),
        ({"user": "x"}, {"x-api-key": "anne"}),
        ({}, {"x-api-key": "anne", "x-openrouter-key": "sk-or-v1-mine"}),
        ({}, {"x-api-key": "anne", "x-devflow-no-cache": "1"}),
    ]
    async with open_server(keys=keys) as server:
        for changes, headers in variants:
            reply = await server.client.post(PATH, json={**CHAT, **changes}, headers=headers)
            assert reply.headers["x-devflow-cache"] != "hit"
    assert len(server.upstream.calls) == len(variants)


async def test_what_is_not_asked_for_at_temperature_0_is_kept_on_request_only(
    open_server: Any,
) -> None:
    warm = {**CHAT, "temperature": 1}
    async with open_server() as server:
        for headers in ({}, {}, {"x-devflow-cache": "on"}, {"x-devflow-cache": "on"}):
            await server.client.post(PATH, json=warm, headers=headers)
    assert len(server.upstream.calls) == 3


async def test_a_reply_that_broke_off_is_not_kept(open_server: Any) -> None:
    started, *_ = reply_events("x")
    broken = [started, Incomplete("The reply was cut off.")]
    async with open_server(FakeUpstream(broken, reply_events("whole"))) as server:
        first = await server.client.post(PATH, json=CHAT)
        second = await server.client.post(PATH, json=CHAT)
    assert first.status_code == 502
    assert text_of(second) == "whole"


async def test_a_hundred_at_once_are_one_call(open_server: Any, eventually: Any, gate: Any) -> None:
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        asking = asyncio.gather(*[server.client.post(PATH, json=CHAT) for _ in range(100)])
        await eventually(lambda: server.listener.in_flight == 100)
        gate.open()
        replies = await asking
    assert {text_of(reply) for reply in replies} == {"one"}
    assert len(server.upstream.calls) == 1
    assert len(server.book.ledger.entries) == 100
    assert sum(not entry.is_cache_hit for entry in server.book.ledger.entries) == 1


async def test_a_leader_that_leaves_does_not_take_its_followers_along(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        leader = asyncio.create_task(server.client.post(PATH, json=CHAT))
        await gate.reached.wait()
        follower = asyncio.create_task(server.client.post(PATH, json=CHAT))
        await eventually(lambda: server.listener.in_flight == 2)
        leader.cancel()
        await eventually(lambda: server.listener.in_flight == 1)
        gate.open()
        reply = await follower
    assert text_of(reply) == "one"
    assert len(server.upstream.calls) == 1


async def test_a_failed_leader_fails_its_followers_once_and_the_next_asks_anew(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    refusal = Incomplete("Nothing came.")
    async with open_server(FakeUpstream([gate, refusal], reply_events("whole"))) as server:
        asking = asyncio.gather(*[server.client.post(PATH, json=CHAT) for _ in range(5)])
        await eventually(lambda: server.listener.in_flight == 5)
        gate.open()
        replies = await asking
        after = await server.client.post(PATH, json=CHAT)
    assert {reply.status_code for reply in replies} == {502}
    assert len(server.upstream.calls) == 2
    assert text_of(after) == "whole"


async def test_a_call_that_nobody_waits_for_is_cancelled(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        leader = asyncio.create_task(server.client.post(PATH, json=CHAT))
        await gate.reached.wait()
        leader.cancel()
        await eventually(lambda: server.ledger.entries)
        assert server.upstream.closed == 1
        assert server.ledger.entries[0].outcome == "cancelled"
        await eventually(lambda: not server.reply_source._active_calls)
