"""A session's turns may come to any worker of a server: what one of them keeps, the others have."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from dialect_samples import named_event
from integration.living import port_of, until, workers_of
from integration.served import start
from integration.upstream_door import Upstream, streamed

MODEL = "z-ai/glm-5"
CLAUDE_CODE = {"user-agent": "claude-cli/2.1.329 (external, sdk-cli)"}
"""The client whose replies hold no reasoning of others; it is never refused a question."""
THOUGHT = {"type": "thinking", "thinking": "First I look.", "signature": "by-the-vendor"}
CALL: dict[str, Any] = {"type": "tool_use", "id": "call_1", "name": "Bash", "input": {}}
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
}
START: dict[str, Any] = {
    "id": "gen-1", "type": "message", "role": "assistant", "model": MODEL, "content": [],
    "usage": {"input_tokens": 3, "output_tokens": 1},
}  # fmt: skip
REPLY = (
    named_event(type="message_start", message=START),
    named_event(
        type="content_block_start",
        index=0,
        content_block={"type": "thinking", "thinking": "", "signature": ""},
    ),
    named_event(
        type="content_block_delta",
        index=0,
        delta={"type": "thinking_delta", "thinking": THOUGHT["thinking"]},
    ),
    named_event(
        type="content_block_delta",
        index=0,
        delta={"type": "signature_delta", "signature": THOUGHT["signature"]},
    ),
    named_event(type="content_block_stop", index=0),
    named_event(type="content_block_start", index=1, content_block=CALL),
    named_event(type="content_block_stop", index=1),
    named_event(type="message_delta", delta={"stop_reason": "tool_use"}, usage={}),
    named_event(type="message_stop"),
)


@asynccontextmanager
async def two_workers(folder: Path) -> AsyncGenerator[tuple[Upstream, list[httpx.AsyncClient]]]:
    """A server before an upstream that calls a tool, and a connection to each of its workers."""
    async with Upstream().serve() as upstream, AsyncExitStack() as stack:
        upstream.scripts = [streamed(*REPLY)]
        given = {
            "OPENROUTER_BASE_URL": f"http://127.0.0.1:{upstream.port}/api/v1",
            "OPENROUTER_API_KEY": "sk-or-v1-test",
        }
        child = stack.enter_context(start(folder, "--no-key", "--workers", "2", **given))
        port = await asyncio.to_thread(port_of, child)
        await asyncio.to_thread(until, lambda: len(workers_of(child.pid)) == 2, "two workers")
        clients = [await stack.enter_async_context(_client(port)) for _ in range(2)]
        for client, other in zip(clients, workers_of(child.pid), strict=True):
            await _connect_past(other, client)
        yield upstream, clients


def _client(port: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=1, keepalive_expiry=None)
    url = f"http://127.0.0.1:{port}"
    return httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False)


async def _connect_past(worker: int, client: httpx.AsyncClient) -> None:
    """Open a connection to the other worker, by keeping this one from taking it."""
    os.kill(worker, signal.SIGSTOP)
    try:
        assert (await client.get("/healthz")).status_code == 200
    finally:
        os.kill(worker, signal.SIGCONT)


async def _ask(
    client: httpx.AsyncClient, turns: list[dict[str, Any]], headers: dict[str, str] | None = None
) -> httpx.Response:
    body = {"model": MODEL, "max_tokens": 16, "stream": True, "messages": turns}
    return await client.post("/v1/messages", json=body, headers=headers)


def _holds(folder: Path, text: bytes) -> bool:
    return any(text in one.read_bytes() for one in folder.rglob("*") if one.is_file())


async def test_reasoning_is_given_back_by_another_worker(tmp_path: Path) -> None:
    question = {"role": "user", "content": "Look."}
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "ok"}
    answered: list[dict[str, Any]] = [
        question,
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [result]},
    ]
    async with two_workers(tmp_path) as (upstream, (first, second)):
        reply = await _ask(first, [question], CLAUDE_CODE)
        assert b"First I look." not in reply.content
        for client in (second, first):
            assert (await _ask(client, answered, CLAUDE_CODE)).is_success
            assert upstream.bodies[-1]["messages"][1]["content"] == [THOUGHT, CALL]
        assert not _holds(tmp_path, b"First I look.")


async def test_a_refused_question_is_known_to_another_worker(tmp_path: Path) -> None:
    asked = [IMAGE, {"type": "text", "text": "What is this?"}]
    later = [*asked, {"type": "text", "text": "Then go on without."}]
    async with two_workers(tmp_path) as (_upstream, (first, second)):
        assert (await _ask(second, [{"role": "user", "content": later}])).status_code == 400
        assert (await _ask(first, [{"role": "user", "content": asked}])).status_code == 400
        assert (await _ask(second, [{"role": "user", "content": later}])).is_success
