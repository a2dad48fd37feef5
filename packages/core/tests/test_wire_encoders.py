import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import openai
import orjson
import pytest
from devflow_core.errors import (
    BudgetExceeded,
    ContextTooLong,
    DevFlowError,
    Overloaded,
    UpstreamRejected,
)
from devflow_core.events import (
    Event,
    Finished,
    Frame,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.messages import Media, Reasoning, Text, ToolCall, WireName
from devflow_core.request import ChatRequest, Origin
from devflow_core.response import ChatResponse, Collector
from devflow_core.usage import ReportedCost, Usage
from devflow_core.wire import Dialect, EventEncoder, SseReader, get_dialect
from devflow_core.wire.reasoning import unseal
from devflow_core.wire.table import DIALECTS
from dialect_samples import samples_of
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

Decode = Callable[..., list[Event]]
Collect = Callable[[Sequence[Event]], ChatResponse]
WIRES = sorted(DIALECTS)
SDK_WIRES = ("openai_chat", "anthropic_messages", "openai_responses")
"""The dialects whose replies these tests have the vendors' own SDKs read."""
REQUEST = ChatRequest.from_text("How are you?", model="a/b")

USAGE = Usage(
    input_tokens=5, cache_read_tokens=3, cache_write_tokens=2, cache_write_1h_tokens=1,
    output_tokens=7, reasoning_tokens=4,
)  # fmt: skip
COST = ReportedCost(usd=Decimal("0.00025"), text="0.00025")
FINISHED = Finished(finish_reason="stop", usage=USAGE, cost=COST)
CALL = {"format": "anthropic-claude-v1", "type": "reasoning.text"}
EVENTS: list[Event] = [
    Started(generation_id="gen-1", model="anthropic/claude-x", provider="P"),
    ReasoningDelta(text="Let ", detail=CALL),
    ReasoningDelta(text="us"),
    ReasoningDelta(signature="sig"),
    Opaque(kind="ping"),
    TextDelta(text="He"),
    TextDelta(text="llo"),
    TextDelta(text=""),
    ToolCallDelta(index=0, id="c1", name="f"),
    ToolCallDelta(index=0, arguments='{"a":'),
    ToolCallDelta(index=1, id="c2", name="g", arguments='{"b"'),
    ToolCallDelta(index=0, arguments="1}"),
    ToolCallDelta(index=1, arguments=":2}"),
    replace(FINISHED, finish_reason="tool_calls"),
]


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


def _write(encoder: EventEncoder, events: Sequence[Event]) -> bytes:
    return b"".join(encoder.encode(event) for event in events)


def _bodies(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(one.data) for one in SseReader().feed(stream) if one.data]


def _client(content: bytes, kind: str = "text/event-stream") -> httpx2.MockTransport:
    headers = {"content-type": kind}
    return httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=content))


def _read_by_sdk(name: WireName, stream: bytes) -> dict[str, Any]:
    """Return the reply that the vendor's own SDK reads from a stream."""
    if name == "anthropic_messages":
        http = anthropic.DefaultHttpxClient(transport=_client(stream))
        with (
            anthropic.Anthropic(api_key="x", base_url="http://x", http_client=http) as client,
            client.messages.stream(model="m", max_tokens=9, messages=[]) as events,
        ):
            return events.get_final_message().model_dump()
    http = openai.DefaultHttpxClient(transport=_client(stream))
    with openai.OpenAI(api_key="x", base_url="http://x", http_client=http) as client:
        if name == "openai_chat":
            with client.chat.completions.stream(model="m", messages=[]) as chunks:
                return chunks.get_final_completion().model_dump()
        with client.responses.stream(model="m", input="x") as events:
            return events.get_final_response().model_dump()


def test_what_is_written_is_read_again(wire: Dialect, decode_stream: Decode, fold: Collect) -> None:
    stream = _write(wire.make_encoder(REQUEST), EVENTS)
    response = fold(decode_stream(wire.make_decoder(), stream))
    assert response.text == "Hello"
    assert (response.generation_id, response.model) == ("gen-1", "anthropic/claude-x")
    assert response.usage is not None
    assert response.usage.prompt_tokens == USAGE.prompt_tokens
    assert response.usage.completion_tokens == USAGE.completion_tokens
    assert response.cost is not None
    assert response.cost.usd == COST.usd
    if not samples_of(wire.name).carries_calls:
        assert response.tool_calls == ()
        return
    assert response.tool_calls == fold(EVENTS).tool_calls
    assert response.finish_reason == "tool_calls"
    thinking = response.parts[0]
    assert isinstance(thinking, Reasoning)
    assert thinking.text == "Let us"


def test_a_whole_reply_is_read_again(wire: Dialect, fold: Collect) -> None:
    expected = fold(EVENTS)
    response = fold(wire.decode_response(wire.encode_response(expected, REQUEST)))
    assert response.text == "Hello"
    carried = expected.tool_calls if samples_of(wire.name).carries_calls else ()
    assert response.tool_calls == carried
    assert response.usage is not None
    assert response.usage.total_tokens == USAGE.total_tokens


def test_every_sdk_reads_what_is_written() -> None:
    anthropics = _read_by_sdk(
        "anthropic_messages",
        _write(get_dialect("anthropic_messages").make_encoder(REQUEST), EVENTS),
    )
    assert [block["type"] for block in anthropics["content"]] == [
        "thinking", "text", "tool_use", "tool_use",
    ]  # fmt: skip
    assert anthropics["content"][0]["signature"] == "sig"
    assert anthropics["content"][2]["input"] == {"a": 1}
    assert anthropics["stop_reason"] == "tool_use"
    chat = _read_by_sdk(
        "openai_chat", _write(get_dialect("openai_chat").make_encoder(REQUEST), EVENTS)
    )
    message = chat["choices"][0]["message"]
    assert message["content"] == "Hello"
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [
        '{"a":1}', '{"b":2}',
    ]  # fmt: skip
    assert chat["usage"]["cost"] == 0.00025
    responses = _read_by_sdk(
        "openai_responses", _write(get_dialect("openai_responses").make_encoder(REQUEST), EVENTS)
    )
    assert [item["type"] for item in responses["output"]] == [
        "reasoning", "message", "function_call", "function_call",
    ]  # fmt: skip
    assert responses["usage"]["total_tokens"] == USAGE.total_tokens


def test_every_sdk_reads_whole_replies(fold: Collect) -> None:
    response = fold(EVENTS)
    body = get_dialect("anthropic_messages").encode_response(response, REQUEST)
    assert anthropic.types.Message.model_validate_json(body, strict=True).content[1].type == "text"
    body = get_dialect("openai_chat").encode_response(response, REQUEST)
    assert ChatCompletion.model_validate_json(body).choices[0].message.content == "Hello"
    body = get_dialect("openai_responses").encode_response(response, REQUEST)
    assert Response.model_validate_json(body).output_text == "Hello"


def test_recorded_replies_are_read_by_every_sdk_in_every_dialect(
    recordings: list[dict[str, Any]], decode_stream: Decode, fold: Collect
) -> None:
    read = 0
    for one in recordings:
        body = one["body"]
        if not isinstance(body, str) or not body.startswith(":") or "error" in one["source"]:
            continue
        source = get_dialect("openai_chat" if "chat" in one["path"] else "openai_responses")
        events = decode_stream(source.make_decoder(), body.encode())
        foreign = [replace(event, frame=None) for event in events]
        expected = fold(events)
        for target in DIALECTS.values():
            stream = _write(target.make_encoder(REQUEST), foreign)
            assert fold(decode_stream(target.make_decoder(), stream)).text == expected.text
            if target.name in SDK_WIRES:
                assert _text_of(target.name, _read_by_sdk(target.name, stream)) == expected.text
        read += 1
    assert read > 15


def _text_of(name: WireName, reply: dict[str, Any]) -> str:
    match name:
        case "anthropic_messages":
            return "".join(one["text"] for one in reply["content"] if one["type"] == "text")
        case "openai_chat":
            return reply["choices"][0]["message"]["content"] or ""
        case _:
            messages = [one for one in reply["output"] if one["type"] == "message"]
            return "".join(part["text"] for one in messages for part in one["content"])


def test_frames_of_the_readers_own_wire_pass_as_they_are(wire: Dialect) -> None:
    def framed(event: Event, data: bytes) -> Event:
        return replace(event, frame=Frame(wire=wire.name, data=data))

    events = [
        framed(Started(), b"data: 1\n\n"),
        TextDelta(text="of the same frame"),
        framed(Opaque(kind="comment"), b": c\n\n"),
        framed(TextDelta(text="x"), b"data: 2\n\n"),
        framed(FINISHED, b"data: end\n\n"),
    ]
    assert (
        _write(wire.make_encoder(REQUEST), events) == b"data: 1\n\n: c\n\ndata: 2\n\ndata: end\n\n"
    )


def test_frames_of_another_wire_are_translated(wire: Dialect) -> None:
    other: WireName = "openai_chat" if wire.name != "openai_chat" else "openai_responses"
    framed = replace(EVENTS[0], frame=Frame(wire=other, data=b"data: strange\n\n"))
    assert b"strange" not in _write(wire.make_encoder(REQUEST), [framed, *EVENTS[1:]])


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("openai_chat", b"data: [DONE]\n\n"),
        ("anthropic_messages", b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
        ("openai_responses", b""),
    ],
)
def test_an_end_that_the_provider_has_left_out_is_written(name: WireName, end: bytes) -> None:
    begin = Started(frame=Frame(wire=name, data=b"data: 1\n\n"))
    stream = _write(get_dialect(name).make_encoder(REQUEST), [begin, FINISHED])
    assert stream == b"data: 1\n\n" + end


def test_our_facts_are_added_to_the_usage(wire: Dialect) -> None:
    encoder = wire.make_encoder(REQUEST)
    encoder.annotate({"attempts": 2})
    frames = SseReader().feed(_write(encoder, EVENTS))
    bodies = [json.loads(one.data or b"") for one in frames if one.data not in {None, b"[DONE]"}]
    annotations = [body["devflow"] for body in bodies if "devflow" in body]
    assert annotations == [{"attempts": 2}]
    reply = wire.encode_response(_response(), REQUEST, {"attempts": 2})
    assert json.loads(reply)["devflow"] == {"attempts": 2}


def _response() -> ChatResponse:
    collector = Collector()
    for event in EVENTS:
        collector.add(event)
    return collector.to_response()


def test_our_facts_are_added_to_a_passing_frame_without_touching_another_byte(
    wire: Dialect,
) -> None:
    data = b'data: {"usage": {"cost":0.00010}, "x":  1}\n\n'
    usage = Frame(wire=wire.name, data=data)
    first: list[Event] = [Started(frame=Frame(wire=wire.name, data=b"data: 1\n\n"))]
    if samples_of(wire.name).has_usage_in_its_end:
        last: list[Event] = [replace(FINISHED, frame=usage)]
    else:
        last = [Opaque(kind="usage", frame=usage)]
    encoder = wire.make_encoder(REQUEST)
    encoder.annotate({"attempts": 2})
    stream = _write(encoder, [*first, *last])
    added = b'data: {"usage": {"cost":0.00010}, "x":  1,"devflow":{"attempts":2}}\n\n'
    assert stream == b"data: 1\n\n" + added


def test_usage_stands_alone_where_it_was_asked_for_in_openais_way() -> None:
    for options, choices in (({"include_usage": True}, 0), ({}, 1), (None, 1)):
        request = replace(REQUEST, extra={"stream_options": options})
        frames = SseReader().feed(_write(get_dialect("openai_chat").make_encoder(request), EVENTS))
        last = json.loads(frames[-2].data or b"")
        assert last["usage"]["total_tokens"] == USAGE.total_tokens
        assert len(last["choices"]) == choices


def test_a_reply_without_usage_has_no_usage_chunk_in_chat() -> None:
    events = [Started(), TextDelta(text="x"), Finished(finish_reason="stop")]
    stream = _write(get_dialect("openai_chat").make_encoder(REQUEST), events)
    assert b"usage" not in stream
    response = replace(_response(), usage=None, cost=None)
    for wire in ("openai_chat", "openai_responses"):
        assert not json.loads(get_dialect(wire).encode_response(response, REQUEST)).get("usage")


def test_the_first_event_of_a_message_has_an_estimate_of_its_input(
    claude_requests: dict[str, dict[str, Any]],
) -> None:
    wire = get_dialect("anthropic_messages")
    request = wire.decode_request(claude_requests["2.1.329-main-last"]["body"], {})
    (frame,) = SseReader().feed(wire.make_encoder(request).encode(EVENTS[0]))
    assert frame.event == "message_start"
    usage = json.loads(frame.data or b"")["message"]["usage"]
    assert 10_000 < usage["input_tokens"] < 25_000  # 62 kB of text
    small = wire.make_encoder(ChatRequest()).encode(EVENTS[0])
    assert b'"input_tokens":1,' in small


def test_usage_that_nobody_told_is_estimated_for_messages(fold: Collect) -> None:
    wire = get_dialect("anthropic_messages")
    events = [Started(), TextDelta(text="x" * 400), Finished(finish_reason="stop")]
    stream = _write(wire.make_encoder(REQUEST), events)
    assert b'"output_tokens":92' in stream
    reply = json.loads(wire.encode_response(replace(fold(events)), REQUEST))
    assert reply["usage"]["output_tokens"] == 92


_DELTAS = st.one_of(
    st.builds(TextDelta, text=st.text(max_size=3)),
    st.builds(ReasoningDelta, text=st.text(max_size=3), index=st.integers(0, 2)),
    st.builds(
        ToolCallDelta,
        index=st.integers(0, 2),
        id=st.sampled_from([None, "c1"]),
        name=st.sampled_from([None, "f"]),
        arguments=st.sampled_from(["", "{", "}", "{}", '{"a":1}', " "]),
    ),
    st.builds(Started, generation_id=st.none()),
    st.just(Opaque(kind="x")),
)


@given(st.lists(_DELTAS, max_size=14))
def test_messages_are_in_legal_order_whatever_the_events_do(events: list[Event]) -> None:
    stream = _write(get_dialect("anthropic_messages").make_encoder(REQUEST), [*events, FINISHED])
    kinds: list[str] = []
    opened: int | None = None
    seen = -1
    for frame in SseReader().feed(stream):
        body = json.loads(frame.data or b"")
        kinds.append(body["type"])
        assert frame.event == body["type"]
        if body["type"] == "content_block_start":
            assert opened is None
            assert body["index"] == seen + 1
            opened = seen = body["index"]
        elif body["type"] == "content_block_delta":
            assert body["index"] == opened
        elif body["type"] == "content_block_stop":
            assert body["index"] == opened
            opened = None
    assert opened is None
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == 1


@given(st.lists(_DELTAS, max_size=14))
def test_responses_are_in_legal_order_whatever_the_events_do(events: list[Event]) -> None:
    stream = _write(get_dialect("openai_responses").make_encoder(REQUEST), [*events, FINISHED])
    bodies = _bodies(stream)
    numbers = [body["sequence_number"] for body in bodies]
    assert all(after == before + 1 for before, after in pairwise(numbers))
    added = [one["output_index"] for one in bodies if one["type"] == "response.output_item.added"]
    done_indexes = [
        one["output_index"] for one in bodies if one["type"] == "response.output_item.done"
    ]
    assert added == list(range(len(added)))
    assert sorted(done_indexes) == added
    assert len(bodies[-1]["response"]["output"]) == len(added)
    assert bodies[0]["type"] == "response.created"
    assert bodies[-1]["type"] == "response.completed"


@given(st.lists(_DELTAS, max_size=14))
def test_no_text_and_no_whole_call_is_lost_on_the_way(events: list[Event]) -> None:
    collector = Collector()
    for event in [*events, FINISHED]:
        collector.add(event)
    expected = collector.to_response()
    for wire in DIALECTS.values():
        collector = Collector()
        decoder = wire.make_decoder()
        for frame in SseReader().feed(_write(wire.make_encoder(REQUEST), [*events, FINISHED])):
            for event in decoder.feed(frame):
                collector.add(event)
        response = collector.to_response()
        assert response.text == expected.text
        if not samples_of(wire.name).carries_calls:
            continue
        complete_calls = [
            call.arguments for call in expected.tool_calls if _is_json(call.arguments)
        ]
        assert len(response.tool_calls) >= len(complete_calls)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_foreign_thinking_survives_a_client_of_another_dialect(
    decode_stream: Decode, fold: Collect
) -> None:
    """Reasoning that Gemini encrypted goes through Claude Code or Codex and back to Gemini."""
    detail = {"type": "reasoning.encrypted", "format": "google-gemini-v1", "id": "g"}
    events: list[Event] = [
        Started(model="google/gemini-x"),
        ReasoningDelta(text="Hm", encrypted="cipher", detail=detail),
        TextDelta(text="Hi"),
        FINISHED,
    ]
    chat = get_dialect("openai_chat")
    for name in ("anthropic_messages", "openai_responses"):
        wire = get_dialect(name)
        stream = _write(wire.make_encoder(REQUEST), events)
        reply = json.loads(wire.encode_response(fold(events), REQUEST))
        assert fold(decode_stream(wire.make_decoder(), stream)).text == "Hi"
        if name == "anthropic_messages":
            body: dict[str, Any] = {
                "messages": [{"role": "assistant", "content": reply["content"]}]
            }
            streamed = _read_by_sdk(name, stream)["content"][0]
            assert streamed["signature"] == reply["content"][0]["signature"]
        else:
            body = {"input": reply["output"]}
        request = wire.decode_request(body, {})
        (message,) = json.loads(chat.encode_request(request, "google/gemini-y").body)["messages"]
        (gemini_detail,) = message["reasoning_details"]
        assert (gemini_detail["data"], gemini_detail["format"]) == ("cipher", "google-gemini-v1")
        assert b"cipher" not in chat.encode_request(request, "x-ai/grok").body


def test_thinking_of_a_vendor_without_a_format_is_remembered_by_the_models_name(
    fold: Collect,
) -> None:
    events: list[Event] = [
        Started(model="deepseek/deepseek-x"), ReasoningDelta(text="Hm"), FINISHED,
    ]  # fmt: skip
    wire, chat = get_dialect("anthropic_messages"), get_dialect("openai_chat")
    content = json.loads(wire.encode_response(fold(events), REQUEST))["content"]
    request = wire.decode_request({"messages": [{"role": "assistant", "content": content}]}, {})
    (message,) = json.loads(chat.encode_request(request, "deepseek/deepseek-y").body)["messages"]
    assert message["reasoning_details"] == [
        {"format": "deepseek-by-devflow", "type": "reasoning.text", "text": "Hm"}
    ]
    back = chat.decode_request({"messages": [message]}, {})
    encoded = chat.encode_request(back.with_messages(back.messages), "x-ai/grok")
    assert json.loads(encoded.body)["messages"] == []
    assert json.loads(chat.encode_request(request, "x-ai/grok").body)["messages"] == []


def test_redacted_thinking_stays_what_it_is(fold: Collect) -> None:
    detail = {"type": "reasoning.encrypted", "format": "anthropic-claude-v1"}
    events: list[Event] = [Started(), ReasoningDelta(encrypted="d", detail=detail), FINISHED]
    reply = get_dialect("anthropic_messages").encode_response(fold(events), REQUEST)
    assert json.loads(reply)["content"] == [{"type": "redacted_thinking", "data": "d"}]


def test_openais_own_encrypted_thinking_is_not_sealed(fold: Collect) -> None:
    detail = {"type": "reasoning.encrypted", "format": "openai-responses-v1", "id": "rs_1"}
    events: list[Event] = [Started(), ReasoningDelta(encrypted="gAAAAx", detail=detail), FINISHED]
    (item,) = json.loads(get_dialect("openai_responses").encode_response(fold(events), REQUEST))[
        "output"
    ]
    assert item == {
        "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAx",
    }  # fmt: skip


TOOLS: list[dict[str, Any]] = [
    {"type": "custom", "name": "apply_patch"},
    {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find"}]},
]


def test_calls_come_back_in_the_form_the_client_has_given_the_tools(fold: Collect) -> None:
    wire = get_dialect("openai_responses")
    request = wire.decode_request({"input": "Hi", "tools": TOOLS}, {})
    events: list[Event] = [
        Started(),
        ToolCallDelta(index=0, id="c1", name="apply_patch", arguments='{"input":'),
        ToolCallDelta(index=0, arguments='"*** x"}'),
        ToolCallDelta(index=1, id="c2", name="crm__find", arguments="{}"),
        FINISHED,
    ]
    for variant in (request, request.with_messages(request.messages)):
        output = json.loads(wire.encode_response(fold(events), variant))["output"]
        streamed = _read_by_sdk("openai_responses", _write(wire.make_encoder(variant), events))[
            "output"
        ]
        for patch, find in (output, streamed):
            assert (patch["type"], patch["name"]) == ("custom_tool_call", "apply_patch")
            assert patch["input"] == "*** x"
            assert (find["type"], find["namespace"], find["name"]) == (
                "function_call", "crm", "find",
            )  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "status", "stop_reason"),
    [
        ("length", "incomplete", "max_tokens"),
        ("content_filter", "incomplete", "refusal"),
        ("stop", "completed", "end_turn"),
    ],
)
def test_finish_reasons_have_their_words(reason: Any, status: str, stop_reason: str) -> None:
    events: list[Event] = [Started(), TextDelta(text="x"), Finished(finish_reason=reason)]
    responses = _write(get_dialect("openai_responses").make_encoder(REQUEST), events)
    assert f'"type":"response.{status}"'.encode() in responses
    messages = _write(get_dialect("anthropic_messages").make_encoder(REQUEST), events)
    assert f'"stop_reason":"{stop_reason}"'.encode() in messages


def test_a_native_word_of_the_wire_is_kept_and_calls_are_a_reason() -> None:
    wire = get_dialect("anthropic_messages")
    native = Finished(finish_reason="stop", native_finish_reason="pause_turn")
    assert b'"stop_reason":"pause_turn"' in _write(wire.make_encoder(REQUEST), [Started(), native])
    called = [ToolCallDelta(index=0, name="f"), Finished(finish_reason="stop")]
    stream = _write(wire.make_encoder(REQUEST), called)
    assert b'"stop_reason":"tool_use"' in stream
    assert b'"id":"toolu_' in stream


def test_calls_without_ids_or_arguments_get_them() -> None:
    called = [ToolCallDelta(index=0, name="f"), FINISHED]
    reply = _read_by_sdk(
        "openai_responses", _write(get_dialect("openai_responses").make_encoder(REQUEST), called)
    )
    (call,) = reply["output"]
    assert call["call_id"].startswith("call_")
    assert call["arguments"] == "{}"


ERRORS: list[tuple[DevFlowError, str, str]] = [
    (ContextTooLong("a/b takes 9 tokens."), "invalid_request_error",
     "prompt is too long: a/b takes 9 tokens."),
    (ContextTooLong("prompt is too long: 9 tokens > 3 maximum"), "invalid_request_error",
     "prompt is too long: 9 tokens > 3 maximum"),
    (UpstreamRejected("The provider answered 400: x", detail="capability_rejected: y"),
     "invalid_request_error", "capability_rejected: y"),
    (UpstreamRejected("Rejected."), "invalid_request_error", "Rejected."),
    (BudgetExceeded("Spent."), "billing_error", "Spent."),
    (Overloaded("Busy.", provider="P", retry_after_s=3), "overloaded_error", "Busy."),
    (DevFlowError("Broken."), "api_error", "Broken."),
]  # fmt: skip


@pytest.mark.parametrize(("error", "kind", "message"), ERRORS)
def test_errors_have_the_words_of_the_dialect(error: DevFlowError, kind: str, message: str) -> None:
    body = json.loads(get_dialect("anthropic_messages").encode_error(error, "req_1"))
    assert body["type"] == "error"
    assert body["request_id"] == "req_1"
    assert (body["error"]["type"], body["error"]["message"]) == (kind, message)
    for name in ("openai_chat", "openai_responses"):
        fault = json.loads(get_dialect(name).encode_error(error, "req_1"))["error"]
        assert (fault["code"], fault["message"]) == (error.code, error.message)
        assert fault["metadata"]["request_id"] == "req_1"


def test_openais_error_types_follow_the_status() -> None:
    chat = get_dialect("openai_chat")
    types = {json.loads(chat.encode_error(error, "r"))["error"]["type"] for error, _, _ in ERRORS}
    assert types == {"invalid_request_error", "insufficient_quota", "server_error"}


@pytest.mark.parametrize("sent_events", [[], EVENTS[:3]])
def test_every_sdk_raises_an_error_in_the_middle_of_a_stream(
    wire: Dialect, sent_events: list[Event]
) -> None:
    encoder = wire.make_encoder(REQUEST)
    stream = _write(encoder, sent_events) + encoder.encode_error(Overloaded("Busy."), "req_1")
    with pytest.raises((anthropic.APIError, openai.APIError), match="Busy"):
        _read_by_sdk(wire.name, stream)


def test_our_decoders_raise_it_too(wire: Dialect, decode_stream: Decode) -> None:
    encoder = wire.make_encoder(REQUEST)
    stream = _write(encoder, EVENTS[:3]) + encoder.encode_error(Overloaded("Busy."), "req_1")
    with pytest.raises(DevFlowError, match="Busy"):
        decode_stream(wire.make_decoder(), stream)


RESPONSE_FIELDS = {
    "id", "object", "created_at", "completed_at", "status", "error", "incomplete_details", "model",
    "instructions", "metadata", "output", "parallel_tool_calls", "temperature", "top_p",
    "presence_penalty", "frequency_penalty", "tool_choice", "tools",
}  # fmt: skip
"""Without one of these the router's SDK takes an event for an unknown one (1.3.84)."""


def test_response_objects_have_every_field_that_the_routers_sdk_demands(fold: Collect) -> None:
    wire = get_dialect("openai_responses")
    encoder, broken = wire.make_encoder(REQUEST), wire.make_encoder(REQUEST)
    stream = b"".join(encoder.encode(event) for event in EVENTS)
    stream += broken.encode(EVENTS[0]) + broken.encode_error(Overloaded("Ask again."), "req_1")
    replies = {one["type"]: one["response"] for one in _bodies(stream) if "response" in one}
    assert replies.keys() == {
        f"response.{kind}" for kind in ("created", "in_progress", "completed", "failed")
    }
    whole = json.loads(wire.encode_response(fold(EVENTS), REQUEST))
    for reply in (whole, *replies.values()):
        assert reply.keys() >= RESPONSE_FIELDS
        assert (reply["completed_at"] is not None) == (reply["status"] == "completed")


@pytest.mark.parametrize("is_passed_on", [True, False])
@pytest.mark.parametrize("first", [0, 5])
def test_a_failed_response_continues_the_stream_that_the_client_has_seen(
    first: int, is_passed_on: bool
) -> None:
    wire = get_dialect("openai_responses")
    whole = _write(wire.make_encoder(REQUEST), [*EVENTS, FINISHED])
    sent = [{"type": "keepalive", "sequence_number": 0}, *_bodies(whole)]
    sent = [{**one, "sequence_number": first + index} for index, one in enumerate(sent)]
    # as a provider would say it that breaks JSON: this one is passed on repaired
    broken = b'data: {"type":"response.x","sequence_number":%d,"n":NaN}\n\n'
    for length in range(len(sent)):
        stream = b"".join(b"data: %b\n\n" % orjson.dumps(one) for one in sent[:length])
        stream += broken % (first + length)
        decoder, encoder = wire.make_decoder(), wire.make_encoder(REQUEST)
        events = [event for frame in SseReader().feed(stream) for event in decoder.feed(frame)]
        if not is_passed_on:
            events = [replace(event, frame=None) for event in events]
        seen = _bodies(_write(encoder, events) + encoder.encode_error(Overloaded("Busy."), "r"))
        numbers = [one["sequence_number"] for one in seen]
        assert all(after == before + 1 for before, after in pairwise(numbers))
        assert numbers[0] == (first if is_passed_on and events else 0)
        assert [one["type"] for one in seen].count("response.created") == 1
        assert seen[-1]["type"] == "response.failed"
        assert len({one["response"]["id"] for one in seen if "response" in one}) == 1
        assert seen[-1]["response"].keys() >= RESPONSE_FIELDS


def test_another_wires_body_says_nothing_of_this_wires_tools() -> None:
    request = replace(REQUEST, origin=Origin(wire="openai_chat", body={"tools": []}))
    stream = _write(get_dialect("openai_responses").make_encoder(request), EVENTS)
    assert b"function_call" in stream


def test_a_reply_of_parts_that_only_requests_have_is_written_without_them() -> None:
    picture = Media(kind="image", url="https://x/y")
    call = ToolCall(id="c", name="f", arguments="")
    response = replace(_response(), parts=(Text(text="x"), picture, call))
    body = json.loads(get_dialect("openai_responses").encode_response(response, REQUEST))
    assert [item["type"] for item in body["output"]] == ["message", "function_call"]


def test_what_comes_between_the_pieces_of_calls_waits_for_its_turn() -> None:
    events: list[Event] = [
        ToolCallDelta(index=0, id="a", name="f", arguments='{"a":'),
        ToolCallDelta(index=1, id="b", name="g", arguments='{"b":'),
        ToolCallDelta(index=0, arguments="1}"),
        TextDelta(text="then"),
        ToolCallDelta(index=1, arguments="2}"),
        TextDelta(text=" more"),
        FINISHED,
    ]
    reply = _read_by_sdk(
        "anthropic_messages",
        _write(get_dialect("anthropic_messages").make_encoder(REQUEST), events),
    )
    assert [block["type"] for block in reply["content"]][:3] == ["tool_use", "tool_use", "text"]
    assert [block["input"] for block in reply["content"][:2]] == [{"a": 1}, {"b": 2}]
    assert "".join(block["text"] for block in reply["content"][2:]) == "then more"


@pytest.mark.parametrize("signature", ["devflow1.a", "devflow1.W10=", "devflow1.", "other"])
def test_a_broken_seal_is_a_foreign_signature(signature: str) -> None:
    reasoning = unseal("Hm", signature)
    assert reasoning is None or reasoning == Reasoning(text="Hm")


def _streamed(wire: WireName, *bodies: dict[str, Any]) -> list[Event]:
    decoder = get_dialect(wire).make_decoder()
    stream = b"".join(b"data: %b\n\n" % json.dumps(body).encode() for body in bodies)
    return [event for frame in SseReader().feed(stream) for event in decoder.feed(frame)] + [
        *decoder.close()
    ]


def test_a_whole_chat_reply_keeps_what_only_its_own_wire_knows(fold: Collect) -> None:
    cite = {"type": "url_citation", "url_citation": {"url": "https://x"}}
    audio: dict[str, Any] = {"id": "a", "data": "aGk="}

    def chunk(delta: dict[str, Any], **choice: Any) -> dict[str, Any]:
        return {"id": "g", "system_fingerprint": "fp", "choices": [{"delta": delta, **choice}]}

    events = _streamed(
        "openai_chat",
        chunk({"content": "a"}, logprobs={"content": [{"token": "a"}]}),
        chunk({"content": "b"}, index=0, logprobs={"content": [{"token": "b"}]}),
        chunk({"annotations": [cite], "images": [1], "audio": audio, "refusal": "N", "odd": 1}),
        chunk({"annotations": [cite], "audio": {"data": "Cg=="}, "refusal": "o.", "odd": 2}),
        chunk({}, finish_reason="stop")
        | {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "server_tool_use_details": {}}},
    )
    body = json.loads(get_dialect("openai_chat").encode_response(fold(events), REQUEST))
    message = body["choices"][0]["message"]
    assert message["content"] == "ab"
    assert message["annotations"] == [cite, cite]
    assert message["images"] == [1]
    assert message["audio"] == {"id": "a", "data": "aGk=Cg=="}
    assert message["refusal"] == "No."
    assert message["odd"] == 2
    assert body["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}
    assert body["system_fingerprint"] == "fp"
    assert body["usage"]["server_tool_use_details"] == {}
    assert body["usage"]["total_tokens"] == 3
    other = json.loads(get_dialect("anthropic_messages").encode_response(fold(events), REQUEST))
    assert other["content"] == [{"type": "text", "text": "ab"}]


def test_a_whole_message_keeps_what_only_its_own_wire_knows(fold: Collect) -> None:
    def block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
        start = {"type": "content_block_start", "index": index, "content_block": block}
        return [start] + [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]

    cited = {"type": "citations_delta", "citation": {"url": "https://x"}}
    events = _streamed(
        "anthropic_messages",
        {"type": "message_start", "message": {"id": "g", "model": "claude-x", "usage": {}}},
        *block(0, {"type": "thinking", "thinking": "", "signature": ""},
               {"type": "thinking_delta", "thinking": "Hm"},
               {"type": "signature_delta", "signature": "s"}),
        *block(1, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
               {"type": "input_json_delta", "partial_json": '{"q":1}'}),
        *block(2, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
        *block(3, {"type": "text", "text": ""},
               {"type": "text_delta", "text": "Hi"}, cited, cited),
        *block(4, {"type": "tool_use", "id": "t", "name": "f", "input": {}},
               {"type": "input_json_delta", "partial_json": "{broken"}),
        {"type": "content_block_delta", "index": 9, "delta": cited},
        {"type": "content_block_delta", "index": 9,
         "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "E"},
         "usage": {"input_tokens": 1, "output_tokens": 2, "server_tool_use": {"n": 1}}},
        {"type": "message_stop"},
    )  # fmt: skip
    body = json.loads(get_dialect("anthropic_messages").encode_response(fold(events), REQUEST))
    assert body["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "text", "text": "Hi",
         "citations": [{"url": "https://x"}, {"url": "https://x"}]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ]  # fmt: skip
    assert body["stop_sequence"] == "E"
    assert body["usage"]["server_tool_use"] == {"n": 1}
    other = json.loads(get_dialect("openai_chat").encode_response(fold(events), REQUEST))
    assert other["choices"][0]["message"]["content"] == "Hi"


def test_a_whole_response_is_the_providers_own(fold: Collect) -> None:
    reply = {"id": "g", "status": "completed", "output": [
        {"type": "web_search_call", "id": "ws"},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi", "annotations": [1]}]},
    ]}  # fmt: skip
    responses = get_dialect("openai_responses")
    events = _streamed(
        "openai_responses",
        {"type": "response.created", "response": {"id": "g"}},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.completed", "response": reply},
    )
    assert json.loads(responses.encode_response(fold(events), REQUEST)) == reply
    annotated = responses.encode_response(fold(events), REQUEST, {"attempts": 1})
    assert json.loads(annotated) == {**reply, "devflow": {"attempts": 1}}


def _thinking_stream(model: str) -> bytes:
    blocks: list[dict[str, Any]] = [
        {"type": "message_start", "message": {
            "id": "g", "type": "message", "role": "assistant", "model": model, "content": [],
            "usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {
            "type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {
            "type": "thinking_delta", "thinking": "Hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {
            "type": "signature_delta", "signature": "word1"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {
            "type": "redacted_thinking", "data": "word2"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {
            "type": "thinking", "thinking": "So", "signature": "word3"}},
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
         "usage": {"input_tokens": 1, "output_tokens": 2}},
        {"type": "message_stop"},
    ]  # fmt: skip
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode())
        for one in blocks
    )


def test_signatures_of_other_vendors_on_anthropics_wire_find_their_vendor_again(
    decode_stream: Decode,
) -> None:
    wire = get_dialect("anthropic_messages")
    stream = _thinking_stream("google/gemini-x")
    passed = _write(wire.make_encoder(REQUEST), decode_stream(wire.make_decoder(), stream))
    assert b"word" not in passed
    blocks = _read_by_sdk("anthropic_messages", passed)["content"]
    message = {"role": "assistant", "content": [
        {key: block[key] for key in ("type", "thinking", "signature", "data") if key in block}
        for block in blocks]}  # fmt: skip
    request = wire.decode_request({"messages": [message]}, {})
    expected = [
        {"type": "thinking", "thinking": "Hm", "signature": "word1"},
        {"type": "redacted_thinking", "data": "word2"},
        {"type": "thinking", "thinking": "So", "signature": "word3"},
    ]
    for variant in (request, request.with_messages(request.messages)):
        same = wire.encode_request(variant, "google/gemini-y")
        assert json.loads(same.body)["messages"] == [{"role": "assistant", "content": expected}]
        assert same.omitted == ()
        other = wire.encode_request(variant, "anthropic/claude-x")
        assert json.loads(other.body)["messages"] == []
        assert other.omitted == ("thinking of another vendor's model",)


@pytest.mark.parametrize("model", ["anthropic/claude-x", "claude-x", "unknown"])
def test_signatures_of_anthropic_pass_as_they_are(model: str, decode_stream: Decode) -> None:
    wire = get_dialect("anthropic_messages")
    stream = _thinking_stream(model)
    assert _write(wire.make_encoder(REQUEST), decode_stream(wire.make_decoder(), stream)) == stream


def test_unsigned_thinking_may_be_read_by_others_than_anthropic() -> None:
    wire = get_dialect("anthropic_messages")
    turn = {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "text", "text": "x"}]}  # fmt: skip
    request = wire.decode_request({"messages": [turn]}, {})
    assert json.loads(wire.encode_request(request, "z-ai/glm-x").body)["messages"] == [turn]
    (message,) = json.loads(wire.encode_request(request, "anthropic/x").body)["messages"]
    assert [block["type"] for block in message["content"]] == ["text"]


@pytest.mark.parametrize(
    ("usage", "is_unchanged"),
    [
        ('"input_tokens":0,"output_tokens":1', False),
        ('"input_tokens": 0,"cache_read_input_tokens":0', False),
        ('"input_tokens":12', True),
        ('"input_tokens":0,"cache_read_input_tokens":900', True),
    ],
)
def test_a_first_frame_without_input_tokens_gets_the_estimate(
    usage: str, is_unchanged: bool
) -> None:
    data = f'event: message_start\ndata: {{"message":{{"usage":{{{usage}}}}}}}\n\n'.encode()
    encoder = get_dialect("anthropic_messages").make_encoder(ChatRequest.from_text("hello " * 40))
    frame = Frame(wire="anthropic_messages", data=data)
    sent = encoder.encode(Started(frame=frame))
    assert (sent == data) == is_unchanged
    assert is_unchanged or b'"input_tokens":59' in sent
