import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.errors import (
    Incomplete,
    Overloaded,
    ProtocolError,
    ProviderUnavailable,
    RateLimited,
    UpstreamError,
    UpstreamRejected,
)
from devflow_core.events import (
    Event,
    Finished,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.messages import Reasoning, Text, ToolCall
from devflow_core.response import ChatResponse, Collector
from devflow_core.usage import Usage
from devflow_core.wire import get_dialect
from hypothesis import given
from hypothesis import strategies as st

CHAT = get_dialect("openai_chat")
Decode = Callable[..., list[Event]]


def _chunk(delta: dict[str, Any] | None = None, **more: Any) -> bytes:
    finish = more.pop("finish_reason", None)
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "gen-1", "model": "a/b", "provider": "P", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
END = _chunk({}, finish_reason="stop") + DONE


def _collect(events: list[Event]) -> ChatResponse:
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.to_response()


def _streams(recordings: list[dict[str, Any]]) -> list[bytes]:
    return [
        one["body"].encode()
        for one in recordings
        if isinstance(one["body"], str) and one["body"].startswith(":")
        and "chat/completions" in one["path"] and "stream_error" not in one["source"]
    ]  # fmt: skip


def test_every_recorded_stream_is_read_to_its_end(
    recordings: list[dict[str, Any]], decode_stream: Decode
) -> None:
    streams = _streams(recordings)
    assert len(streams) > 15
    for stream in streams:
        events = decode_stream(CHAT.make_decoder(), stream)
        assert isinstance(events[0], Started)
        assert [one for one in events if isinstance(one, Finished)] == events[-1:]
        response = _collect(events)
        assert response.generation_id
        assert response.provider
        assert response.usage is not None
        assert response.parts


def test_frames_of_a_recorded_stream_are_its_bytes_but_for_what_is_repeated(
    recordings: list[dict[str, Any]], decode_stream: Decode
) -> None:
    repeated = re.compile(rb'"role":"assistant"|"(?:native_)?finish_reason":[^,}]*|,')
    for stream in _streams(recordings):
        frames = [one.frame for one in decode_stream(CHAT.make_decoder(), stream) if one.frame]
        passed = repeated.sub(b"", b"".join(frame.data for frame in frames))
        sent = repeated.sub(b"", stream)
        assert sent.endswith(passed)
        assert sent[: -len(passed)].replace(b": OPENROUTER PROCESSING\n\n", b"") == b""


@given(cuts=st.lists(st.integers(0, 20_000), max_size=30), index=st.integers(0, 14))
def test_how_the_bytes_are_cut_changes_no_event(
    recordings: list[dict[str, Any]], decode_stream: Decode, cuts: list[int], index: int
) -> None:
    stream = _streams(recordings)[index]
    assert decode_stream(CHAT.make_decoder(), stream, cuts) == decode_stream(
        CHAT.make_decoder(), stream
    )


def test_every_recorded_whole_reply_is_read(recordings: list[dict[str, Any]]) -> None:
    read = 0
    for one in recordings:
        body = one["body"]
        if one["status"] != 200 or "chat/comp" not in one["path"] or str(body).startswith(":"):
            continue
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        response = _collect(list(CHAT.decode_response(raw, "m")))
        message: dict[str, Any] = json.loads(raw)["choices"][0]["message"]
        assert response.text == (message["content"] or "")
        calls: list[dict[str, Any]] = message.get("tool_calls") or []
        assert [call.id for call in response.tool_calls] == [call["id"] for call in calls]
        read += 1
    assert read > 60


def test_reading_costs_keeps_the_digits_of_the_wire(decode_stream: Decode) -> None:
    usage = (
        b'data: {"id":"g","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":4,'
        b'"cost":1.40e-07,"is_byok":true,"cost_details":{"upstream_inference_cost":0.000002}}}\n\n'
    )
    events = decode_stream(
        CHAT.make_decoder(),
        _chunk({"content": "x"}) + _chunk({}, finish_reason="stop") + usage + DONE,
    )
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.cost is not None
    assert finished.cost.text == "1.40e-07"
    assert finished.cost.usd == Decimal("1.4E-7")
    assert finished.cost.is_byok
    assert finished.cost.upstream_usd == Decimal("0.000002")
    assert finished.usage == Usage(input_tokens=10, output_tokens=4)


def test_a_finish_reason_that_comes_twice_ends_the_reply_once(decode_stream: Decode) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    stream = _chunk({"content": "x"}) + _chunk({}, finish_reason="stop")
    events = decode_stream(
        CHAT.make_decoder(),
        stream + _chunk({"content": ""}, finish_reason="stop", usage=usage) + DONE,
    )
    assert [type(event).__name__ for event in events] == [
        "Started", "TextDelta", "Opaque", "Opaque", "Finished",
    ]  # fmt: skip
    assert [event.kind for event in events if isinstance(event, Opaque)] == ["finish", "usage"]


def test_nothing_counts_after_the_end(decode_stream: Decode) -> None:
    events = decode_stream(
        CHAT.make_decoder(), _chunk({"content": "x"}) + END + _chunk({"content": "y"})
    )
    assert _collect(events).text == "x"


def test_text_beside_other_fields_is_text(decode_stream: Decode) -> None:
    stream = _chunk({"content": "a", "role": "assistant"}) + _chunk({"content": "b", "x": None})
    more = _chunk({"content": "c", "refusal": None, "role": "assistant"})
    assert _collect(decode_stream(CHAT.make_decoder(), stream + more + END)).text == "abc"


def test_a_clean_end_without_done_is_an_end(decode_stream: Decode) -> None:
    stream = _chunk({"content": "x"}) + _chunk({}, finish_reason="length")
    events = decode_stream(CHAT.make_decoder(), stream)
    assert events[-1] == Finished(finish_reason="length", native_finish_reason="length")


@pytest.mark.parametrize(
    "stream", [b"", b": only\n\n", _chunk({"content": "x"}), _chunk({"content": "x"}) + DONE]
)
def test_a_reply_without_a_finish_reason_is_incomplete(
    stream: bytes, decode_stream: Decode
) -> None:
    with pytest.raises(Incomplete, match="cut off") as caught:
        decode_stream(CHAT.make_decoder("a/b"), stream)
    assert caught.value.model == "a/b"


def test_half_an_event_at_the_end_is_a_cut_and_not_a_broken_event(decode_stream: Decode) -> None:
    with pytest.raises(Incomplete):
        decode_stream(CHAT.make_decoder(), _chunk({"content": "x"}) + b'data: {"id":"g","choi')


def test_an_unterminated_done_is_an_end(decode_stream: Decode) -> None:
    events = decode_stream(CHAT.make_decoder(), _chunk({"content": "x"}) + END.rstrip())
    assert isinstance(events[-1], Finished)


def _typed(code: int, error_type: str) -> dict[str, Any]:
    return {"code": code, "message": "m", "metadata": {"error_type": error_type}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_typed(429, "rate_limit_exceeded"), RateLimited),
        (_typed(502, "provider_unavailable"), ProviderUnavailable),
        ({"code": "server_error", "message": "Internal"}, ProviderUnavailable),
        ({"message": "busy", "code": 503}, Overloaded),
        ("something broke", ProviderUnavailable),
    ],
)
@pytest.mark.parametrize("begin", [b"", _chunk({"content": "x"})])
def test_an_error_in_the_stream_is_raised_as_what_it_is(
    error: Any, kind: type[UpstreamError], begin: bytes, decode_stream: Decode
) -> None:
    stream = begin + _chunk({"content": ""}, finish_reason="error", error=error)
    with pytest.raises(kind) as caught:
        decode_stream(CHAT.make_decoder("a/b"), stream + DONE)
    assert type(caught.value) is kind
    assert caught.value.generation_id == "gen-1"
    assert caught.value.provider == "P"
    assert caught.value.model == "a/b"


def test_a_bare_error_event_is_raised(decode_stream: Decode) -> None:
    with pytest.raises(RateLimited):
        decode_stream(
            CHAT.make_decoder(), b'data: {"error":{"code":429,"message":"m"},"user_id":"u"}\n\n'
        )


def test_a_finish_reason_of_error_alone_is_an_error(decode_stream: Decode) -> None:
    with pytest.raises(ProviderUnavailable, match="ended in an error"):
        decode_stream(CHAT.make_decoder(), _chunk({"content": "x"}, finish_reason="error") + DONE)


def test_the_recorded_error_in_a_stream_is_raised(
    recordings: list[dict[str, Any]], decode_stream: Decode
) -> None:
    (one,) = [one for one in recordings if "stream_error" in one["source"]]
    with pytest.raises(UpstreamRejected, match="Token limit reached"):
        decode_stream(CHAT.make_decoder(), one["body"].encode())


@pytest.mark.parametrize("data", [b"<html>", b"[]", b"{", b'"text"'])
def test_an_event_that_is_no_object_is_a_protocol_error(data: bytes, decode_stream: Decode) -> None:
    with pytest.raises(ProtocolError):
        decode_stream(CHAT.make_decoder(), b"data: " + data + b"\n\n")


def test_bad_utf8_and_halves_of_surrogates_become_replacement_characters(
    decode_stream: Decode,
) -> None:
    broken = _chunk({"content": "aXb"}).replace(b"X", b"\xff")
    half = _chunk({"content": "X"}).replace(b"X", b"\\ud83d")
    whole = _chunk({"content": "X", "role": "assistant"}).replace(b"X", b"\\ud83d\\ude00\\udc00")
    response = _collect(decode_stream(CHAT.make_decoder(), broken + half + whole + END))
    assert response.text == "a�b�\U0001f600�"


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1e308, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": 2**64, "completion_tokens": 1},
        {"prompt_tokens": "seven", "completion_tokens": 1},
        {"prompt_tokens": "9" * 30, "completion_tokens": 1},
        {"prompt_tokens": 10**18, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": float("nan"), "completion_tokens": 1},
        {"completion_tokens": 1},
        {},
    ],
)
def test_impossible_usage_is_no_usage(usage: dict[str, Any], decode_stream: Decode) -> None:
    stream = _chunk({"content": "x"}) + _chunk({}, finish_reason="stop", usage=usage) + DONE
    assert _collect(decode_stream(CHAT.make_decoder(), stream)).usage is None


@pytest.mark.parametrize(("prompt", "completion"), [(7, 1), (7.0, 1.0), ("7", "1")])
def test_counts_are_taken_as_programs_write_them(
    prompt: object, completion: object, decode_stream: Decode
) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    stream = _chunk({"content": "x"}) + _chunk({}, finish_reason="stop", usage=usage) + DONE
    assert _collect(decode_stream(CHAT.make_decoder(), stream)).usage == Usage(
        input_tokens=7, output_tokens=1
    )


@pytest.mark.parametrize("cost", [-0.1, 1e9, float("nan"), float("inf"), True, "free", [], None])
def test_an_impossible_cost_is_no_cost(cost: Any, decode_stream: Decode) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}
    stream = _chunk({"content": "x"}) + _chunk({}, finish_reason="stop", usage=usage) + DONE
    assert _collect(decode_stream(CHAT.make_decoder(), stream)).cost is None


def test_a_cost_that_is_text_is_a_cost() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cost": "0.00010"}
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    response = _collect(list(CHAT.decode_response(json.dumps(body).encode())))
    assert response.cost is not None
    assert response.cost.text == "0.00010"


def test_cached_and_written_tokens_that_overlap_are_counted_once() -> None:
    usage = {
        "prompt_tokens": 2168, "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 2161, "cache_write_tokens": 2161},
        "completion_tokens_details": {"reasoning_tokens": 12},
    }  # fmt: skip
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    response = _collect(list(CHAT.decode_response(json.dumps(body).encode())))
    assert response.usage == Usage(
        input_tokens=0, cache_read_tokens=2161, cache_write_tokens=7, reasoning_tokens=9
    )
    assert response.usage is not None
    assert response.usage.total_tokens == 2168 + 9


def test_one_index_with_a_new_id_is_another_call(decode_stream: Decode) -> None:
    def call(**fields: Any) -> bytes:
        return _chunk({"content": None, "tool_calls": [fields]})

    stream = (
        call(index=0, id="a", type="function", function={"name": "f", "arguments": ""})
        + call(index=0, function={"arguments": '{"x":'})
        + call(index=0, function={"arguments": "1}"})
        + call(index=0, id="b", function={"name": "g", "arguments": "{}"})
        + call(index=7, id="c", function={"name": "h"})
        + call(id="d", function={"name": "i", "arguments": "{"})
        + call(function={"arguments": "}"})
        + _chunk({"tool_calls": ["nonsense"]})
    )
    response = _collect(decode_stream(CHAT.make_decoder(), stream + END))
    assert response.parts == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments="{}"),
        ToolCall(id="c", name="h", arguments=""),
        ToolCall(id="d", name="i", arguments="{}"),
    )


def test_fragments_of_thinking_are_one_block_with_the_signature_that_comes_last(
    decode_stream: Decode,
) -> None:
    def think(plain: str, **detail: Any) -> bytes:
        form = "anthropic-claude-v1"
        details = [{"type": "reasoning.text", "format": form, "index": 0, **detail}]
        return _chunk({"content": "", "reasoning": plain, "reasoning_details": details})

    stream = think("Let ", text="Let ") + think("us", text="us") + think("", signature="sig")
    response = _collect(
        decode_stream(CHAT.make_decoder(), stream + _chunk({"content": "Yes"}) + END)
    )
    thinking, answer = response.parts
    assert isinstance(thinking, Reasoning)
    assert (thinking.text, thinking.signature) == ("Let us", "sig")
    assert thinking.detail == {
        "type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0,
    }  # fmt: skip
    assert answer == Text(text="Yes")


def test_encrypted_thinking_and_its_readable_form_are_both_kept(decode_stream: Decode) -> None:
    details = [
        {"type": "reasoning.encrypted", "data": "x9", "format": "openai-responses-v1", "index": 0}
    ]
    stream = _chunk({"content": "", "reasoning": "Hm", "reasoning_details": details})
    response = _collect(decode_stream(CHAT.make_decoder(), stream + END))
    plain, sealed = response.parts
    assert isinstance(plain, Reasoning)
    assert isinstance(sealed, Reasoning)
    assert plain.text == "Hm"
    assert sealed.encrypted == "x9"


def test_plain_thinking_of_other_providers_is_read(decode_stream: Decode) -> None:
    stream = _chunk({"reasoning_content": "Hm"}) + _chunk({"content": "x"})
    events = decode_stream(CHAT.make_decoder(), stream + END)
    assert [e.text for e in events if isinstance(e, ReasoningDelta)] == ["Hm"]


def test_what_the_hub_has_no_word_for_is_opaque_with_its_frame(decode_stream: Decode) -> None:
    note = _chunk({"annotations": [{"type": "url_citation"}]})
    debug = b'data: {"choices":[],"debug":{}}\n\n'
    other = b'data: {"choices":[{"index":1,"delta":{"content":"no","role":"assistant"}}]}\n\n'
    stream = _chunk({"content": "x", "role": "assistant"}) + note + debug + other + b": comment\n\n"
    events = decode_stream(CHAT.make_decoder(), stream + END)
    frames = [e.frame.data for e in events if isinstance(e, Opaque) and e.frame]
    assert frames[:4] == [note, debug, other, b": comment\n\n"]
    assert sum(isinstance(event, TextDelta | ToolCallDelta) for event in events) == 1


@pytest.mark.parametrize("body", [b"{}", b'{"choices":null}', b'{"choices":[]}', b"", b"<html>"])
def test_a_whole_reply_without_choices_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        CHAT.decode_response(body)


def test_a_whole_reply_with_an_error_is_that_error_whatever_the_status() -> None:
    body = b'\n\n  \n{"id":"gen-9","error":{"message":"Service overloaded","code":503}}'
    with pytest.raises(Overloaded) as caught:
        CHAT.decode_response(body, "a/b")
    assert caught.value.generation_id == "gen-9"


def test_a_whole_reply_that_is_padded_is_read() -> None:
    body = b'\n   \n{"id":"g","choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'
    assert _collect(list(CHAT.decode_response(body))).text == "x"
