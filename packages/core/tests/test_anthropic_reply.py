import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.errors import ContextTooLong, Incomplete, Overloaded, ProtocolError, RateLimited
from devflow_core.events import Event, Finished, Opaque, Started, TextDelta
from devflow_core.messages import JsonObject, Reasoning, Text, ToolCall
from devflow_core.response import ChatResponse
from devflow_core.usage import Usage
from devflow_core.wire import get_dialect

ANTHROPIC = get_dialect("anthropic_messages")
Decode = Callable[..., list[Event]]
Collect = Callable[[Sequence[Event]], ChatResponse]


def _sse(kind: str, **body: Any) -> bytes:
    data = json.dumps({"type": kind, **body}).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _start(model: str = "anthropic/claude-x", **usage: Any) -> bytes:
    message: JsonObject = {"id": "gen-1", "type": "message", "role": "assistant", "model": model,
               "provider": "P", "content": [], "usage": {"input_tokens": 0, **usage}}  # fmt: skip
    return _sse("message_start", message=message)


def _block(index: int, block: JsonObject, *deltas: JsonObject) -> bytes:
    return (
        _sse("content_block_start", index=index, content_block=block)
        + b"".join(_sse("content_block_delta", index=index, delta=one) for one in deltas)
        + _sse("content_block_stop", index=index)
    )


def _say(text: str, index: int = 0) -> bytes:
    return _block(index, {"type": "text", "text": ""}, {"type": "text_delta", "text": text})


def _end(reason: str = "end_turn", **usage: Any) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return _sse("message_delta", delta=delta, usage=usage) + _sse("message_stop")


FULL = (
    _start(input_tokens=3, cache_read_input_tokens=20)
    + _sse("ping")
    + _block(0, {"type": "thinking", "thinking": "", "signature": ""},
             {"type": "thinking_delta", "thinking": "Let "},
             {"type": "thinking_delta", "thinking": "us"},
             {"type": "signature_delta", "signature": "sig"})
    + _block(1, {"type": "redacted_thinking", "data": "xx"})
    + _say("Hi", 2)
    + b": comment\n\n"
    + _block(3, {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
             {"type": "input_json_delta", "partial_json": ""},
             {"type": "input_json_delta", "partial_json": '{"a":'},
             {"type": "input_json_delta", "partial_json": "1}"})
    + _block(4, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
             {"type": "input_json_delta", "partial_json": "{}"},
             {"type": "citations_delta", "citation": {}})
    + _end("tool_use", output_tokens=9, cost=0.00010, is_byok=False,
           cache_creation_input_tokens=7, cache_creation={"ephemeral_1h_input_tokens": 5})
)  # fmt: skip


def test_a_stream_is_read_to_its_end(decode_stream: Decode, fold: Collect) -> None:
    events = decode_stream(ANTHROPIC.make_decoder("m"), FULL)
    assert b"".join(one.frame.data for one in events if one.frame) == FULL
    response = fold(events)
    signed, redacted, text, call = response.parts
    assert signed == Reasoning(
        text="Let us",
        signature="sig",
        detail={"type": "reasoning.text", "format": "anthropic-claude-v1"},
    )
    assert isinstance(redacted, Reasoning)
    assert redacted.encrypted == "xx"
    assert text == Text(text="Hi")
    assert call == ToolCall(id="t1", name="f", arguments='{"a":1}')
    assert (response.generation_id, response.provider) == ("gen-1", "P")
    assert (response.finish_reason, response.native_finish_reason) == ("tool_calls", "tool_use")
    assert response.usage == Usage(
        input_tokens=3, cache_read_tokens=20, cache_write_tokens=7, cache_write_1h_tokens=5,
        output_tokens=9,
    )  # fmt: skip
    assert response.cost is not None
    assert response.cost.usd == Decimal("0.0001")


def test_every_cut_of_a_stream_gives_the_same_events(decode_stream: Decode) -> None:
    whole = decode_stream(ANTHROPIC.make_decoder(), FULL)
    for cut in range(1, len(FULL), 7):
        assert decode_stream(ANTHROPIC.make_decoder(), FULL, [cut, cut + 3]) == whole


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop"),
        ("max_tokens", "length"), ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"), ("something_new", "stop"),
    ],
)  # fmt: skip
def test_stop_reasons_have_their_words(
    stop_reason: str, reason: str, decode_stream: Decode
) -> None:
    finished = decode_stream(ANTHROPIC.make_decoder(), _start() + _say("x") + _end(stop_reason))[-1]
    assert isinstance(finished, Finished)
    assert (finished.finish_reason, finished.native_finish_reason) == (reason, stop_reason)
    assert finished.usage is None


def test_thinking_of_another_model_is_marked_as_its_own(
    decode_stream: Decode, fold: Collect
) -> None:
    block = _block(0, {"type": "thinking", "thinking": "Hm", "signature": "s"})
    response = fold(
        decode_stream(ANTHROPIC.make_decoder(), _start("google/gemini-x") + block + _end())
    )
    (thinking,) = response.parts
    assert isinstance(thinking, Reasoning)
    assert thinking.detail == {"type": "reasoning.text", "devflow_model": "google/gemini-x"}


def test_a_stop_reason_with_a_clean_end_is_an_end(decode_stream: Decode) -> None:
    stream = _start() + _say("x") + _end().split(b"event: message_stop")[0]
    assert isinstance(decode_stream(ANTHROPIC.make_decoder(), stream)[-1], Finished)


@pytest.mark.parametrize(
    "stream", [b"", _start(), _start() + _say("x"), _start() + _sse("message_stop"),
               _start() + _say("x") + b'data: {"type":"message_del'],
)  # fmt: skip
def test_a_stream_without_a_stop_reason_is_incomplete(stream: bytes, decode_stream: Decode) -> None:
    with pytest.raises(Incomplete, match="without a stop reason"):
        decode_stream(ANTHROPIC.make_decoder(), stream)


def test_done_of_another_dialect_means_nothing(decode_stream: Decode, fold: Collect) -> None:
    stream = b"data: [DONE]\n\n" + _start() + b"data: [DONE]\n\n" + _say("x") + _end() + _say("y")
    assert fold(decode_stream(ANTHROPIC.make_decoder(), stream)).text == "x"


def test_text_before_the_start_begins_the_reply(decode_stream: Decode) -> None:
    events = decode_stream(ANTHROPIC.make_decoder(), _sse("ping") + _say("x") + _end())
    assert [type(one) for one in events[:2]] == [Started, TextDelta]
    assert events[0].frame is not None
    assert events[1].frame is None


def test_text_in_the_first_form_of_a_block_is_text(decode_stream: Decode, fold: Collect) -> None:
    stream = _start() + _block(0, {"type": "text", "text": "x"}) + _end()
    assert fold(decode_stream(ANTHROPIC.make_decoder(), stream)).text == "x"


def test_errors_in_the_stream_are_raised(decode_stream: Decode) -> None:
    fault = {"type": "overloaded_error", "message": "Overloaded"}
    with pytest.raises(Overloaded) as caught:
        decode_stream(ANTHROPIC.make_decoder("m"), _start() + _sse("error", error=fault))
    assert caught.value.generation_id == "gen-1"
    with pytest.raises(Overloaded):
        decode_stream(ANTHROPIC.make_decoder(), _sse("error", error=fault))
    with pytest.raises(RateLimited):
        decode_stream(ANTHROPIC.make_decoder(), b'data: {"error":{"code":429,"message":"m"}}\n\n')


def test_what_is_no_event_is_a_protocol_error(decode_stream: Decode) -> None:
    with pytest.raises(ProtocolError):
        decode_stream(ANTHROPIC.make_decoder(), b"data: <html>\n\n")


def test_strange_events_are_opaque(decode_stream: Decode) -> None:
    strange = _sse("novelty") + _sse("content_block_delta", index="x", delta=1)
    events = decode_stream(ANTHROPIC.make_decoder(), _start() + strange + _end())
    assert [one.kind for one in events if isinstance(one, Opaque)] == [
        "novelty", "content_block_delta", "finish",
    ]  # fmt: skip


def test_a_whole_reply_is_read(fold: Collect) -> None:
    body = {
        "id": "gen-2", "type": "message", "model": "anthropic/claude-x", "stop_reason": "tool_use",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "s"},
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4,
                  "output_tokens_details": {"thinking_tokens": 9}},
    }  # fmt: skip
    response = fold(ANTHROPIC.decode_response(json.dumps(body).encode()))
    assert response.text == "Hi"
    assert response.tool_calls == (ToolCall(id="t", name="f", arguments='{"a":1}'),)
    assert response.usage == Usage(input_tokens=3, reasoning_tokens=4)


def test_a_whole_reply_that_is_a_failure_is_raised() -> None:
    fault = {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 3 maximum"}
    with pytest.raises(ContextTooLong, match="9 tokens > 3 maximum"):
        ANTHROPIC.decode_response(
            json.dumps({"type": "error", "error": {**fault, "code": 400}}).encode()
        )
    with pytest.raises(ProtocolError, match="without content"):
        ANTHROPIC.decode_response(b'{"id":"x"}')
