import json
from dataclasses import replace
from typing import Any

import pytest
from devflow_core.errors import InvalidRequest
from devflow_core.messages import (
    JsonObject,
    Media,
    Message,
    OpaquePart,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from devflow_core.request import (
    ChatRequest,
    Origin,
    ReasoningOptions,
    ResponseFormat,
    Tool,
    ToolChoice,
)
from devflow_core.wire import get_dialect

CHAT = get_dialect("openai_chat")
HI = {"role": "user", "content": "Hi"}


def _decode(**body: Any) -> ChatRequest:
    return CHAT.decode_request({"messages": [HI], **body}, {})


def _encode(request: ChatRequest, model: str = "a/b") -> dict[str, Any]:
    return json.loads(CHAT.encode_request(request, model).body)


def _message(**message: Any) -> Message:
    (decoded,) = _decode(messages=[message]).messages
    return decoded


def _sent(recordings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the recorded bodies of requests, without the few recorded as shortened text."""
    chats = [one["request"] for one in recordings if "chat/completions" in one["path"]]
    return [one for one in chats if isinstance(one, dict)]


def test_every_recorded_request_goes_out_as_it_came_but_for_the_model(
    recordings: list[dict[str, Any]],
) -> None:
    sent = _sent(recordings)
    assert len(sent) > 80
    for body in sent:
        encoded = CHAT.encode_request(CHAT.decode_request(body, {}), body["model"])
        assert json.loads(encoded.body) == {**body, "stream": True}
        assert encoded.omitted == ()


def test_every_recorded_request_says_the_same_when_it_is_written_anew(
    recordings: list[dict[str, Any]],
) -> None:
    for body in _sent(recordings):
        request = CHAT.decode_request(body, {})
        rewritten = _encode(request.with_messages(request.messages), request.model)
        decoded = CHAT.decode_request(rewritten, {})
        assert decoded.messages == request.messages
        assert decoded.tools == request.tools
        assert replace(decoded, origin=None, is_stream=False, tools=(), extra={}) == replace(
            request, origin=None, is_stream=False, tools=(), extra={}
        )


def test_overrides_win_over_the_body() -> None:
    encoded = CHAT.encode_request(_decode(max_tokens=9), "c/d", {"max_tokens": 5, "provider": {}})
    assert json.loads(encoded.body) == {
        "messages": [HI], "max_tokens": 5, "model": "c/d", "stream": True, "provider": {},
    }  # fmt: skip


def test_the_words_of_the_hub() -> None:
    schema = {"type": "object"}
    request = _decode(
        model="x/y",
        tools=[
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema,
             "strict": True}, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"type": "openrouter:web_search"},
        ],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False, max_completion_tokens=7, max_tokens=9, temperature=0.5,
        top_p=0.9, seed=3, stop="END", n=1, stream=True, provider={"sort": "price"},
        response_format={"type": "json_schema", "json_schema": {"name": "r", "schema": schema,
                         "strict": True}},
        reasoning={"effort": "high", "max_tokens": 100, "enabled": True, "exclude": False},
    )  # fmt: skip
    assert request == ChatRequest(
        model="x/y",
        messages=(Message(role="user", parts=(Text(text="Hi"),)),),
        tools=(
            Tool(name="f", description="d", schema=schema, strict=True, cache_ttl="1h"),
            Tool(name="openrouter:web_search", native={"type": "openrouter:web_search"}),
        ),
        tool_choice=ToolChoice(mode="tool", name="f"),
        parallel_tool_calls=False,
        max_output_tokens=7,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop=("END",),
        response_format=ResponseFormat(kind="json_schema", schema=schema, name="r", strict=True),
        reasoning=ReasoningOptions(effort="high", max_tokens=100, enabled=True, exclude=False),
        is_stream=True,
        extra={"provider": {"sort": "price"}},
        origin=request.origin,
    )
    body = _encode(request.with_messages(request.messages), "x/y")
    assert body["reasoning"] == {"max_tokens": 100, "enabled": True, "exclude": False}
    assert body["provider"] == {"sort": "price"}
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert CHAT.decode_request(body, {}).response_format == request.response_format


def test_what_is_left_out_is_the_default() -> None:
    request = _decode()
    assert (request.model, request.is_stream, request.stop) == ("auto", False, ())
    assert request.reasoning is None
    assert request.response_format is None


def test_shorter_forms_are_understood() -> None:
    request = _decode(
        reasoning_effort="low", stop=["a", "b"], tool_choice="required",
        response_format={"type": "json_object"},
    )  # fmt: skip
    assert request.reasoning == ReasoningOptions(effort="low")
    assert request.stop == ("a", "b")
    assert request.tool_choice == ToolChoice(mode="required")
    assert request.response_format == ResponseFormat(kind="json_object")
    body = _encode(request.with_messages(request.messages))
    assert body["reasoning"] == {"effort": "low"}
    assert body["response_format"] == {"type": "json_object"}
    assert "tool_choice" not in body  # there are no tools to choose from


def test_forms_without_a_word_of_ours_are_kept_for_their_own_wire() -> None:
    grammar = {"type": "grammar", "grammar": "root ::= x"}
    choice = {"type": "openrouter:web_search"}
    request = _decode(response_format=grammar, tool_choice=choice)
    body = _encode(request.with_messages(request.messages))
    assert body["response_format"] == grammar
    assert body["tool_choice"] == choice


def test_headers_of_the_dialect_are_kept() -> None:
    request = CHAT.decode_request({"messages": [HI]}, {"x-anthropic-beta": "b", "cookie": "c"})
    assert request.origin == Origin(
        wire="openai_chat", body={"messages": [HI]}, headers=(("x-anthropic-beta", "b"),)
    )


PARTS: list[tuple[JsonObject, Text | Media | OpaquePart]] = [
    ({"type": "text", "text": "t"}, Text(text="t")),
    (
        {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
        Text(text="t", cache_ttl="5m"),
    ),
    (
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        Media(kind="image", url="https://x/y.png", detail="low"),
    ),
    (
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        Media(kind="image", media_type="image/png", base64="aGk="),
    ),
    (
        {"type": "video_url", "video_url": {"url": "https://x/y.mp4"}},
        Media(kind="video", url="https://x/y.mp4"),
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
        Media(kind="audio", media_type="audio/mp3", base64="aGk="),
    ),
    (
        {"type": "file", "file": {"filename": "a.pdf",
                                  "file_data": "data:application/pdf;base64,aGk="}},
        Media(kind="file", media_type="application/pdf", base64="aGk=", name="a.pdf"),
    ),
    ({"type": "file", "file": {"file_id": "f"}},
     OpaquePart(wire="openai_chat", body={"type": "file", "file": {"file_id": "f"}})),
    ({"type": "hologram"}, OpaquePart(wire="openai_chat", body={"type": "hologram"})),
]  # fmt: skip


@pytest.mark.parametrize(("part", "expected"), PARTS)
def test_parts_are_read_and_written(part: JsonObject, expected: Text | Media | OpaquePart) -> None:
    text = {"type": "text", "text": "first"}
    message = _message(role="user", content=[text, part])
    assert message.parts == (Text(text="first"), expected)
    request = ChatRequest(messages=(message,))
    assert _encode(request)["messages"] == [{"role": "user", "content": [text, part]}]


def test_sound_of_other_names_is_written_in_the_wires_words() -> None:
    sound = Media(kind="audio", media_type="audio/mpeg", base64="aGk=")
    content = _encode(ChatRequest(messages=(Message(role="user", parts=(sound,)),)))
    assert content["messages"][0]["content"][0]["input_audio"]["format"] == "mp3"


def test_a_conversation_with_tools_is_read_and_written() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Weather?", "name": "ann"},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}},
            {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "1", "content": "sun"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "rain"}],
         "cache_control": {"type": "ephemeral"}},
        {"role": "assistant", "content": "Both.", "reasoning": "Hm"},
        {"role": "user", "content": ""},
    ]  # fmt: skip
    request = _decode(messages=messages)
    assert [one.role for one in request.messages] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert request.messages[2].parts == (
        ToolCall(id="1", name="f", arguments="{"),
        ToolCall(id="2", name="g", arguments="{}"),
    )
    assert request.messages[3].parts == (
        ToolResult(call_id="1", parts=(Text(text="sun"),)),
        ToolResult(call_id="2", parts=(Text(text="rain"),), cache_ttl="5m"),
    )
    assert request.messages[4].parts == (Reasoning(text="Hm"), Text(text="Both."))
    encoded = _encode(request.with_messages(request.messages))["messages"]
    assert encoded[0] == messages[0]
    assert encoded[1] == messages[1]
    assert encoded[2] == messages[2]
    assert encoded[3] == messages[3]
    assert encoded[4]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert encoded[5] == messages[5]
    assert encoded[6] == messages[6]


def test_pictures_in_a_tools_result_are_shown_in_the_next_message() -> None:
    picture = Media(kind="image", url="https://x/y.png")
    results = (
        ToolResult(call_id="1", parts=(picture,), is_error=True),
        ToolResult(call_id="2", parts=(Text(text="ok"),)),
        Text(text="Go on."),
    )
    encoded = CHAT.encode_request(
        ChatRequest(messages=(Message(role="user", parts=results),)), "a/b"
    )
    assert json.loads(encoded.body)["messages"] == [
        {"role": "tool", "tool_call_id": "1",
         "content": "The result is shown in the next message."},
        {"role": "tool", "tool_call_id": "2", "content": "ok"},
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {"type": "text", "text": "Go on."},
        ]},
    ]  # fmt: skip
    assert encoded.omitted == ("is_error of a tool's result",)


SIGNED = {"type": "reasoning.text", "text": "Hm", "signature": "s", "format": "anthropic-claude-v1"}
ENCRYPTED = {"type": "reasoning.encrypted", "data": "d", "format": "google-gemini-v1", "index": 0}
SUMMARY = {"type": "reasoning.summary", "summary": "Sum", "format": "openai-responses-v1"}


def test_thinking_is_read_and_goes_back_to_its_own_vendor() -> None:
    message = {"role": "assistant", "content": "x", "reasoning_details": [SIGNED]}
    request = _decode(messages=[message, HI])
    (thinking, _) = request.messages[0].parts
    assert thinking == Reasoning(
        text="Hm",
        signature="s",
        detail={"type": "reasoning.text", "format": "anthropic-claude-v1"},
    )
    for variant in (request, request.with_messages(request.messages)):
        assert _encode(variant, "anthropic/claude-x")["messages"][0] == message
        encoded = CHAT.encode_request(variant, "google/gemini-x")
        assert "reasoning_details" not in json.loads(encoded.body)["messages"][0]
        assert encoded.omitted == ("thinking of another vendor's model",)


def test_only_the_foreign_part_of_thinking_is_left_out() -> None:
    message = {
        "role": "assistant",
        "content": "x",
        "reasoning_details": [ENCRYPTED, SIGNED, SUMMARY],
    }
    request = _decode(messages=[message])
    sent = _encode(request, "google/gemini-x")["messages"][0]["reasoning_details"]
    assert sent == [ENCRYPTED, SUMMARY]  # an unsigned summary may be read by anybody
    anew = _encode(request.with_messages(request.messages), "openai/gpt-x")["messages"][0]
    assert anew["reasoning_details"] == [SUMMARY]


def test_a_message_of_nothing_but_foreign_thinking_disappears() -> None:
    message = {"role": "assistant", "content": "", "reasoning_details": [SIGNED]}
    request = _decode(messages=[HI, message])
    assert _encode(request.with_messages(request.messages), "x/y")["messages"] == [HI]


def test_a_whole_python_request_is_written() -> None:
    request = replace(ChatRequest.from_text("Hi", system="S"), extra={"plugins": []})
    assert _encode(request) == {
        "plugins": [],
        "messages": [{"role": "system", "content": "S"}, HI],
        "model": "a/b",
        "stream": True,
    }


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages: is required"),
    ({"messages": []}, "messages: must hold at least one message"),
    ({"messages": "x"}, "messages: must be an array"),
    ({"messages": [1]}, "messages.0: must be an object"),
    ({"messages": [{"content": "x"}]}, "messages.0.role: is required"),
    ({"messages": [{"role": 7}]}, "messages.0.role: must be a string"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content: must be a string"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0.type"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id: is required"),
    ({"messages": [{"role": "tool", "tool_call_id": "1", "content": [{"kind": "x"}]}]},
     "messages.0.content.0.type: is required"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
     "messages.0.tool_calls.0.function: is required"),
    ({"model": ""}, "model: must be a non-empty string"),
    ({"model": "a\r\nb"}, "model: must be a non-empty string"),
    ({"model": 7}, "model: must be a string"),
    ({"n": 2}, "n: only one reply"),
    ({"n": 1.5}, "n: must be a whole number"),
    ({"max_tokens": 0}, "max_tokens: must be between 1 and"),
    ({"max_tokens": True}, "max_tokens: must be a whole number"),
    ({"temperature": "hot"}, "temperature: must be a number"),
    ({"stream": 1}, "stream: must be true or false"),
    ({"tools": [{"function": {}}]}, "tools.0.type: is required"),
    ({"tool_choice": 1}, "tool_choice: must be auto, none, required or name a function"),
    ({"response_format": "json"}, "response_format: must be an object"),
    ({"stop": [1]}, "stop.0: must be a string"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), WRONG)
def test_what_is_wrong_is_named_with_its_path(body: JsonObject, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _decode(**body)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "part",
    [
        Media(kind="audio", url="https://x/y.wav"),
        OpaquePart(wire="anthropic_messages", body={"type": "container_upload"}),
        ToolCall(id="1", name="f", arguments="{}"),
    ],
)
def test_what_the_wire_cannot_say_is_refused(part: Any) -> None:
    with pytest.raises(InvalidRequest, match="messages: "):
        _encode(ChatRequest(messages=(Message(role="user", parts=(part,)),)))


def test_an_unknown_call_of_the_wire_is_kept() -> None:
    call = {"id": "1", "type": "custom", "custom": {"name": "x", "input": "y"}}
    assert _message(role="assistant", tool_calls=[call]).parts == (
        OpaquePart(wire="openai_chat", body=call),
    )


def test_an_assistant_who_said_nothing_is_still_there() -> None:
    request = ChatRequest(messages=(Message(role="assistant", parts=()),))
    assert _encode(request)["messages"] == [{"role": "assistant", "content": ""}]


def test_another_wires_tool_and_fields_are_left_out_and_named() -> None:
    request = ChatRequest(
        messages=(Message(role="user", parts=(Text(text="x"),), extra={"odd": 1}),),
        tools=(Tool(name="web_search", native={"type": "web_search_20260101"}),),
        extra={"context_management": {}, "thinking": {}, "provider": {}},
        origin=Origin(wire="anthropic_messages", body=None),
    )
    encoded = CHAT.encode_request(request, "a/b")
    assert encoded.omitted == (
        "odd of a message", "the provider's own tool web_search", "context_management",
    )  # fmt: skip
    assert json.loads(encoded.body) == {
        "provider": {}, "messages": [{"role": "user", "content": "x"}], "model": "a/b",
        "stream": True,
    }  # fmt: skip


def test_options_that_say_nothing_are_not_sent() -> None:
    request = ChatRequest(messages=(), reasoning=ReasoningOptions())
    assert "reasoning" not in _encode(request)
