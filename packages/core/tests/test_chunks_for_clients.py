"""Chunks as OpenAI's clients read them: their own accumulation is the judge."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from devflow_core.events import Event, Opaque
from devflow_core.request import ChatRequest
from devflow_core.response import Collector
from devflow_core.wire import SseReader, get_dialect
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

Decode = Callable[..., list[Event]]
CHAT = get_dialect("openai_chat")
REQUEST = ChatRequest.from_text("Hi", model="a/b")
HEAD = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "a/b"}
DONE = b"data: [DONE]\n\n"
Call = tuple[str, str, str]
"""The id, name and arguments of a call."""


def _chunk(delta: dict[str, Any], *, spaces: bool = False, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None, "native_finish_reason": None}
    for name in ("finish_reason", "native_finish_reason"):
        choice[name] = more.pop(name, None)
    separators = None if spaces else (",", ":")
    body = json.dumps({**HEAD, "choices": [choice], **more}, separators=separators)
    return b"data: " + body.encode() + b"\n\n"


def _end(**more: Any) -> bytes:
    return _chunk({"content": ""}, finish_reason="stop", native_finish_reason="end", **more)


def _passed(events: list[Event]) -> bytes:
    encoder = CHAT.make_encoder(REQUEST)
    return b"".join(map(encoder.encode, events))


def _bodies(stream: bytes) -> Iterator[dict[str, Any]]:
    for frame in SseReader().feed(stream):
        if frame.data not in {None, b"[DONE]"}:
            yield json.loads(frame.data or b"")


def _as_read(stream: bytes) -> Any:
    """Return the choice that OpenAI's client has accumulated at the end of a stream."""
    state = ChatCompletionStreamState()
    for body in _bodies(stream):
        state.handle_chunk(ChatCompletionChunk.model_validate(body))
    return state.current_completion_snapshot.choices[0]


def test_a_stream_with_nothing_to_repair_is_passed_on_byte_for_byte(decode_stream: Decode) -> None:
    stream = (
        _chunk({"role": "assistant", "content": ""}, spaces=True)
        + _chunk({"content": 'it says \\"role\\":"assistant", and €'})
        + _chunk({"content": None, "tool_calls": [{"index": 0, "id": "a", "type": "function",
                  "function": {"name": "f", "arguments": ""}}]})
        + _chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, spaces=True)
        + _end() + DONE
    )  # fmt: skip
    assert _passed(decode_stream(CHAT.make_decoder(), stream)) == stream


@pytest.mark.parametrize("spaces", [True, False])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_role_comes_once_and_no_other_byte_is_touched(
    decode_stream: Decode, spaces: bool, is_last: bool
) -> None:
    says = 'she wrote {"role":"assistant","x":1}'
    fields: list[tuple[str, Any]] = [("content", says), ("role", "assistant")]
    delta = dict(fields if is_last else fields[::-1])
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 1}
    with_usage = _chunk(delta, usage=usage).replace(b'"cost":1', b'"cost":0.0000600')
    stream = _chunk(delta, spaces=spaces) * 2 + with_usage + _end() + DONE
    passed = _passed(decode_stream(CHAT.make_decoder(), stream))
    deltas = [body["choices"][0]["delta"] for body in _bodies(passed)]
    assert [one.get("role") for one in deltas] == ["assistant", None, None, None]
    assert [one["content"] for one in deltas] == [says, says, says, ""]
    assert b'"cost":0.0000600' in passed
    assert _as_read(passed).message.role == "assistant"


def test_a_role_that_a_provider_leaves_out_is_added(decode_stream: Decode) -> None:
    stream = _chunk({"content": "a"}) + _chunk({"content": "b"}) + _end() + DONE
    passed = _passed(decode_stream(CHAT.make_decoder(), stream))
    assert _as_read(passed).message.role == "assistant"
    assert passed.endswith(_chunk({"content": "b"}) + _end() + DONE)


def test_a_finish_reason_comes_once_and_no_other_byte_is_touched(decode_stream: Decode) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    begin, again = _chunk({"role": "assistant", "content": "x"}), _end(usage=usage)
    passed = _passed(decode_stream(CHAT.make_decoder(), begin + _end() + again + DONE))
    blank = again.replace(b'_reason":"stop"', b'_reason":null').replace(b':"end"', b":null")
    assert passed == begin + _end() + blank + DONE


def test_the_first_finish_reason_counts_for_whole_replies_too(decode_stream: Decode) -> None:
    begin = _chunk({"role": "assistant", "content": "x"})
    stream = begin + _chunk({}, finish_reason="length") + _end() + DONE
    events = decode_stream(CHAT.make_decoder(), stream)
    collector = Collector()
    for event in events:
        collector.add(event)
    assert collector.to_response().finish_reason == "length"
    assert _as_read(_passed(events)).finish_reason == "length"


def test_a_stream_that_is_translated_ends_once(decode_stream: Decode) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    events = decode_stream(CHAT.make_decoder(), _chunk({"content": "x"}) + _end(usage=usage) + DONE)
    # the first event of a translated stream has no frame
    encoder = CHAT.make_encoder(REQUEST)
    frameless = [replace(event, frame=None) for event in events if not isinstance(event, Opaque)]
    bodies = list(_bodies(b"".join(map(encoder.encode, frameless))))
    reasons = [choice["finish_reason"] for body in bodies for choice in body["choices"]]
    assert [one for one in reasons if one] == ["stop"]
    assert bodies[-1]["usage"]


@pytest.mark.parametrize(
    "odd",
    [b": \xff comment\n\n", b"event: \xff\ndata: {}\n\n", b"id: \xff\ndata: {\ndata: }\n\n",
     _chunk({"content": "?"}).replace(b"?", b"a\xe2\x82") +
     _chunk({"content": "?"}).replace(b"?", b"\xacb")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["openai_chat", "anthropic_messages", "openai_responses"])
def test_bytes_that_are_not_utf8_never_reach_a_client(
    decode_stream: Decode, name: str, odd: bytes
) -> None:
    dialect = get_dialect(name)
    if name == "openai_chat":
        begin, end = _chunk({"role": "assistant", "content": "x"}), _end() + b": \xfe\n" + DONE
    else:
        begin, end = _beginning_of(name), b""
    decoder, encoder = dialect.make_decoder(), dialect.make_encoder(REQUEST)
    events = [
        event for frame in SseReader().feed(begin + odd + end) for event in decoder.feed(frame)
    ]
    passed = b"".join(map(encoder.encode, events))
    assert "x" in passed.decode()
    if b"data: {}" not in odd and b"data: {\n" not in odd:  # a nameless event of theirs is nothing
        assert "�" in passed.decode()


def _beginning_of(name: str) -> bytes:
    body: dict[str, Any] = {"type": "message_start", "message": {"id": "x", "model": "a/b"}}
    if name == "openai_responses":
        body = {"type": "response.created", "response": {"id": "x", "model": "a/b", "output": []}}
    return b"event: " + body["type"].encode() + b"\ndata: " + json.dumps(body).encode() + b"\n\n"


# the law of calls: however a provider numbers and cuts them, clients and we read the same calls


@st.composite
def _calls(draw: st.DrawFn) -> list[Call]:
    count = draw(st.integers(1, 4))
    arguments = st.sampled_from(["{}", '{"p":1}', '{"city":"Köln"}', '{"a":[1,{"b":"}"}]}'])
    return [(f"call_{one}", f"tool_{one}", draw(arguments)) for one in range(count)]


@st.composite
def _pieces(draw: st.DrawFn, calls: list[Call]) -> list[dict[str, Any]]:
    """Draw the pieces of calls, cut and numbered in one of the ways that providers have."""
    step, first = draw(st.sampled_from([(0, 0), (1, 0), (3, 2), (0, None)]))
    repeats_id, repeats_name = draw(st.booleans()), draw(st.booleans())
    is_object = draw(st.booleans())
    pieces: list[dict[str, Any]] = []
    for index, (call_id, name, arguments) in enumerate(calls):
        if is_object:
            texts: list[Any] = [json.loads(arguments)]
        else:
            cuts = sorted(draw(st.lists(st.integers(0, len(arguments)), max_size=4)))
            edges = [0, *cuts, len(arguments)]
            texts = [arguments[a:b] for a, b in pairwise(edges)]
        for nth, text in enumerate(texts):
            function: dict[str, Any] = {"arguments": text}
            piece: dict[str, Any] = {
                "index": None if first is None else index * step + first,
                "type": "function",
            }
            if nth == 0 or repeats_id:
                piece["id"] = call_id
            if nth == 0 or repeats_name:
                function["name"] = name
            pieces.append({**piece, "function": function})
    if any(one["index"] is None for one in pieces):
        pieces = [{key: one[key] for key in one if key != "index"} for one in pieces]
    return pieces


@given(data=st.data())
def test_clients_read_the_calls_that_were_made(decode_stream: Decode, data: Any) -> None:
    calls = data.draw(_calls())
    pieces = data.draw(_pieces(calls))
    per_chunk = data.draw(st.integers(1, 3))
    deltas = [
        {"role": "assistant", "content": None, "tool_calls": pieces[at : at + per_chunk]}
        for at in range(0, len(pieces), per_chunk)
    ]
    stream = b"".join(map(_chunk, deltas)) + _end() * 2 + DONE
    events = decode_stream(CHAT.make_decoder(), stream)
    read = _as_read(_passed(events)).message
    assert read.role == "assistant"
    assert [(one.id, one.function.name) for one in read.tool_calls] == [c[:2] for c in calls]
    assert [json.loads(one.function.arguments) for one in read.tool_calls] == [
        json.loads(call[2]) for call in calls
    ]
    assert [one.index for one in read.tool_calls] == list(range(len(calls)))


@given(data=st.data())
@pytest.mark.parametrize("wire", ["anthropic_messages", "openai_responses"])
def test_so_do_clients_of_other_dialects(wire: str, decode_stream: Decode, data: Any) -> None:
    calls = data.draw(_calls())
    stream = b"".join(_chunk({"tool_calls": [one]}) for one in data.draw(_pieces(calls)))
    events = decode_stream(CHAT.make_decoder(), stream + _end() + DONE)
    encoder, again = get_dialect(wire).make_encoder(REQUEST), get_dialect(wire).make_decoder()
    collector = Collector()
    for event in decode_stream(again, b"".join(map(encoder.encode, events))):
        collector.add(event)
    read = collector.to_response().tool_calls
    assert [(one.id, one.name) for one in read] == [call[:2] for call in calls]
    assert [json.loads(one.arguments) for one in read] == [json.loads(call[2]) for call in calls]


def test_a_piece_with_the_id_of_an_earlier_call_belongs_to_that(decode_stream: Decode) -> None:
    first: dict[str, Any] = {"id": "a", "function": {"name": "f", "arguments": '{"p"'}}
    pieces = (
        {"index": 0, **first},
        {"index": 0, "id": "b", "function": {"name": "g", "arguments": "{"}},
        {"index": 0, "id": "a", "function": {"arguments": ":1}"}},
        {"index": 0, "id": "b", "function": {"arguments": "}"}},
    )
    stream = b"".join(_chunk({"tool_calls": [one]}) for one in pieces) + _end() + DONE
    read = _as_read(_passed(decode_stream(CHAT.make_decoder(), stream))).message
    found = [(one.id, one.function.name, one.function.arguments) for one in read.tool_calls]
    assert found == [("a", "f", '{"p":1}'), ("b", "g", "{}")]
