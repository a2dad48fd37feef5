import asyncio
from typing import Any

import orjson
from devflow_core.errors import Incomplete, NotSent, PossiblyAccepted
from devflow_core.testing import FakeUpstream, reply_events

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
KEY = {"idempotency-key": "k-1"}


async def test_a_key_sent_again_gets_the_same_reply_and_costs_nothing(open_server: Any) -> None:
    async with open_server(FakeUpstream(reply_events("one"), reply_events("two"))) as server:
        first = await server.client.post(PATH, json=CHAT, headers=KEY)
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
        other = await server.client.post(PATH, json=CHAT, headers={"idempotency-key": "k-2"})
    assert again.content == first.content != other.content
    assert again.headers["idempotent-replayed"] == "true"
    for name in ("x-devflow-request-id", "x-devflow-cost-usd", "x-devflow-model"):
        assert again.headers[name] == first.headers[name]
    assert len(server.upstream.calls) == len(server.book.ledger.entries) == 2


async def test_a_stream_is_replayed_byte_for_byte(open_server: Any) -> None:
    body = {**CHAT, "stream": True}
    async with open_server(FakeUpstream(reply_events("one", "two"))) as server:
        first = await server.client.post(PATH, json=body, headers=KEY)
        again = await server.client.post(PATH, json=body, headers=KEY)
    assert '"content":"one"' in first.text
    assert again.headers["content-type"] == "text/event-stream"
    created = orjson.loads(first.text.splitlines()[0][6:])["created"]
    assert again.text.replace(f'"created":{created + 1}', f'"created":{created}') == first.text


async def test_ten_at_once_are_carried_out_once(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        asking = asyncio.gather(
            *[server.client.post(PATH, json=CHAT, headers=KEY) for _ in range(10)]
        )
        await eventually(lambda: server.listener.in_flight == 10)
        gate.open()
        replies = await asking
    assert len({reply.content for reply in replies}) == 1
    assert len(server.upstream.calls) == len(server.book.ledger.entries) == 1


async def test_another_body_is_a_conflict(open_server: Any) -> None:
    async with open_server() as server:
        await server.client.post(PATH, json=CHAT, headers=KEY)
        other = await server.client.post(PATH, json={**CHAT, "max_tokens": 1}, headers=KEY)
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_conflict"
    assert len(server.upstream.calls) == 1


async def test_keys_of_two_clients_are_two_keys(open_server: Any, fake_keys: Any) -> None:
    async with open_server(keys=fake_keys(anne={}, bob={})) as server:
        for name in ("anne", "bob"):
            reply = await server.client.post(PATH, json=CHAT, headers={**KEY, "x-api-key": name})
            assert "idempotent-replayed" not in reply.headers
    assert len(server.upstream.calls) == 2


async def test_a_client_that_leaves_finds_the_reply_when_it_asks_again(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    started, *rest = reply_events("one")
    async with open_server(FakeUpstream([started, gate, *rest])) as server:
        leaving = asyncio.create_task(server.client.post(PATH, json=CHAT, headers=KEY))
        await gate.reached.wait()
        leaving.cancel()
        await eventually(lambda: server.listener.in_flight == 0)
        asking = asyncio.create_task(server.client.post(PATH, json=CHAT, headers=KEY))
        await eventually(lambda: server.listener.in_flight == 1)
        gate.open()
        reply = await asking
    assert reply.json()["choices"][0]["message"]["content"] == "one"
    assert len(server.upstream.calls) == 1


async def test_what_was_never_sent_may_be_tried_again(open_server: Any) -> None:
    async with open_server(FakeUpstream([NotSent("No route.")], reply_events("one"))) as server:
        first = await server.client.post(PATH, json=CHAT, headers=KEY)
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
    assert (first.status_code, again.status_code) == (502, 200)


async def test_what_may_have_been_billed_is_not_done_twice(open_server: Any) -> None:
    lost = PossiblyAccepted("The connection ended.")
    async with open_server(FakeUpstream([lost], reply_events("one"))) as server:
        first = await server.client.post(PATH, json=CHAT, headers=KEY)
        again = await server.client.post(PATH, json=CHAT, headers=KEY)
    assert (first.status_code, again.status_code) == (502, 502)
    assert again.json()["error"]["code"] == first.json()["error"]["code"]
    assert len(server.upstream.calls) == 1


async def test_a_stream_that_broke_off_is_replayed_as_broken(open_server: Any) -> None:
    started, first, *_ = reply_events("Hel", "lo")
    body = {**CHAT, "stream": True}
    async with open_server(FakeUpstream([started, first, Incomplete("Cut off.")])) as server:
        await server.client.post(PATH, json=body, headers=KEY)
        again = await server.client.post(PATH, json=body, headers=KEY)
    assert "upstream_incomplete" in again.text
    assert len(server.upstream.calls) == 1


async def test_a_key_that_is_none_is_refused(open_server: Any) -> None:
    async with open_server() as server:
        for key in ("", "a b", "x" * 256):
            reply = await server.client.post(PATH, json=CHAT, headers={"idempotency-key": key})
            assert reply.status_code == 400
