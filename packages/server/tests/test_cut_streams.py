"""Recorded replies cut at every byte: every SDK accepts what we send, or gets a legal error."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from devflow_core.errors import DevFlowError, Incomplete
from devflow_core.events import Event, Finished
from devflow_core.messages import WireName
from devflow_core.response import Collector
from devflow_core.testing import FakeUpstream
from devflow_core.wire import SseReader, error_from_body, get_dialect
from devflow_core.wire.table import DIALECTS
from dialect_samples import samples_of

SDK_WIRES = ("openai_chat", "anthropic_messages", "openai_responses")
RECORDINGS = Path(__file__).parents[2] / "core" / "tests" / "samples" / "openrouter.jsonl"

Read = Callable[[], Awaitable[str]]
Steps = Sequence[Event | DevFlowError]
"""What the client's side makes of a reply: events, and the error where it was cut."""

BODIES: list[dict[str, Any]] = [
        {"type": "message_start", "message": {
            "id": "gen-1", "type": "message", "role": "assistant", "model": "anthropic/claude-x",
            "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {
            "type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {
            "type": "thinking_delta", "thinking": "Hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {
            "type": "signature_delta", "signature": "c2ln"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {
            "type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 2, "delta": {
            "type": "input_json_delta", "partial_json": '{"a":'}},
        {"type": "content_block_delta", "index": 2, "delta": {
            "type": "input_json_delta", "partial_json": "1}"}},
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
         "usage": {"output_tokens": 9, "cost": 0.0001}},
        {"type": "message_stop"},
]  # fmt: skip
MESSAGES = b"".join(
    b"event: %b\ndata: %b\n\n" % (body["type"].encode(), json.dumps(body).encode())
    for body in BODIES
)


def _recorded(mark: str) -> bytes:
    """The shortest recorded stream that holds a mark."""
    bodies = [json.loads(line)["body"] for line in RECORDINGS.read_bytes().splitlines()]
    texts = [body for body in bodies if isinstance(body, str) and body.startswith(":")]
    return min((text for text in texts if mark in text), key=len).encode()


def _steps(wire: WireName, stream: bytes, cut: int) -> Steps:
    """What is made of the first `cut` bytes of a reply."""
    reader, decoder = SseReader(), get_dialect(wire).make_decoder("a/b")
    steps: list[Event | DevFlowError] = []
    try:
        for frame in reader.feed(stream[:cut]):
            steps.extend(decoder.feed(frame))
        for frame in reader.close():
            steps.extend(decoder.feed(frame))
        steps.extend(decoder.close())
    except DevFlowError as error:
        steps.append(error)
    return steps


@cache
def _distinct_cuts(wire: WireName, stream: bytes) -> list[Steps]:
    """The replies that cuts give around every end of a line, and in the middle of every line."""
    found: dict[tuple[int, bool, bool], Steps] = {}
    ends = [0, *(index for index, byte in enumerate(stream) if byte == 0x0A), len(stream)]
    middles = [(first + last) // 2 for first, last in pairwise(ends)]
    cuts = {end + step for end in ends for step in (-1, 0, 1)}.union(middles)
    for cut in sorted(cuts & set(range(len(stream) + 1))):
        steps = _steps(wire, stream, cut)
        end = steps[-1]
        assert isinstance(end, Finished | Incomplete)
        has_frame = isinstance(end, Finished) and end.frame is not None
        found[(len(steps), isinstance(end, Finished), has_frame)] = steps
    return list(found.values())


@asynccontextmanager
async def _client(wire: WireName, port: int) -> AsyncGenerator[Read]:
    """Reads replies of the running server with the wire's own SDK; gives their text."""
    url = f"http://127.0.0.1:{port}"
    if wire == "anthropic_messages":
        async with anthropic.AsyncAnthropic(base_url=url, api_key="x", max_retries=0) as client:
            yield lambda: _message(client)
    elif wire not in SDK_WIRES:
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as plain:
            yield lambda: _plain(plain, wire)
    else:
        base_url = f"{url}/v1"
        async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
            yield (lambda: _chat(client)) if wire == "openai_chat" else (lambda: _response(client))


async def _message(client: anthropic.AsyncAnthropic) -> str:
    async with client.messages.stream(
        model="a/b", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
    ) as stream:
        message = await stream.get_final_message()
    return "".join(block.text for block in message.content if block.type == "text")


async def _chat(client: openai.AsyncOpenAI) -> str:
    async with client.chat.completions.stream(
        model="a/b", messages=[{"role": "user", "content": "Hi"}]
    ) as chunks:
        return (await chunks.get_final_completion()).choices[0].message.content or ""


async def _response(client: openai.AsyncOpenAI) -> str:
    async with client.responses.stream(model="a/b", input="Hi") as events:
        return (await events.get_final_response()).output_text


async def _plain(client: httpx.AsyncClient, wire: WireName) -> str:
    """What our own decoder reads, of a dialect whose SDK is not here."""
    asks = {"model": "a/b", "stream": True, **samples_of(wire).asks}
    reply = await client.post(f"/v1{get_dialect(wire).path}", json=asks)
    if reply.status_code != 200:
        raise error_from_body(reply.status_code, reply.content)
    return _text(_steps(wire, reply.content, len(reply.content)))


def _text(steps: Sequence[Event | DevFlowError]) -> str:
    collector = Collector()
    for step in steps:
        if isinstance(step, DevFlowError):
            raise step
        collector.add(step)
    return collector.to_response().text


@pytest.mark.parametrize("reader", sorted(DIALECTS))
@pytest.mark.parametrize(
    ("wire", "stream"),
    [
        ("openai_chat", _recorded('"tool_calls":[{"index":0,"id"')),
        ("openai_chat", _recorded('"signature"')),
        ("openai_responses", _recorded('"type":"response.created"')),
        ("anthropic_messages", MESSAGES),
        *((name, b"".join(samples_of(name).hello)) for name in sorted(DIALECTS)),
    ],
    ids=["chat with calls", "chat with thinking", "responses", "messages", *sorted(DIALECTS)],
)
async def test_a_reply_cut_anywhere_is_read_whole_or_is_an_error(
    wire: WireName, stream: bytes, reader: WireName, open_server: Any
) -> None:
    replies = _distinct_cuts(wire, stream)
    assert len(replies) > 5
    whole = 0
    async with (
        open_server(FakeUpstream(*replies)) as server,
        _client(reader, server.port) as read,
    ):
        for steps in replies:
            if isinstance(steps[-1], Finished):
                assert await read() == _text(steps)
                whole += 1
            else:
                with pytest.raises((anthropic.APIError, openai.APIError, DevFlowError)) as caught:
                    await read()
                assert "cut off" in str(caught.value)
    assert 1 <= whole < len(replies)
    outcomes = [entry.outcome for entry in server.ledger.entries]
    assert outcomes.count("succeeded") == whole
    assert outcomes.count("failed") == len(replies) - whole
