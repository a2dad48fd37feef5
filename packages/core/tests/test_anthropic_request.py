import json
from dataclasses import replace
from typing import Any

import pytest
from devflow_core.errors import InvalidRequest
from devflow_core.messages import (
    CacheTtl,
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
from devflow_core.wire.reasoning import seal

ANTHROPIC = get_dialect("anthropic_messages")
CHAT = get_dialect("openai_chat")
HI = {"role": "user", "content": "Hi"}
CLAUDE = "anthropic/claude-x"


def _decode(**body: Any) -> ChatRequest:
    return ANTHROPIC.decode_request({"messages": [HI], "max_tokens": 100, **body}, {})


def _encode(request: ChatRequest, model: str = CLAUDE) -> dict[str, Any]:
    return json.loads(ANTHROPIC.encode_request(request, model).body)


def _written(*parts: Any, **fields: Any) -> dict[str, Any]:
    return _encode(ChatRequest(messages=(Message(role="user", parts=parts),), **fields))


def test_requests_of_claude_code_go_out_as_they_came(
    claude_requests: dict[str, dict[str, Any]],
) -> None:
    for one in claude_requests.values():
        body = one["body"]
        request = ANTHROPIC.decode_request(body, one["headers"])
        encoded = ANTHROPIC.encode_request(request, CLAUDE)
        assert json.loads(encoded.body) == {**body, "model": CLAUDE, "stream": True}
        assert encoded.omitted == ()
        assert request.origin is not None
        assert dict(request.origin.headers).keys() == {"anthropic-version", "anthropic-beta"}


def test_requests_of_claude_code_keep_their_words_when_they_are_written_anew(
    claude_requests: dict[str, dict[str, Any]],
) -> None:
    for one in claude_requests.values():
        request = ANTHROPIC.decode_request(one["body"], one["headers"])
        rewritten = _encode(request.with_messages(request.messages), request.model)
        decoded = ANTHROPIC.decode_request(rewritten, one["headers"])
        assert _texts(decoded) == _texts(request)
        assert replace(decoded, origin=None, messages=()) == replace(
            request, origin=None, messages=(), is_stream=True
        )


def test_requests_of_claude_code_are_understood_by_other_models(
    claude_requests: dict[str, dict[str, Any]],
) -> None:
    for one in claude_requests.values():
        request = ANTHROPIC.decode_request(one["body"], one["headers"])
        encoded = CHAT.encode_request(request, "deepseek/deepseek-x")
        decoded = CHAT.decode_request(json.loads(encoded.body), {})
        assert decoded.max_output_tokens == request.max_output_tokens
        assert [tool.name for tool in decoded.tools] == [tool.name for tool in request.tools]
        assert "DeferredToolPlaceholder" not in {tool.name for tool in decoded.tools}
        # thinking goes to nobody but its vendor; all other text, calls and results are there
        assert _texts(decoded) == _texts(request)
        assert [call.id for call in _calls(decoded)] == [call.id for call in _calls(request)]
        assert b"x-anthropic-billing-header" not in encoded.body
        assert "metadata" in encoded.omitted


def _texts(request: ChatRequest) -> list[str]:
    texts: list[str] = []
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Text):
                texts.append(part.text)
            elif isinstance(part, ToolResult):
                texts.extend(one.text for one in part.parts if isinstance(one, Text))
    return sorted(text for text in texts if text != "The result is shown in the next message.")


def _calls(request: ChatRequest) -> list[ToolCall]:
    parts = [part for message in request.messages for part in message.parts]
    return [part for part in parts if isinstance(part, ToolCall)]


def test_system_messages_in_the_middle_keep_their_place(
    claude_requests: dict[str, dict[str, Any]],
) -> None:
    one = claude_requests["2.1.329-main-last"]
    request = ANTHROPIC.decode_request(one["body"], one["headers"])
    roles = [message["role"] for message in one["body"]["messages"]]
    assert "system" in roles[1:]
    assert [message.role for message in request.messages][1:] == roles
    sent = json.loads(CHAT.encode_request(request, "x/y").body)["messages"]
    assert [message["role"] for message in sent].count("system") == 1 + roles.count("system")


def test_the_words_of_the_hub() -> None:
    schema: JsonObject = {"type": "object", "properties": {}}
    request = _decode(
        model="claude-x",
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=1;"},
            {"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}},
        ],
        tools=[
            {"name": "f", "description": "d", "input_schema": schema, "strict": True,
             "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"name": "DeferredToolPlaceholder", "input_schema": {}, "defer_loading": True},
            {"type": "web_search_20260101", "name": "web_search"},
        ],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        temperature=0.5, top_p=0.9, stop_sequences=["END"], stream=True, top_k=5,
        thinking={"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": schema}},
    )  # fmt: skip
    assert request == ChatRequest(
        model="claude-x",
        messages=(
            Message(role="system", parts=(Text(text="S", cache_ttl="5m"),)),
            Message(role="user", parts=(Text(text="Hi"),)),
        ),
        tools=(
            Tool(name="f", description="d", schema=schema, strict=True, cache_ttl="1h"),
            Tool(name="web_search", native={"type": "web_search_20260101", "name": "web_search"}),
        ),
        tool_choice=ToolChoice(mode="tool", name="f"),
        parallel_tool_calls=False,
        max_output_tokens=100,
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        response_format=ResponseFormat(kind="json_schema", schema=schema, strict=True),
        reasoning=ReasoningOptions(effort="high", max_tokens=2000, enabled=True, exclude=True),
        extra=request.extra,
        origin=request.origin,
    )
    body = _encode(request.with_messages(request.messages))
    assert ANTHROPIC.decode_request(body, {}) == replace(
        request, model=CLAUDE, origin=Origin(wire="anthropic_messages", body=body)
    )


@pytest.mark.parametrize(
    ("choice", "mode"), [("auto", "auto"), ("any", "required"), ("none", "none")]
)
def test_choices_of_tools_have_their_words(choice: str, mode: Any) -> None:
    tool: JsonObject = {"name": "f", "input_schema": {}}
    request = _decode(tools=[tool], tool_choice={"type": choice})
    assert request.tool_choice == ToolChoice(mode=mode)
    assert _encode(request.with_messages(request.messages))["tool_choice"] == {"type": choice}


def test_parallel_calls_alone_are_a_choice() -> None:
    tool = Tool(name="f", schema={})
    assert _written(Text(text="x"), tools=(tool,), parallel_tool_calls=True)["tool_choice"] == {
        "type": "auto", "disable_parallel_tool_use": False,
    }  # fmt: skip
    none = ToolChoice(mode="none")
    body = _written(Text(text="x"), tools=(tool,), parallel_tool_calls=True, tool_choice=none)
    assert body["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in _written(Text(text="x"), tool_choice=none)


THINKING: list[tuple[JsonObject, ReasoningOptions | None]] = [
    ({}, None),
    ({"thinking": {"type": "disabled"}}, ReasoningOptions(enabled=False)),
    ({"thinking": {"type": "adaptive", "display": "updates"}}, ReasoningOptions(enabled=True)),
    ({"output_config": {"effort": "max"}}, ReasoningOptions(effort="max")),
]


@pytest.mark.parametrize(("body", "expected"), THINKING)
def test_thinking_is_understood(body: JsonObject, expected: ReasoningOptions | None) -> None:
    assert _decode(**body).reasoning == expected


WRITTEN_THINKING: list[tuple[ReasoningOptions, int | None, object, object]] = [
    (ReasoningOptions(effort="none"), None, {"type": "disabled"}, None),
    (ReasoningOptions(enabled=False), None, {"type": "disabled"}, None),
    (ReasoningOptions(effort="minimal"), None, {"type": "adaptive"}, {"effort": "low"}),
    (ReasoningOptions(enabled=True, exclude=True), None,
     {"type": "adaptive", "display": "omitted"}, None),
    (ReasoningOptions(max_tokens=500), None, {"type": "enabled", "budget_tokens": 1024}, None),
    (ReasoningOptions(max_tokens=5000), 3000, {"type": "enabled", "budget_tokens": 2999}, None),
    (ReasoningOptions(max_tokens=5000), 1000, {"type": "disabled"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "limit", "thinking", "output"), WRITTEN_THINKING)
def test_thinking_is_written_within_the_limits(
    wish: ReasoningOptions, limit: int | None, thinking: object, output: object
) -> None:
    body = _written(Text(text="x"), reasoning=wish, max_output_tokens=limit)
    assert body["thinking"] == thinking
    assert body.get("output_config") == output


def test_an_older_form_of_structured_output_is_understood() -> None:
    schema = {"type": "object"}
    request = _decode(output_format={"type": "json_schema", "schema": schema})
    assert request.response_format == ResponseFormat(kind="json_schema", schema=schema, strict=True)
    assert _decode(output_format={"type": "text"}).response_format is None


def _cached(ttl: CacheTtl = "5m") -> JsonObject:
    return {"cache_control": {"type": "ephemeral", **({"ttl": "1h"} if ttl == "1h" else {})}}


BLOCKS: list[tuple[JsonObject, Any]] = [
    ({"type": "text", "text": "t", **_cached("1h")}, Text(text="t", cache_ttl="1h")),
    (
        {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
        Media(kind="image", url="https://x/y"),
    ),
    (
        {"type": "image",
         "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}, **_cached()},
        Media(kind="image", media_type="image/png", base64="aGk=", cache_ttl="5m"),
    ),
    (
        {"type": "document", "title": "T",
         "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}},
        Media(kind="file", media_type="application/pdf", base64="aGk=", name="T"),
    ),
    (
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        Media(kind="file", url="https://x/y.pdf"),
    ),
    (
        {"type": "document",
         "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
        Media(kind="file", media_type="text/plain", base64="aGk="),
    ),
    (
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        OpaquePart(wire="anthropic_messages",
                body={"type": "image", "source": {"type": "file", "file_id": "f"}}),
    ),
    (
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        OpaquePart(wire="anthropic_messages",
                body={"type": "document", "source": {"type": "file", "file_id": "f"}}),
    ),
    (
        {"type": "container_upload", "file_id": "f"},
        OpaquePart(wire="anthropic_messages", body={"type": "container_upload", "file_id": "f"}),
    ),
    (
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}, **_cached()},
        ToolCall(id="t1", name="f", arguments='{"a":[1]}', cache_ttl="5m"),
    ),
    (
        {"type": "tool_result", "tool_use_id": "t1", "content": "ok", **_cached()},
        ToolResult(call_id="t1", parts=(Text(text="ok"),), cache_ttl="5m"),
    ),
    (
        {"type": "tool_result", "tool_use_id": "t1", "is_error": True},
        ToolResult(call_id="t1", parts=(), is_error=True),
    ),
    (
        {"type": "tool_result", "tool_use_id": "t1", "content": [
            {"type": "text", "text": "see"},
            {"type": "image", "source": {"type": "url", "url": "https://x/y"}}]},
        ToolResult(call_id="t1", parts=(Text(text="see"), Media(kind="image", url="https://x/y"))),
    ),
    (
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        Reasoning(text="Hm", signature="s",
                  detail={"type": "reasoning.text", "format": "anthropic-claude-v1"}),
    ),
    (
        {"type": "redacted_thinking", "data": "d"},
        Reasoning(encrypted="d",
                  detail={"type": "reasoning.encrypted", "format": "anthropic-claude-v1"}),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("block", "part"), BLOCKS)
def test_blocks_are_read_and_written(block: JsonObject, part: Any) -> None:
    request = _decode(messages=[{"role": "assistant", "content": [block]}])
    assert request.messages[0].parts == (part,)
    assert _encode(request.with_messages(request.messages))["messages"] == [
        {"role": "assistant", "content": [block]}
    ]


def test_a_reference_to_a_loaded_tool_becomes_text() -> None:
    block = {"type": "tool_reference", "tool_name": "TaskCreate"}
    request = _decode(
        messages=[{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [block]}]}]
    )  # fmt: skip
    (result,) = request.messages[0].parts
    assert isinstance(result, ToolResult)
    assert result.parts == (Text(text="The tool TaskCreate is loaded and can be called now."),)


def test_empty_text_is_left_out() -> None:
    request = _decode(messages=[HI, {"role": "assistant", "content": ""}, HI])
    written = _encode(request.with_messages(request.messages))["messages"]
    assert [one["role"] for one in written] == ["user", "user"]
    result = ToolResult(call_id="t", parts=(Text(text=""), Text(text="x", cache_ttl="5m")))
    assert _written(Text(text=""), result)["messages"][0]["content"] == [
        {"type": "tool_result", "tool_use_id": "t",
         "content": [{"type": "text", "text": "x", **_cached()}]}
    ]  # fmt: skip


def test_a_message_that_only_directs_is_kept_for_its_own_wire() -> None:
    directive: JsonObject = {"role": "system", "content": [], "output_config": {"effort": "low"}}
    request = _decode(messages=[HI, directive])
    assert _encode(request.with_messages(request.messages))["messages"][1] == directive
    encoded = CHAT.encode_request(request, "x/y")
    assert json.loads(encoded.body)["messages"] == [HI]
    assert encoded.omitted == ("output_config of a message",)


SIGNED = {"type": "thinking", "thinking": "Hm", "signature": "s"}


def test_signed_thinking_goes_to_anthropics_models_only() -> None:
    message = {"role": "assistant", "content": [SIGNED, {"type": "text", "text": "x"}]}
    alone = {"role": "assistant", "content": [SIGNED]}
    request = _decode(messages=[HI, message, HI, alone, HI])
    for variant in (request, request.with_messages(request.messages)):
        assert len(_encode(variant)["messages"]) == 5
        encoded = ANTHROPIC.encode_request(variant, "google/gemini-x")
        assert encoded.omitted == ("thinking of another vendor's model",)
        assert b"Hm" not in encoded.body
        assert len(json.loads(encoded.body)["messages"]) == 4


def test_thinking_that_we_have_sealed_is_not_sent_to_this_wire() -> None:
    foreign = Reasoning(text="Hm", encrypted="d", detail={"format": "google-gemini-v1"})
    block = {"type": "thinking", "thinking": "Hm", "signature": seal(foreign, "google/gemini-x")}
    unsigned = {"type": "thinking", "thinking": "Hm", "signature": ""}
    message = {"role": "assistant", "content": [block, unsigned, {"type": "text", "text": "x"}]}
    request = _decode(messages=[message])
    assert _encode(request)["messages"][0]["content"] == [{"type": "text", "text": "x"}]
    # its own vendor gets it back as it was
    sent = json.loads(CHAT.encode_request(request, "google/gemini-x").body)["messages"][0]
    assert sent["reasoning_details"] == [
        {"format": "google-gemini-v1", "type": "reasoning.encrypted", "data": "d", "text": "Hm"}
    ]


def test_thinking_without_a_signature_is_left_out() -> None:
    request = ChatRequest(messages=(Message(role="assistant", parts=(Reasoning(text="Hm"),)),))
    assert ANTHROPIC.encode_request(request, CLAUDE).omitted == (
        "thinking without a signature",
    )  # fmt: skip


def test_a_request_of_another_wire_is_written_as_this_one_demands() -> None:
    call = ToolCall(id="call:1|a", name="f", arguments='{"a":1}')
    broken = ToolCall(id="", name="g", arguments="{oops")
    request = ChatRequest(
        messages=(
            Message(role="system", parts=(Text(text="S"),)),
            Message(role="user", parts=(Text(text="Hi"),), name="ann", extra={"odd": 1}),
            Message(role="system", parts=(Text(text="Note"),), extra={"role": "developer"}),
            Message(role="assistant", parts=(call, broken)),
            Message(
                role="user",
                parts=(
                    Text(text="Go on"),
                    ToolResult(call_id="call:1|a", parts=(Text(text="ok"),)),
                ),
            ),
        ),
        tools=(
            Tool(name="f"),
            Tool(name="computer", native={"type": "computer"}),
            Tool(name="openrouter:web_search", native={"type": "openrouter:web_search"}),
        ),
        temperature=1.7,
        seed=1,
        stop=("E",),
        response_format=ResponseFormat(kind="json_object"),
        extra={"provider": {}, "logit_bias": {}},
        origin=Origin(wire="openai_chat", body={}),
    )
    encoded = ANTHROPIC.encode_request(request, CLAUDE)
    assert encoded.omitted == (
        "odd of a message", "name of a message", "the form of arguments that are not a JSON object",
        "seed", "logit_bias", "response_format json_object", "the provider's own tool computer",
        "temperature above 1",
    )  # fmt: skip
    assert json.loads(encoded.body) == {
        "provider": {},
        "system": [{"type": "text", "text": "S"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "user", "content": [{"type": "text", "text": "Note"}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "call_1_a", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "call", "name": "g", "input": {"arguments": "{oops"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1_a", "content": "ok"},
                {"type": "text", "text": "Go on"},
            ]},
        ],
        "tools": [
            {"name": "f", "input_schema": {"type": "object"}},
            {"type": "openrouter:web_search"},
        ],
        "temperature": 1.0,
        "stop_sequences": ["E"],
        "model": CLAUDE,
        "stream": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "part",
    [
        Media(kind="audio", base64="aGk="),
        Media(kind="file", media_type="application/zip", base64="aGk="),
        Media(kind="file", media_type="text/plain", base64="a"),
        OpaquePart(wire="openai_chat", body={"type": "file"}),
    ],
)
def test_what_the_wire_cannot_say_is_refused(part: Any) -> None:
    with pytest.raises(InvalidRequest, match="messages: "):
        _written(part)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages: is required"),
    ({"messages": []}, "messages: must hold at least one message"),
    ({"messages": [{"role": 7, "content": "x"}]}, "messages.0.role: must be a string"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: is required"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content: must be a string or"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]},
     "messages.0.content.0.text: is required"),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}]},
     "messages.0.content.0.source: is required"),
    ({"messages": [{"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t", "content": [{"kind": "odd"}]}]}]},
     "messages.0.content.0.content.0.type: is required"),
    ({"system": [{"type": "text"}]}, "system.0.text: is required"),
    ({"tools": [{"name": "f"}]}, "tools.0.input_schema: is required"),
    ({"tool_choice": {"type": "some"}}, "tool_choice.type: must be auto, any, none or tool"),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name: is required"),
    ({"max_tokens": "many"}, "max_tokens: must be a whole number"),
    ({"thinking": {"type": "enabled", "budget_tokens": -1}}, "thinking.budget_tokens: must be"),
    ({"stop_sequences": [1]}, "stop_sequences.0: must be a string"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), WRONG)
def test_what_is_wrong_is_named_with_its_path(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _decode(**body)
    assert str(caught.value).startswith(message)
