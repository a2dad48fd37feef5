"""Tool calls, refusals and pictures of chat completions, for clients of other dialects."""

import json
from pathlib import Path
from typing import Any

import pytest
from devflow_core.events import Event
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire import SseReader, get_dialect
from devflow_core.wire.tool_calls import CallPieces

SAMPLES = Path(__file__).parent / "samples" / "wire"
REQUEST = ChatRequest.from_text("Hi", model="a/b")


def _events(stream: bytes) -> list[Event]:
    decoder = get_dialect("openai_chat").make_decoder("a/b")
    return [event for frame in SseReader().feed(stream) for event in decoder.feed(frame)]


def _translated(wire: Any, stream: bytes) -> list[dict[str, Any]]:
    encoder = get_dialect(wire).make_encoder(REQUEST)
    written = b"".join(encoder.encode(event) for event in _events(stream))
    return [json.loads(frame.data or b"") for frame in SseReader().feed(written)]


def _whole(wire: Any, stream: bytes) -> dict[str, Any]:
    collector = Collector()
    for event in _events(stream):
        collector.add(event)
    return json.loads(get_dialect(wire).encode_response(collector.to_response(), REQUEST))


CALLS = ["id_changes.sse", "name_after_id.sse", "arguments_as_object.sse"]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_one_block_with_its_name(name: str) -> None:
    bodies = _translated("anthropic_messages", (SAMPLES / name).read_bytes())
    (start,) = [one["content_block"] for one in bodies if one["type"] == "content_block_start"]
    assert (start["id"], start["name"]) == ("call_a", "Read")
    pieces = [one["delta"] for one in bodies if one["type"] == "content_block_delta"]
    assert "".join(piece["partial_json"] for piece in pieces) == '{"p":1}'
    whole = _whole("anthropic_messages", (SAMPLES / name).read_bytes())
    assert [block["input"] for block in whole["content"]] == [{"p": 1}]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_one_item_with_its_name(name: str) -> None:
    last = _translated("openai_responses", (SAMPLES / name).read_bytes())[-1]
    (item,) = last["response"]["output"]
    assert (item["call_id"], item["name"], item["arguments"]) == ("call_a", "Read", '{"p":1}')


def test_a_refusal_is_text_and_the_reason_says_so() -> None:
    stream = (SAMPLES / "refusal.sse").read_bytes()
    bodies = _translated("anthropic_messages", stream)
    texts = [one["delta"]["text"] for one in bodies if one["type"] == "content_block_delta"]
    assert "".join(texts) == "I can't do that"
    assert bodies[-2]["delta"]["stop_reason"] == "refusal"
    whole = _whole("anthropic_messages", stream)
    assert whole["content"] == [{"type": "text", "text": "I can't do that"}]
    assert whole["stop_reason"] == "refusal"


@pytest.mark.parametrize("wire", ["anthropic_messages", "openai_responses"])
def test_a_picture_that_cannot_be_shown_is_noted(wire: str) -> None:
    stream = (SAMPLES / "picture.sse").read_bytes()
    for said in (json.dumps(_translated(wire, stream)), json.dumps(_whole(wire, stream))):
        assert "A picture came with this reply" in said


def _piece(**call: Any) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def test_calls_that_are_all_numbered_zero_stay_apart() -> None:
    stream = b"".join(
        _piece(index=0, id=one, function={"name": one, "arguments": "{}"}) for one in ("f", "g")
    )
    content = _whole("anthropic_messages", stream + END)["content"]
    assert [block["name"] for block in content] == ["f", "g"]


def test_whole_arguments_in_the_start_of_a_block_are_kept() -> None:
    wire = get_dialect("anthropic_messages")
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {"p": 1}}
    bodies: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "model": "a/b"}},
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]
    stream = b"".join(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies)
    decoder, collector = wire.make_decoder("a/b"), Collector()
    for frame in SseReader().feed(stream):
        for event in decoder.feed(frame):
            collector.add(event)
    (call,) = collector.to_response().tool_calls
    assert call.arguments == '{"p":1}'


def test_a_number_that_is_given_twice_begins_another_call_once_the_first_is_whole() -> None:
    pieces = CallPieces()
    first = pieces.add(0, "a", "Read", "")
    again = pieces.add(0, "b", "Read", '{"p"')  # a new id and the same name: still the first
    inside = pieces.add(0, "c", "Read", ":1}")  # its arguments are not whole yet
    other = pieces.add(0, "d", "Read", "{}")  # they are: this is another one
    assert [one.index for one in (first, again, inside, other) if one] == [0, 0, 0, 1]
    assert pieces.add(0, "e", "Write", "{}") is not None
    assert pieces.count == 3
