import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_core.errors import ContextTooLong, RateLimited, UpstreamRejected
from devflow_core.testing import FakeUpstream, reply_events
from devflow_core.tokens import FAMILIES

SAMPLES = Path(__file__).parent / "samples"
CONNECTION_HEADERS = {"host", "connection", "content-length", "authorization", "accept-encoding"}


def sample(name: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Path, headers and body of a recorded request."""
    recorded = orjson.loads((SAMPLES / f"{name}.json").read_bytes())
    headers = {
        key: value for key, value in recorded["headers"] if key.lower() not in CONNECTION_HEADERS
    }
    return recorded["path"], headers, recorded["body"]


def events_of(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize(
    ("name", "node", "agent", "session"),
    [
        ("2.1.329-main-first", "main", "main", "b0b4c439-0397-43ca-ab6e-d4217f8a9811"),
        ("2.1.329-subagent-first", "subagent", "ad78df9822f97af3c", None),
        ("2.1.329-compact", "main", "main", None),
        ("2.1.329-main-after-parallel-tools", "main", "main", None),
        ("2.0.77-main-first", "main", "main", None),
        ("2.0.77-title", "small", "main", "5b11bbdd-d8a7-46b0-b0df-bf93d2f1f390"),
    ],
)
async def test_recorded_requests_are_answered_and_attributed(
    open_server: Any, name: str, node: str, agent: str, session: str | None
) -> None:
    path, headers, body = sample(name)
    async with open_server(FakeUpstream(reply_events("ok"))) as server:
        reply = await server.client.post(path, json=body, headers=headers)
    assert reply.status_code == 200
    assert events_of(reply.text)[-1] == {"type": "message_stop"}
    attribution = server.upstream.calls[0].request.attribution
    assert (attribution.node, attribution.agent) == (node, agent)
    assert attribution.session_id is not None
    assert session is None or attribution.session_id == session


async def test_the_body_and_its_betas_go_on_as_they_came(open_server: Any) -> None:
    path, headers, body = sample("2.1.329-main-first")
    async with open_server() as server:
        await server.client.post(path, json=body, headers=headers)
    origin = server.upstream.calls[0].request.origin
    assert origin.body == body
    forwarded = dict(origin.headers)
    assert forwarded["anthropic-beta"] == headers["anthropic-beta"]
    assert forwarded["anthropic-version"] == "2023-06-01"
    assert not {"authorization", "x-api-key", "cookie", "host", "user-agent"} & set(forwarded)


async def test_only_headers_of_the_dialect_go_on(open_server: Any) -> None:
    path, headers, body = sample("2.1.329-main-first")
    stray = {
        "cookie": "a=b",
        "x-forwarded-for": "6.6.6.6",
        "connection": "x-secret",
        "x-secret": "1",
        "proxy-authorization": "Basic x",
    }
    # what came through a proxy is not from the user of this machine, so a key is needed
    async with open_server(local_key="devflow_of_this_test") as server:
        key = {"authorization": "Bearer devflow_of_this_test"}
        await server.client.post(path, json=body, headers={**headers, **stray, **key})
    assert not set(stray) & set(dict(server.upstream.calls[0].request.origin.headers))


async def test_the_fallback_without_streaming_works(open_server: Any) -> None:
    path, headers, body = sample("2.1.329-non-streaming-fallback")
    async with open_server(FakeUpstream(reply_events("Hel", "lo"))) as server:
        reply = await server.client.post(path, json=body, headers=headers)
    assert reply.json()["content"] == [{"type": "text", "text": "Hello"}]
    assert reply.json()["stop_reason"] == "end_turn"


async def test_tokens_are_counted_here_and_the_error_is_told(open_server: Any) -> None:
    path, headers, body = sample("2.1.329-count-tokens")
    async with open_server() as server:
        reply = await server.client.post(path, json=body, headers=headers)
        longer = {**body, "messages": body["messages"] * 3}
        more = await server.client.post(path, json=longer, headers=headers)
    assert reply.json()["input_tokens"] > 0
    assert more.json()["input_tokens"] > reply.json()["input_tokens"]
    assert reply.json()["devflow"] == {
        "is_estimate": True,
        "relative_error": FAMILIES["Claude"].error,
    }
    assert server.upstream.calls == []


async def test_a_silent_upstream_is_bridged_by_pings(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    path, headers, body = sample("2.1.329-main-first")
    started, *rest = reply_events("late")
    steps = [started, gate, *rest]
    async with open_server(FakeUpstream(steps)) as server:
        running = asyncio.create_task(server.client.post(path, json=body, headers=headers))
        await gate.reached.wait()
        await eventually(lambda: server.keep_alive.streams)
        server.keep_alive.send_pings(server.listener.now_s + 10.0)
        gate.open()
        reply = await running
    ping, first, *_ = events_of(reply.text)  # the start is held until there is something to show
    assert ping == {"type": "ping"}
    assert first["type"] == "message_start"


async def test_a_prompt_over_the_window_keeps_the_wording_that_is_recognised(
    open_server: Any,
) -> None:
    path, headers, body = sample("2.1.329-main-first")
    error = ContextTooLong("prompt is too long: 210000 tokens > 200000 maximum")
    async with open_server(FakeUpstream([error])) as server:
        reply = await server.client.post(path, json=body, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert "prompt is too long: 210000 tokens > 200000 maximum" in reply.json()["error"]["message"]
    assert reply.headers["x-should-retry"] == "false"


async def test_the_wording_that_the_client_recovers_by_reaches_it(open_server: Any) -> None:
    path, headers, body = sample("2.1.329-main-first")
    words = "messages.1.role: Input should be 'user' or 'assistant'"
    error = UpstreamRejected(f"The provider refused: {words}", status=400, detail=words)
    async with open_server(FakeUpstream([error])) as server:
        reply = await server.client.post(path, json=body, headers=headers)
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]


async def test_a_wait_that_is_asked_for_is_passed_on(open_server: Any) -> None:
    path, headers, body = sample("2.1.329-main-first")
    async with open_server(FakeUpstream([RateLimited("Slow down.", retry_after_s=7.0)])) as server:
        reply = await server.client.post(path, json=body, headers=headers)
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "7"
    assert reply.json()["error"]["type"] == "rate_limit_error"


async def test_nodes_move_main_small_and_subagent_traffic(open_server: Any) -> None:
    names = {"2.1.329-main-first": "a/main", "2.0.77-title": "a/small"}
    names["2.1.329-subagent-first"] = "a/subagent"
    async with open_server() as server:
        for model in names.values():
            node = model.partition("/")[2]
            await server.client.patch(f"/system/nodes/{node}", json={"model": model})
        for name in names:
            path, headers, body = sample(name)
            await server.client.post(path, json=body, headers=headers)
    assert [call.request.model for call in server.upstream.calls] == list(names.values())
