"""Checks what Claude Code relies on: its gateway guide, and behaviour measured with its releases.

Source: code.claude.com/docs/en/llm-gateway-protocol (read November 2026), and requests recorded
from Claude Code 1.0.128 to 2.1.329. The first docstring line of each check is the clause it
checks; it is shown to the user. A check returns what it saw, or raises `CheckFailed`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from devflow_cli.conformance.gateway_under_test import (
    CLAUDE_HEADERS,
    SMALL_REQUEST,
    GatewayUnderTest,
    require,
)

_EVENT_ORDER = ("message_start", "content_block_start", "content_block_stop", "message_delta")


async def path_with_query(gateway: GatewayUnderTest) -> str:
    """`POST /v1/messages?beta=true` is routed by its path, ignoring the query."""
    reply = await gateway.messages()
    require(reply.status_code == 200, f"the answer is {reply.status_code}: {reply.text[:120]}")
    return "answered"


async def whole_reply(gateway: GatewayUnderTest) -> str:
    """Replies without streaming work: Claude Code falls back to them after three cut streams."""
    body = (await gateway.messages()).json()
    require(body["type"] == "message" and body["content"], "the reply is not a message")
    require(body["stop_reason"], "the reply has no stop_reason")
    require(body["usage"]["output_tokens"] > 0, "the reply has no usage")
    return f"stop_reason {body['stop_reason']}"


async def event_order(gateway: GatewayUnderTest) -> str:
    """A stream is a valid sequence of events that ends in `message_stop`."""
    names = [name for name, _ in await gateway.events() if name != "ping"]
    places = [names.index(one) if one in names else -1 for one in _EVENT_ORDER]
    require(-1 not in places and places == sorted(places), f"the order is {names}")
    require(names[-1] == "message_stop", "the stream does not end in message_stop")
    return f"{len(names)} events"


async def early_usage(gateway: GatewayUnderTest) -> str:
    """`message_start` reports input tokens above zero: 2.1.50 records only these."""
    name, data = (await gateway.events())[0]
    require(name == "message_start", "the first event is not message_start")
    usage = orjson.loads(data)["message"]["usage"]
    total = usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0)
    require(total > 0, "message_start says 0 input tokens: the context display will be wrong")
    return f"{total} tokens"


async def final_usage(gateway: GatewayUnderTest) -> str:
    """`message_delta` holds the final usage and the stop reason."""
    deltas = [data for name, data in await gateway.events() if name == "message_delta"]
    last: dict[str, Any] = orjson.loads(deltas[-1])
    require(last["delta"]["stop_reason"], "there is no stop_reason")
    require(last["usage"]["output_tokens"] > 0, "there are no output tokens")
    return f"{last['usage']['output_tokens']} output tokens"


async def system_in_the_middle(gateway: GatewayUnderTest) -> str:
    """`role: system` inside `messages` is accepted: 2.1.154 and later put the context there."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Say ok."},
        {"role": "system", "content": [{"type": "text", "text": "The directory is /work."}]},
        {"role": "system", "content": [], "output_config": {"effort": "low"}},
    ]
    reply = await gateway.messages(messages=messages)
    require(reply.status_code == 200, f"the answer is {reply.status_code}: {reply.text[:120]}")
    return "accepted"


async def fields_to_ignore(gateway: GatewayUnderTest) -> str:
    """Fields unknown to the upstream are accepted: the client does not recover from a refusal."""
    reply = await gateway.messages(
        thinking={"type": "adaptive", "display": "updates"},
        output_config={"effort": "medium"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        max_tokens=2048,
    )
    require(reply.status_code == 200, f"the answer is {reply.status_code}: {reply.text[:120]}")
    return "accepted"


async def deferred_tools(gateway: GatewayUnderTest) -> str:
    """Tools with `defer_loading` and results with `tool_reference` are accepted."""
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    tools = [
        {"name": "ToolSearch", "description": "Find tools.", "input_schema": schema},
        {"name": "Later", "description": "x", "input_schema": schema, "defer_loading": True},
    ]
    found = [{"type": "tool_reference", "tool_name": "Later"}]
    call = {"type": "tool_use", "id": "toolu_1", "name": "ToolSearch", "input": {"query": "x"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": found}
    messages = [
        *SMALL_REQUEST["messages"],
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    reply = await gateway.messages(tools=tools, messages=messages)
    require(reply.status_code == 200, f"the answer is {reply.status_code}: {reply.text[:120]}")
    return "accepted"


async def unknown_betas(gateway: GatewayUnderTest) -> str:
    """Unknown values of `anthropic-beta` are accepted."""
    headers = {**CLAUDE_HEADERS, "anthropic-beta": "something-new-2027-01-01"}
    reply = await gateway.post("/v1/messages?beta=true", SMALL_REQUEST, headers)
    require(reply.status_code == 200, f"the answer is {reply.status_code}")
    return "accepted"


async def count_tokens(gateway: GatewayUnderTest) -> str:
    """`count_tokens` handles many requests at once; without it, `/context` costs paid calls."""
    path = "/v1/messages/count_tokens?beta=true"
    body = {"model": SMALL_REQUEST["model"], "messages": SMALL_REQUEST["messages"]}
    replies = await asyncio.gather(*[gateway.post(path, body, CLAUDE_HEADERS) for _ in range(20)])
    counts = {reply.json()["input_tokens"] for reply in replies}
    require(len(counts) == 1 and counts.pop() > 0, "the counts are zero or differ")
    return "20 at once"


async def discovery(gateway: GatewayUnderTest) -> str:
    """`GET /v1/models?limit=1000` lists an id with `claude` or `anthropic`, without redirect."""
    reply = await gateway.client.get("/v1/models?limit=1000", headers=CLAUDE_HEADERS)
    require(reply.status_code == 200, f"the answer is {reply.status_code}")
    ids = [str(one["id"]) for one in reply.json()["data"]]
    usable = [one for one in ids if "claude" in one or "anthropic" in one]
    require(usable, "no id contains `claude` or `anthropic`: Claude Code will drop all of them")
    return f"{len(usable)} of {len(ids)} models"


async def both_credentials(gateway: GatewayUnderTest) -> str:
    """`Authorization` and `x-api-key` may be sent together (2.1.248 and later)."""
    key = gateway.client.headers.get("authorization", "Bearer none").removeprefix("Bearer ")
    reply = await gateway.post(
        "/v1/messages?beta=true", SMALL_REQUEST, {**CLAUDE_HEADERS, "x-api-key": key}
    )
    require(reply.status_code == 200, f"the answer is {reply.status_code}")
    return "accepted"


async def error_dialect(gateway: GatewayUnderTest) -> str:
    """Errors have Anthropic's shape: `{"type": "error", "error": {"type", "message"}}`."""
    reply = await gateway.messages(messages="none")
    body = reply.json()
    require(reply.status_code == 400, f"an invalid request gets status {reply.status_code}")
    require(body["type"] == "error" and body["error"]["type"], "the error is in another dialect")
    return str(body["error"]["type"])


async def probe(gateway: GatewayUnderTest) -> str:
    """`HEAD /api/hello` gets an answer with a status below 500, even if it is a rejection."""
    reply = await gateway.client.head("/api/hello", headers=CLAUDE_HEADERS)
    require(reply.status_code < 500, f"the answer is {reply.status_code}")
    return f"answered {reply.status_code}"


CHECKS = (
    path_with_query,
    whole_reply,
    event_order,
    early_usage,
    final_usage,
    system_in_the_middle,
    fields_to_ignore,
    deferred_tools,
    unknown_betas,
    count_tokens,
    discovery,
    both_credentials,
    error_dialect,
    probe,
)
