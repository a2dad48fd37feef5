"""Every cache marker of a request is carried over, or named among what was left out."""

import json
import re
from typing import Any

import pytest
from devflow_core.messages import Message, OpaquePart, Text, ToolCall, ToolResult
from devflow_core.request import ChatRequest, Tool
from devflow_core.wire import DIALECTS, get_dialect
from devflow_core.wire.cache_markers import count_markers
from hypothesis import given
from hypothesis import strategies as st

MARK = {"cache_control": {"type": "ephemeral"}}
LONG = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
_MARKS: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {}, MARK, LONG])


def _named(omitted: tuple[str, ...]) -> int:
    """Return how many lost markers the omissions name."""
    found = [re.fullmatch(r"cache_control(?: \((\d+) times\))?", one) for one in omitted]
    return sum(int(one[1] or 1) for one in found if one)


def _sent(wire: str, body: dict[str, Any], to: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = get_dialect(wire).decode_request(body, {})
    encoded = get_dialect(to).encode_request(request, "anthropic/claude-opus-5")
    return json.loads(encoded.body), encoded.omitted


@st.composite
def _messages_body(draw: st.DrawFn) -> dict[str, Any]:
    def text(words: str) -> dict[str, Any]:
        return {"type": "text", "text": words, **draw(_MARKS)}

    image = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    inner: list[dict[str, Any]] = [{"type": "image", "source": image, **draw(_MARKS)}]
    content = draw(st.sampled_from(["done", [], [text("a"), *inner], [*inner], [text("a")]]))
    result = {"type": "tool_result", "tool_use_id": "t", "content": content, **draw(_MARKS)}
    said = [text("I look.")] if draw(st.booleans()) else []
    call: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "f", "input": MARK}
    odd = {"type": "vendor_news", **draw(_MARKS)}
    search = {"type": "web_search_20250305", "name": "web_search", **draw(_MARKS)}
    return {
        "model": "a/b", "max_tokens": 5, **draw(_MARKS),
        "system": [text("S"), text("x-anthropic-billing-header: 1")],
        "tools": [
            {"name": "f", "input_schema": {"properties": MARK}, **draw(_MARKS)},
            *draw(st.sampled_from([[], [search]])),
        ],
        "messages": [
            {"role": "user", "content": [text("Hi"), *draw(st.sampled_from([[], [odd]]))]},
            {"role": "assistant", "content": [*said, call | draw(_MARKS),
                                              call | {"id": "u"} | draw(_MARKS)]},
            {"role": "user", "content": [result, text("go on")]},
        ],
    }  # fmt: skip


@st.composite
def _chat_body(draw: st.DrawFn) -> dict[str, Any]:
    def text(words: str) -> dict[str, Any]:
        return {"type": "text", "text": words, **draw(_MARKS)}

    function = {"type": "function", "function": {"name": "f", "parameters": {"properties": MARK}}}
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return {
        "model": "a/b", **draw(_MARKS),
        "tools": [function | draw(_MARKS)],
        "messages": [
            {"role": "system", "content": [text("S")], **draw(_MARKS)},
            {"role": "user", "content": [text(""), text("Hi")], **draw(_MARKS)},
            {"role": "assistant", "content": draw(st.sampled_from([None, "x", [text("x")]])),
             "tool_calls": [call | draw(_MARKS)], **draw(_MARKS)},
            {"role": "tool", "tool_call_id": "t", **draw(_MARKS),
             "content": draw(st.sampled_from(["done", [text("done")]]))},
        ],
    }  # fmt: skip


@st.composite
def _responses_body(draw: st.DrawFn) -> dict[str, Any]:
    part = {"type": "input_text", "text": "Hi", **draw(_MARKS)}
    return {"model": "a/b", **draw(_MARKS), "input": [{"role": "user", "content": [part]}]}


BODIES = {
    "anthropic_messages": _messages_body(),
    "openai_chat": _chat_body(),
    "openai_responses": _responses_body(),
}


@pytest.mark.parametrize("to", sorted(DIALECTS))
@pytest.mark.parametrize("wire", sorted(BODIES))
@given(data=st.data())
def test_what_is_kept_and_what_is_named_is_what_was_sent(wire: str, to: str, data: Any) -> None:
    body = data.draw(BODIES[wire])
    sent, omitted = _sent(wire, body, to)
    assert count_markers(sent) + _named(omitted) == count_markers(body)
    if wire == to:
        assert not _named(omitted)


def test_markers_of_a_request_made_in_python_are_counted_too() -> None:
    call = ToolCall(id="t", name="f", arguments="{}", cache_ttl="5m")
    result = ToolResult(call_id="t", parts=(Text(text="x", cache_ttl="1h"),), cache_ttl="5m")
    odd = OpaquePart(wire="telegram", body={"type": "odd", **MARK})
    request = ChatRequest(
        messages=(
            Message(role="assistant", parts=(call,), extra=MARK),
            Message(role="user", parts=(result, odd, Text(text="y", cache_ttl="5m"))),
        ),
        tools=(Tool(name="f", cache_ttl="1h"), Tool(name="g", native={"type": "g", **MARK})),
        extra=MARK,
    )
    for dialect in DIALECTS.values():
        encoded = dialect.encode_request(request, "a/b")
        assert count_markers(json.loads(encoded.body)) + _named(encoded.omitted) == 9


def test_markers_of_a_session_survive_as_chat_completions() -> None:
    """A call's marker moves to the text before it, and a result's to the text in it."""
    body = {
        "model": "a/b", "max_tokens": 5,
        "system": [{"type": "text", "text": "S", **LONG}],
        "tools": [{"name": "f", "input_schema": {}, **MARK}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}, **MARK}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "found", **LONG}]},
        ],
    }  # fmt: skip
    sent, omitted = _sent("anthropic_messages", body, "openai_chat")
    system, user, assistant, tool = sent["messages"]
    assert system["content"] == [{"type": "text", "text": "S", **LONG}]
    assert user["content"] == [{"type": "text", "text": "Hi", **MARK}]
    assert assistant["content"] == [{"type": "text", "text": "I look.", **MARK}]
    assert tool["content"] == [{"type": "text", "text": "found", **LONG}]
    assert sent["tools"][0]["cache_control"] == MARK["cache_control"]
    assert omitted == ()


def test_a_call_without_a_text_before_it_has_its_marker_named() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}, **MARK}
    body = {"model": "a/b", "max_tokens": 5, "messages": [{"role": "assistant", "content": [call]}]}
    assert _sent("anthropic_messages", body, "openai_chat")[1] == ("cache_control",)


def test_what_is_no_part_carries_no_marker() -> None:
    assert count_markers({"messages": ["Hi", None, {"role": "user", "content": ["Hi", MARK]}]}) == 1
