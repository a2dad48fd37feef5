import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.errors import Incomplete, ProtocolError, ProviderUnavailable, RateLimited
from devflow_core.events import Event, Finished, Opaque, Started, TextDelta
from devflow_core.messages import Reasoning, Text, ToolCall
from devflow_core.response import ChatResponse
from devflow_core.usage import Usage
from devflow_core.wire import get_dialect

RESPONSES = get_dialect("openai_responses")
Decode = Callable[..., list[Event]]
Collect = Callable[[Sequence[Event]], ChatResponse]


def _sse(kind: str, **body: Any) -> bytes:
    return b"data: " + json.dumps({"type": kind, **body}).encode() + b"\n\n"


def _start(model: str = "openai/gpt-x") -> bytes:
    reply: dict[str, Any] = {"id": "gen-1", "model": model, "provider": "P", "output": []}
    return _sse("response.created", response=reply) + _sse("response.in_progress", response=reply)


def _added(index: int, **item: Any) -> bytes:
    return _sse("response.output_item.added", output_index=index, item=item)


def _done(index: int, **item: Any) -> bytes:
    return _sse("response.output_item.done", output_index=index, item=item)


def _say(text: str, index: int = 0) -> bytes:
    return _sse("response.output_text.delta", output_index=index, delta=text)


def _end(kind: str = "completed", **reply: Any) -> bytes:
    return _sse(f"response.{kind}", response={"id": "gen-1", "status": kind, **reply})


def test_the_recorded_stream_is_read(
    recordings: list[dict[str, Any]], decode_stream: Decode, fold: Collect
) -> None:
    (one,) = [one for one in recordings if "responses" in one["path"]]
    stream = one["body"].encode()
    events = decode_stream(RESPONSES.make_decoder(), stream)
    passed = b"".join(event.frame.data for event in events if event.frame)
    assert stream == b": OPENROUTER PROCESSING\n\n" + passed + b"data: [DONE]\n\n"
    response = fold(events)
    assert response.text == "4"
    assert response.usage == Usage(input_tokens=78, output_tokens=15, reasoning_tokens=22)
    assert response.cost is not None
    assert response.cost.text == "0.0000113"
    assert response.generation_id == "gen-1764265411-Fu1iEX7h5MRWiL79lb94"
    for cut in range(1, len(stream), 501):
        assert decode_stream(RESPONSES.make_decoder(), stream, [cut]) == events


FULL = (
    _start()
    + _added(0, type="reasoning", id="rs", summary=[])
    + _sse("response.reasoning_summary_text.delta", output_index=0, delta="Hm")
    + _done(0, type="reasoning", id="rs", summary=[{"text": "Hm"}], encrypted_content="gAAAAx")
    + _added(1, type="message", id="m")
    + _say("Hi", 1)
    + _done(1, type="message", content=[{"type": "output_text", "text": "Hi"}])
    + _added(2, type="function_call", call_id="c1", name="f", namespace="crm")
    + _added(3, type="function_call", call_id="c2", name="g")
    + _sse("response.function_call_arguments.delta", output_index=2, delta='{"a":')
    + _sse("response.function_call_arguments.delta", output_index=2, delta="1}")
    + _done(2, type="function_call", call_id="c1", arguments='{"a":1}')
    + _done(3, type="function_call", call_id="c2", arguments='{"b":2}')
    + _added(4, type="custom_tool_call", call_id="c3", name="patch")
    + _sse("response.custom_tool_call_input.delta", output_index=4, delta="*** x")
    + _done(4, type="custom_tool_call", call_id="c3", input="*** x")
    + _added(5, type="web_search_call", id="ws")
    + _done(5, type="web_search_call", id="ws")
    + b": comment\n\n"
    + _end(usage={"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4},
                  "output_tokens": 5, "cost": 0.25})
    + b"data: [DONE]\n\n"
)  # fmt: skip


def test_a_stream_is_read_to_its_terminal_event(decode_stream: Decode, fold: Collect) -> None:
    events = decode_stream(RESPONSES.make_decoder(), FULL)
    frames = b"".join(one.frame.data for one in events if one.frame)
    assert frames + b"data: [DONE]\n\n" == FULL
    response = fold(events)
    assert response.parts == (
        Reasoning(
            text="Hm",
            encrypted="gAAAAx",
            detail={"type": "reasoning.encrypted", "format": "openai-responses-v1", "id": "rs"},
        ),
        Text(text="Hi"),
        ToolCall(id="c1", name="crm__f", arguments='{"a":1}'),
        ToolCall(id="c2", name="g", arguments='{"b":2}'),
        ToolCall(id="c3", name="patch", arguments='{"input":"*** x"}'),
    )
    assert (response.finish_reason, response.native_finish_reason) == ("tool_calls", "completed")
    assert response.usage == Usage(input_tokens=5, cache_read_tokens=4, output_tokens=5)
    assert response.cost is not None
    assert response.cost.usd == Decimal("0.25")


def test_what_was_not_told_in_pieces_is_taken_from_the_item(
    decode_stream: Decode, fold: Collect
) -> None:
    stream = (
        _start("google/gemini-x")
        + _done(0, type="reasoning", id="r", summary=[], content=[{"text": "Hm"}])
        + _done(1, type="reasoning", id="r2", summary=[])
        + _done(2, type="message", content=[{"type": "refusal", "refusal": "No."}])
        + _done(3, type="function_call", call_id="never added")
        + _done(4, type="message", content=None)
        + _end()
    )
    response = fold(decode_stream(RESPONSES.make_decoder(), stream))
    thinking, text = response.parts
    assert isinstance(thinking, Reasoning)
    assert thinking.text == "Hm"
    assert thinking.detail == {
        "type": "reasoning.encrypted", "devflow_model": "google/gemini-x", "id": "r",
    }  # fmt: skip
    assert text == Text(text="No.")
    assert response.usage is None


@pytest.mark.parametrize(
    ("why", "reason"), [("max_output_tokens", "length"), ("content_filter", "content_filter")]
)
def test_an_incomplete_reply_says_why(why: str, reason: str, decode_stream: Decode) -> None:
    end = _end("incomplete", incomplete_details={"reason": why})
    finished = decode_stream(RESPONSES.make_decoder(), _start() + _say("x") + end)[-1]
    assert isinstance(finished, Finished)
    assert (finished.finish_reason, finished.native_finish_reason) == (reason, why)


@pytest.mark.parametrize(
    "stream",
    [b"", _start(), _start() + _say("x"), _start() + b"data: [DONE]\n\n",
     _start() + b'data: {"type":"response.comp'],
)  # fmt: skip
def test_a_stream_without_its_terminal_event_is_incomplete(
    stream: bytes, decode_stream: Decode
) -> None:
    with pytest.raises(Incomplete, match="without its terminal event"):
        decode_stream(RESPONSES.make_decoder(), stream)


def test_a_first_event_that_is_not_the_creation_begins_the_reply(decode_stream: Decode) -> None:
    events = decode_stream(
        RESPONSES.make_decoder(),
        b": c\n\ndata: [DONE]\n\n" + _sse("response.queued") + _say("x") + _end(),
    )
    assert [type(one) for one in events] == [Started, TextDelta, Finished]
    assert events[0].frame is not None


def test_a_second_creation_is_opaque(decode_stream: Decode) -> None:
    events = decode_stream(RESPONSES.make_decoder(), _start() + _start() + _end())
    assert [type(one) for one in events] == [Started, Opaque, Opaque, Opaque, Finished]


@pytest.mark.parametrize(
    "event",
    [
        _sse("response.failed", response={"error": {"code": "rate_limit_exceeded"}}),
        _sse("error", code="rate_limit_exceeded", message="m"),
        _sse("error", error={"code": 429, "message": "m"}),
        _sse("response.failed", response={"error": {"code": "x", "message": "m"},
                                          "error_type": "rate_limit_exceeded"}),
        b'data: {"error":{"code":429,"message":"m"}}\n\n',
    ],
)  # fmt: skip
def test_failures_in_the_stream_are_raised(event: bytes, decode_stream: Decode) -> None:
    with pytest.raises(RateLimited) as caught:
        decode_stream(RESPONSES.make_decoder("m"), _start() + event)
    assert caught.value.generation_id == "gen-1"
    with pytest.raises(RateLimited):
        decode_stream(RESPONSES.make_decoder("m"), event)


def test_what_is_no_event_is_a_protocol_error(decode_stream: Decode) -> None:
    with pytest.raises(ProtocolError):
        decode_stream(RESPONSES.make_decoder(), b"data: <html>\n\n")


def test_a_whole_reply_is_read(fold: Collect) -> None:
    body: dict[str, Any] = {
        "id": "gen-2", "model": "openai/gpt-x", "status": "completed",
        "output": [
            {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "gAAAAx"},
            {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ],
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }  # fmt: skip
    response = fold(RESPONSES.decode_response(json.dumps(body).encode()))
    assert response.text == "Hi"
    assert response.tool_calls == (ToolCall(id="c", name="f", arguments="{}"),)
    assert response.finish_reason == "tool_calls"


def test_a_whole_reply_that_is_a_failure_is_raised() -> None:
    with pytest.raises(ProviderUnavailable):
        RESPONSES.decode_response(b'{"error":{"code":"server_error","message":"m"}}')
    with pytest.raises(ProtocolError, match="without output"):
        RESPONSES.decode_response(b'{"id":"x"}')
