import asyncio
from decimal import Decimal
from typing import Any

import orjson
from devflow_core.errors import Incomplete, RateLimited
from devflow_core.testing import FakeUpstream, reply_events
from devflow_server.http import Limits

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}


def events_of(text: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return [orjson.loads(line) for line in lines]


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_whole_reply_carries_its_metadata_in_headers_and_body(open_server: Any) -> None:
    async with open_server(FakeUpstream(reply_events("Hel", "lo"))) as server:
        reply = await server.client.post("/v1/chat/completions", json=CHAT)
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"] == "Hello"
    assert reply.headers["x-devflow-model"] == "anthropic/claude-haiku-4.5"
    assert reply.headers["x-devflow-provider"] == "Anthropic"
    assert reply.headers["x-devflow-cost-usd"] == "0.0002"
    assert reply.headers["x-devflow-attempts"] == "1"
    assert reply.headers["x-devflow-request-id"] == server.ledger.entries[0].entry_id


async def test_a_stream_carries_cost_and_attempts_in_its_usage_event(open_server: Any) -> None:
    async with open_server(FakeUpstream(reply_events("Hel", "lo"))) as server:
        reply = await server.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    events = events_of(reply.text)
    texts = [event["choices"][0]["delta"].get("content") for event in events if event["choices"]]
    assert "".join(text or "" for text in texts) == "Hello"
    assert events[-1]["devflow"]["cost_usd"] == "0.0002"
    assert events[-1]["devflow"]["attempts"] == 1
    assert reply.text.endswith("data: [DONE]\n\n")
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["x-devflow-model"] == "anthropic/claude-haiku-4.5"


async def test_a_failure_before_the_reply_is_a_status_in_the_dialect(open_server: Any) -> None:
    slow_down = RateLimited("z-ai/glm-5 takes no more requests now.", retry_after_s=2.2)
    async with open_server(FakeUpstream([slow_down])) as server:
        reply = await server.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "3"
    assert reply.json()["error"]["code"] == "rate_limited"
    assert "x-should-retry" not in reply.headers


async def test_a_client_is_told_not_to_repeat_what_we_have_repeated(open_server: Any) -> None:
    async with open_server(FakeUpstream([Incomplete("The reply was cut off.")])) as server:
        reply = await server.client.post("/v1/chat/completions", json=CHAT)
    assert reply.status_code == 502
    assert reply.headers["x-should-retry"] == "false"


async def test_a_failure_in_the_middle_is_an_error_event_and_an_end(open_server: Any) -> None:
    started, first, *_ = reply_events("Hel", "lo")
    broken = Incomplete("The reply was cut off.")
    async with open_server(FakeUpstream([started, first, broken])) as server:
        reply = await server.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        again = await server.client.get("/healthz")
    assert events_of(reply.text)[-1]["error"]["code"] == "upstream_incomplete"
    assert again.status_code == 200
    assert server.ledger.entries[0].outcome == "failed"


async def test_a_client_that_leaves_cancels_the_call_and_leaves_an_entry(
    open_server: Any, eventually: Any
) -> None:
    started, first, *_ = reply_events("Hel", "lo")
    async with open_server(FakeUpstream([started, first, for_ever])) as server:
        async with server.client.stream(
            "POST", "/v1/chat/completions", json={**CHAT, "stream": True}
        ) as reply:
            async for _chunk in reply.aiter_raw():
                break
        await eventually(lambda: server.ledger.entries)
    assert server.upstream.closed == 1
    assert server.ledger.entries[0].outcome == "cancelled"
    assert server.ledger.entries[0].cost_usd > 0
    assert server.listener.in_flight == 0


async def test_a_client_that_leaves_before_the_first_event_leaves_an_entry(
    open_server: Any, eventually: Any
) -> None:
    async with open_server(FakeUpstream([for_ever, *reply_events("x")])) as server:
        _reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = orjson.dumps(CHAT)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await eventually(lambda: server.upstream.calls)
        writer.close()
        await eventually(lambda: server.ledger.entries)
    assert server.ledger.entries[0].outcome == "cancelled"


async def test_a_silent_upstream_is_bridged_by_pings(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    steps = [gate, *reply_events("late")]
    async with open_server(FakeUpstream(steps)) as server:
        running = asyncio.create_task(
            server.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        )
        await gate.reached.wait()
        await eventually(lambda: server.keep_alive.streams)
        server.keep_alive.send_pings(server.listener.now_s + 10.0)
        gate.open()
        reply = await running
    assert reply.text.startswith(": devflow")
    assert events_of(reply.text)[-1]["devflow"]["attempts"] == 1


async def test_a_failure_after_a_ping_is_an_error_event(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    refused = RateLimited("Too many.", retry_after_s=1)
    async with open_server(FakeUpstream([gate, refused])) as server:
        running = asyncio.create_task(
            server.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        )
        await gate.reached.wait()
        await eventually(lambda: server.keep_alive.streams)
        server.keep_alive.send_pings(server.listener.now_s + 10.0)
        gate.open()
        reply = await running
    assert reply.status_code == 200
    assert events_of(reply.text)[-1]["error"]["code"] == "rate_limited"


async def test_draining_ends_a_stream_with_an_error_event_and_an_entry(
    open_server: Any, gate: Any
) -> None:
    started, first, *_ = reply_events("Hel", "lo")
    async with open_server(FakeUpstream([started, first, gate])) as server:
        running = asyncio.create_task(
            server.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        )
        await gate.reached.wait()
        await server.listener.drain(0.1)
        reply = await running
    assert "going down" in events_of(reply.text)[-1]["error"]["message"]
    assert server.ledger.entries[0].outcome == "cancelled"


async def test_headers_of_ours_reach_the_request(open_server: Any) -> None:
    async with open_server() as server:
        await server.client.post(
            "/v1/chat/completions",
            json=CHAT,
            headers={
                "x-openrouter-key": "sk-or-v1-of-the-caller",
                "x-devflow-max-cost-usd": "0.25",
                "x-session-id": "11111111-2222-4333-8444-555555555555",
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            },
        )
    request = server.upstream.calls[0].request
    assert request.user_key == "sk-or-v1-of-the-caller"
    assert request.max_cost_usd == Decimal("0.25")
    assert request.attribution.session_id == "11111111-2222-4333-8444-555555555555"
    assert ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") in (
        request.origin.headers
    )


async def test_a_session_that_is_named_brings_its_context(open_server: Any) -> None:
    async with open_server() as server:
        named = {"x-devflow-session": "11111111-aaaa"}
        reply = await server.client.post("/v1/chat/completions", json=CHAT, headers=named)
        for wrong in ("22222222-bbbb", "../../etc/passwd", "/srv/s.jsonl", "s%2e%2e"):
            refused = await server.client.post(
                "/v1/chat/completions", json=CHAT, headers={"x-devflow-session": wrong}
            )
            assert refused.status_code == 400
    assert reply.headers["x-devflow-context-tokens"] == "7"
    request = server.upstream.calls[0].request
    assert request.messages[0].text == "The goal is to finish."
    assert (request.attribution.project, request.attribution.client_key) == ("shop", "local")
    assert len(server.upstream.calls) == 1


async def test_sessions_of_this_machine_are_its_users_alone(
    open_server: Any, fake_keys: Any
) -> None:
    async with open_server(keys=fake_keys(anne={})) as server:
        headers = {"x-devflow-session": "11111111-aaaa", "x-api-key": "anne"}
        reply = await server.client.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert reply.status_code == 403


async def test_wrong_headers_of_ours_are_refused(open_server: Any) -> None:
    wrong = [
        {"x-devflow-max-cost-usd": "much"},
        {"x-devflow-max-cost-usd": "NaN"},
        {"x-devflow-max-cost-usd": "-1"},
        {"x-openrouter-key": "has space"},
    ]
    async with open_server() as server:
        for headers in wrong:
            reply = await server.client.post("/v1/chat/completions", json=CHAT, headers=headers)
            assert reply.status_code == 400
    assert server.upstream.calls == []


async def test_bodies_that_are_no_request_are_refused_quickly(open_server: Any) -> None:
    bodies = [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"model":"a","model":"b","messages":[]}',
        b'{"model":"\\ud800","messages":[]}',
        b'{"model":"a\\r\\nx: y","messages":[{"role":"user","content":"hi"}]}',
        b'{"model":"a\\u0000","messages":[{"role":"user","content":"hi"}]}',
        b'{"model":"a","messages":[{"role":"user","content":"hi"}],"seed":' + b"9" * 5000 + b"}",
    ]
    async with open_server() as server:
        for body in bodies:
            reply = await server.client.post("/v1/chat/completions", content=body)
            assert reply.status_code == 400, body[:60]
            assert reply.json()["error"]["message"]
    assert server.upstream.calls == []


async def test_a_reader_that_is_too_slow_is_cut_and_booked(
    open_server: Any, eventually: Any
) -> None:
    started, *_ = reply_events("x")
    many = [reply_events("y" * 60_000)[1]] * 400
    limits = Limits(sweep_interval_s=0.05, stall_timeout_s=0.2, write_buffer_bytes=65536)
    async with open_server(FakeUpstream([started, *many, for_ever]), limits=limits) as server:
        _reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        body = orjson.dumps({**CHAT, "stream": True})
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await eventually(lambda: server.ledger.entries)
        writer.close()
    assert server.ledger.entries[0].outcome != "succeeded"
