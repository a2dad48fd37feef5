"""What a provider streams reaches a client of the same dialect byte by byte, and nothing twice.

Chunks of OpenAI's dialect are repaired where its clients would misread them; all else of them
arrives as it was sent.
"""

import re
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
from devflow_core.events import Finished
from devflow_core.messages import WireName
from devflow_core.request import ChatRequest
from devflow_core.wire import DIALECTS, SseReader, get_dialect
from devflow_gateway import wiring
from devflow_server.replies.held_usage import HeldUsage
from dialect_samples import named_event, samples_of
from hypothesis import given
from hypothesis import strategies as st
from integration.upstream_door import MODEL, WIRE_SAMPLES, open_door, sample, streamed

_OURS = re.compile(rb',"devflow":\{[^{}]*\}')
SAMPLES = sorted(path.name for path in WIRE_SAMPLES.glob("*.sse"))


def _without_ours(body: bytes) -> bytes:
    return _OURS.sub(b"", body)


def _without_repairs(stream: bytes) -> list[Any]:
    """The frames of a stream without what is repaired in a chunk; other frames as they are."""
    frames = SseReader().feed(stream)
    return [_unrepaired(one.data) if b'"choices"' in one.raw else one.raw for one in frames]


def _unrepaired(data: bytes | None) -> Any:
    chunk = orjson.loads(data or b"")
    for choice in chunk["choices"]:
        choice["finish_reason"] = None
        choice["delta"].pop("role", None)
        for call in choice["delta"].get("tool_calls", ()):
            for name in ("id", "index"):
                call.pop(name, None)
            function = call["function"]
            function.pop("name", None)
            if not isinstance(function["arguments"], str):
                function["arguments"] = orjson.dumps(function["arguments"]).decode()
    return chunk


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_stream_of_chunks_arrives_as_it_was_sent(tmp_path: Path, name: str) -> None:
    async with open_door(tmp_path, streamed(sample(name))) as door:
        reply = await door.send("openai_chat", stream=True)
        assert _without_repairs(_without_ours(reply.content)) == _without_repairs(sample(name))
        assert reply.content.count(b'"devflow"') == 1


MESSAGE_START = samples_of("anthropic_messages").start
CREATED = samples_of("openai_responses").start
_REPLY = {"id": "gen-1", "object": "response", "model": "openai/gpt-5-mini"}
USAGE = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}


async def test_a_stream_of_messages_arrives_as_it_was_sent(tmp_path: Path) -> None:
    sent = (
        MESSAGE_START
        + samples_of("anthropic_messages").opening[-1]
        + samples_of("anthropic_messages").rest[0]
        + b": still here\n\n"
        + named_event(type="message_delta", delta={"stop_reason": None}, usage=USAGE)
        + named_event(type="vendor_news", what="odd")
        + named_event(type="content_block_stop", index=0)
        + named_event(type="message_delta", delta={"stop_reason": "end_turn"}, usage=USAGE)
        + named_event(type="message_delta", delta={}, usage={**USAGE, "cost": 0.0001})
        + named_event(type="message_stop")
    )
    async with open_door(tmp_path, streamed(sent)) as door:
        reply = await door.send("anthropic_messages", stream=True)
        assert _without_ours(reply.content) == sent


async def test_a_stream_of_responses_arrives_as_it_was_sent(tmp_path: Path) -> None:
    sent = (
        named_event(type="response.vendor_news")
        + CREATED
        + named_event(type="response.output_text.delta", output_index=0, delta="a")
        + named_event(type="response.odd.delta", delta="b")
        + named_event(
            type="response.completed", response={**_REPLY, "status": "completed", "usage": USAGE}
        )
    )
    async with open_door(tmp_path, streamed(sent)) as door:
        reply = await door.send("openai_responses", stream=True)
        assert _without_ours(reply.content) == sent


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_response_that_fails_goes_on_with_its_numbers(
    tmp_path: Path, is_stored: bool
) -> None:
    created = named_event(type="response.created", sequence_number=3, response=_REPLY)
    text = named_event(
        type="response.output_text.delta", sequence_number=4, output_index=0, delta="a"
    )
    failed = named_event(type="error", sequence_number=5, message="gone", code="server_error")
    headers = {"idempotency-key": "k"} if is_stored else {}
    async with open_door(tmp_path, streamed(created, text, failed)) as door:
        for _ in range(2 if is_stored else 1):
            reply = await door.send("openai_responses", stream=True, headers=headers)
            frames = SseReader().feed(reply.content)
            *passed, last = (orjson.loads(one.data) for one in frames if one.data)
            assert [one["sequence_number"] for one in passed] == [3, 4]
            assert (last["type"], last["sequence_number"]) == ("response.failed", 5)
            assert last["response"]["id"] == _REPLY["id"]
        assert len(door.upstream.bodies) == 1


async def test_a_usage_is_not_lost_when_the_reply_breaks_off(tmp_path: Path) -> None:
    text, finish = sample("usage_twice.sse").split(b"\n\n")[:2]
    broken = b'data: {"error": {"code": 502, "message": "gone"}, "choices": []}'
    sent = b"\n\n".join((text, finish, broken, b""))
    async with open_door(tmp_path, streamed(sent)) as door:
        reply = await door.send("openai_chat", stream=True)
        assert b"\n\n" + finish + b"\n\n" in reply.content
        assert b'"error"' in reply.content


@pytest.mark.parametrize("name", ["id_changes.sse", "name_after_id.sse", "arguments_as_object.sse"])
async def test_a_call_in_any_pieces_is_one_call(tmp_path: Path, name: str) -> None:
    async with open_door(tmp_path, streamed(sample(name))) as door:
        reply = await door.send("openai_chat", stream=False)
        (call,) = reply.json()["choices"][0]["message"]["tool_calls"]
        assert call["id"] == "call_a"
        assert call["function"] == {"name": "Read", "arguments": '{"p":1}'}
        async with wiring.open_gateway(door.settings) as gateway:
            done = await gateway.complete(ChatRequest.from_text("Hi", model=MODEL))
        (called,) = done.tool_calls
        assert (called.id, called.name, called.arguments) == ("call_a", "Read", '{"p":1}')


async def test_a_whole_refusal_stays_one(tmp_path: Path) -> None:
    async with open_door(tmp_path, streamed(sample("refusal.sse"))) as door:
        reply = await door.send("openai_chat", stream=False)
        (choice,) = reply.json()["choices"]
        assert choice["message"]["content"] is None
        assert choice["message"]["refusal"] == "I can't do that"
        assert choice["finish_reason"] == "stop"
        async with wiring.open_gateway(door.settings) as gateway:
            done = await gateway.complete(ChatRequest.from_text("Hi", model=MODEL))
        assert (done.text, done.finish_reason) == ("I can't do that", "content_filter")


async def test_a_real_client_reads_a_usage_that_comes_twice(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, streamed(sample("usage_twice.sse"))) as door,
        openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="x", max_retries=0) as client,
    ):
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi"}], stream=True
            )
        ]
    assert [one.finish_reason for chunk in chunks for one in chunk.choices] == [None, "stop"]
    assert sum(chunk.usage is not None for chunk in chunks) == 2


# the law, for each dialect


@st.composite
def _replies(draw: st.DrawFn, wire: WireName) -> tuple[bytes, list[int]]:
    """A reply, and where its bytes are cut."""
    samples = samples_of(wire)
    frames = [
        *draw(st.lists(st.sampled_from(samples.before or (b"",)), max_size=2)),
        samples.start,
        *draw(st.lists(st.sampled_from(samples.between), max_size=12)),
        draw(st.sampled_from(samples.ends)),
    ]
    reply = b"".join(frames)
    cuts = draw(st.lists(st.integers(0, len(reply)), max_size=8))
    return reply, sorted(cuts)


def _relay(wire: WireName, reply: bytes, cuts: list[int]) -> bytes:
    """What a client of the same dialect is sent."""
    dialect = get_dialect(wire)
    reader, decoder = SseReader(), dialect.make_decoder("a/b")
    encoder = dialect.make_encoder(ChatRequest.from_text("Hi", model="a/b"))
    held, sent = HeldUsage(encoder), b""
    for start, end in zip([0, *cuts], [*cuts, len(reply)], strict=True):
        for frame in reader.feed(reply[start:end]):
            for event in decoder.feed(frame):
                if isinstance(event, Finished):
                    encoder.annotate({"cost_usd": "1"})
                sent += held.encode(event)
    assert decoder.finished
    return sent + held.release()


@pytest.mark.parametrize("wire", sorted(DIALECTS))
@given(data=st.data())
def test_whatever_is_sent_and_however_it_is_cut_arrives(wire: WireName, data: Any) -> None:
    reply, cuts = data.draw(_replies(wire))
    ends_in_done = samples_of(wire).ends_in_done
    sent = _relay(wire, reply, cuts)
    # a `[DONE]` in the middle would be taken for the end by many a reader
    expected = reply if ends_in_done else reply.replace(b"data: [DONE]\n\n", b"")
    if wire == "openai_chat":
        assert _without_repairs(_without_ours(sent)) == _without_repairs(expected)
    else:
        assert _without_ours(sent) == expected
    # a chunk may hold a usage beside its text; that one says nothing of ours
    assert sent.count(b'"devflow"') in ({0, 1} if ends_in_done else {1})
