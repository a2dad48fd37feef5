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
from devflow_core.wire.reasoning import seal

RESPONSES = get_dialect("openai_responses")
CHAT = get_dialect("openai_chat")
GPT = "openai/gpt-x"


def _decode(**body: Any) -> ChatRequest:
    return RESPONSES.decode_request({"input": "Hi", **body}, {})


def _encode(request: ChatRequest, model: str = GPT) -> dict[str, Any]:
    return json.loads(RESPONSES.encode_request(request, model).body)


def _anew(request: ChatRequest, model: str = GPT) -> dict[str, Any]:
    return _encode(request.with_messages(request.messages), model)


CODEX: dict[str, Any] = {
    "model": "gpt-x", "instructions": "You are Codex.", "store": False, "stream": True,
    "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
    "reasoning": {"effort": "medium", "summary": "auto"}, "text": {"verbosity": "low"},
    "tool_choice": "auto", "parallel_tool_calls": True,
    "tools": [
        {"type": "function", "name": "shell", "description": "d", "strict": False,
         "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "apply_patch", "description": "Edit files.",
         "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
        {"type": "namespace", "name": "crm", "description": "n", "tools": [
            {"type": "function", "name": "find", "parameters": {}},
            {"type": "custom", "name": "note"},
        ]},
        {"type": "web_search"},
    ],
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "D"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "rs1", "summary": [{"type": "summary_text", "text": "Hm"}],
         "encrypted_content": "gAAAAx"},
        {"type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "Ok", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** x"},
        {"type": "function_call", "call_id": "c3", "namespace": "crm", "name": "find",
         "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "patched"},
        {"type": "function_call_output", "call_id": "c3", "output": [
            {"type": "input_text", "text": "see"},
            {"type": "input_image", "image_url": "https://x/y", "detail": "low"}]},
        {"role": "user", "content": "Thanks"},
    ],
}  # fmt: skip


def test_a_request_of_codex_goes_out_as_it_came() -> None:
    encoded = RESPONSES.encode_request(RESPONSES.decode_request(CODEX, {}), GPT)
    assert json.loads(encoded.body) == {**CODEX, "model": GPT}
    assert encoded.omitted == ()


def test_the_recorded_request_goes_out_as_it_came(recordings: list[dict[str, Any]]) -> None:
    (body,) = [one["request"] for one in recordings if "responses" in one["path"]]
    assert _encode(RESPONSES.decode_request(body, {}), body["model"]) == body


def test_a_request_of_codex_is_understood() -> None:
    request = RESPONSES.decode_request(CODEX, {})
    assert [message.role for message in request.messages] == [
        "system", "system", "user", "assistant", "user", "user",
    ]  # fmt: skip
    parts = request.messages[3].parts
    assert parts == (
        Reasoning(
            text="Hm", encrypted="gAAAAx", detail={"id": "rs1", "format": "openai-responses-v1"}
        ),
        Text(text="Ok"),
        ToolCall(id="c1", name="shell", arguments="{}"),
        ToolCall(id="c2", name="apply_patch", arguments='{"input":"*** x"}'),
        ToolCall(id="c3", name="crm__find", arguments="{}"),
    )
    assert request.messages[4].parts[2] == ToolResult(
        call_id="c3",
        parts=(Text(text="see"), Media(kind="image", url="https://x/y", detail="low")),
    )
    names = [tool.name for tool in request.tools]
    assert names == ["shell", "apply_patch", "crm__find", "crm__note", "web_search"]
    assert request.tools[1].schema["required"] == ["input"]
    assert "lark grammar:\nstart: x" in request.tools[1].description
    assert request.reasoning == ReasoningOptions(effort="medium")


def test_a_request_of_codex_written_anew_says_the_same() -> None:
    request = RESPONSES.decode_request(CODEX, {})
    body = _anew(request)
    decoded = RESPONSES.decode_request(body, {})
    assert decoded.messages == request.messages
    assert body["tools"] == CODEX["tools"]
    assert body["input"][5:10] == CODEX["input"][4:9]
    assert body["reasoning"] == CODEX["reasoning"]
    assert body["text"] == CODEX["text"]
    assert body["include"] == CODEX["include"]


def test_a_request_of_codex_is_translated_for_other_models() -> None:
    encoded = CHAT.encode_request(RESPONSES.decode_request(CODEX, {}), "deepseek/deepseek-x")
    body = json.loads(encoded.body)
    assert [tool["function"]["name"] for tool in body["tools"]] == [
        "shell", "apply_patch", "crm__find", "crm__note",
    ]  # fmt: skip
    assert [message["role"] for message in body["messages"]] == [
        "system", "developer", "user", "assistant", "tool", "tool", "tool", "user", "user",
    ]  # fmt: skip
    assert body["reasoning"] == {"effort": "medium"}
    assert encoded.omitted == (
        "thinking of another vendor's model", "the provider's own tool web_search", "include",
        "prompt_cache_key",
    )  # fmt: skip


def test_the_words_of_the_hub() -> None:
    schema = {"type": "object"}
    request = _decode(
        model="x/y", max_output_tokens=9, temperature=0.1, top_p=0.2, stream=True, user="u",
        tools=[{"type": "function", "name": "f", "parameters": schema, "strict": True}],
        tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False,
        reasoning={"effort": "low", "max_tokens": 7, "enabled": True},
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}},
    )  # fmt: skip
    assert request == ChatRequest(
        model="x/y",
        messages=(Message(role="user", parts=(Text(text="Hi"),)),),
        tools=(Tool(name="f", schema=schema, strict=True),),
        tool_choice=ToolChoice(mode="tool", name="f"),
        parallel_tool_calls=False,
        max_output_tokens=9,
        temperature=0.1,
        top_p=0.2,
        response_format=ResponseFormat(kind="json_schema", schema=schema, name="n", strict=True),
        reasoning=ReasoningOptions(effort="low", max_tokens=7, enabled=True),
        is_stream=True,
        extra=request.extra,
        origin=request.origin,
    )
    decoded = RESPONSES.decode_request(_anew(request, "x/y"), {})
    assert replace(decoded, origin=None) == replace(request, origin=None)


def test_python_requests_are_written() -> None:
    request = replace(
        ChatRequest.from_text("Hi", system="S"),
        tools=(Tool(name="f"),),
        tool_choice=ToolChoice(mode="required"),
        stop=("E",),
        seed=1,
        response_format=ResponseFormat(kind="json_schema", schema={}, name="n"),
        reasoning=ReasoningOptions(effort="high", max_tokens=9),
    )
    encoded = RESPONSES.encode_request(request, GPT, {"max_output_tokens": 5})
    assert encoded.omitted == ("stop", "seed")
    assert json.loads(encoded.body) == {
        "input": [
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "S"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        ],
        "tools": [
            {"type": "function", "name": "f", "description": None, "strict": False,
             "parameters": {"type": "object", "properties": {}}},
        ],
        "tool_choice": "required",
        "store": False,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "reasoning": {"max_tokens": 9},
        "model": GPT,
        "stream": True,
        "max_output_tokens": 5,
    }  # fmt: skip
    plain = replace(
        request,
        response_format=ResponseFormat(kind="json_object"),
        reasoning=ReasoningOptions(),
        tool_choice=ToolChoice(mode="tool", name="f"),
    )
    body = _encode(plain)
    assert body["text"] == {"format": {"type": "json_object"}}
    assert body["tool_choice"] == {"type": "function", "name": "f"}
    assert "reasoning" not in body


PARTS: list[tuple[JsonObject, Any]] = [
    ({"type": "input_text", "text": "t"}, Text(text="t")),
    (
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
        Media(kind="image", media_type="image/png", base64="aGk=", detail="auto"),
    ),
    (
        {"type": "input_file", "filename": "a.pdf",
         "file_data": "data:application/pdf;base64,aGk="},
        Media(kind="file", media_type="application/pdf", base64="aGk=", name="a.pdf"),
    ),
    ({"type": "input_file", "file_url": "https://x/y"}, Media(kind="file", url="https://x/y")),
    (
        {"type": "input_file", "file_id": "f"},
        OpaquePart(wire="openai_responses", body={"type": "input_file", "file_id": "f"}),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("part", "expected"), PARTS)
def test_parts_are_read_and_written(part: JsonObject, expected: Any) -> None:
    item = {"type": "message", "role": "user", "content": [part]}
    request = _decode(input=[item])
    assert request.messages == (Message(role="user", parts=(expected,)),)
    assert _anew(request)["input"] == [item]


def test_a_refusal_is_what_was_said() -> None:
    message = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert _decode(input=[message]).messages[0].parts == (Text(text="No."),)


def test_items_without_a_word_of_ours_are_kept() -> None:
    item = {"type": "web_search_call", "id": "ws", "status": "completed"}
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    request = _decode(input=[user, item])
    assert request.messages[1].parts == (OpaquePart(wire="openai_responses", body=item),)
    assert _anew(request)["input"] == [user, item]
    encoded = CHAT.encode_request(request, "a/b")
    assert encoded.omitted == ("a part of type web_search_call",)


def test_text_around_a_call_stays_around_it() -> None:
    parts = (Text(text="a"), ToolCall(id="1", name="f", arguments=""), Text(text="b"))
    items = _encode(ChatRequest(messages=(Message(role="assistant", parts=parts),)))["input"]
    assert [one["type"] for one in items] == ["message", "function_call", "message"]
    assert items[1]["arguments"] == "{}"


def test_results_are_written() -> None:
    results = (
        ToolResult(call_id="1", parts=(), is_error=True),
        ToolResult(call_id="2", parts=(Text(text="x", cache_ttl="5m"),)),
        Text(text="y", cache_ttl="5m"),
    )
    message = Message(role="user", parts=results, name="ann", extra={"odd": 1})
    encoded = RESPONSES.encode_request(ChatRequest(messages=(message,)), GPT)
    assert [one.get("output") for one in json.loads(encoded.body)["input"]] == ["", "x", None]
    assert encoded.omitted == (
        "further fields of a message", "is_error of a tool's result", "cache_control (2 times)",
    )  # fmt: skip


def test_a_broken_free_form_call_goes_back_as_it_was() -> None:
    request = RESPONSES.decode_request(CODEX, {})
    for arguments in ("*** oops", "[]", '{"other":1}'):
        call = ToolCall(id="c9", name="apply_patch", arguments=arguments)
        with_call = request.with_messages((Message(role="assistant", parts=(call,)),))
        assert _encode(with_call)["input"] == [
            {"type": "custom_tool_call", "call_id": "c9", "name": "apply_patch", "input": arguments}
        ]


def test_thinking_goes_back_to_its_own_vendor_only() -> None:
    request = RESPONSES.decode_request(CODEX, {})
    for variant in (request, request.with_messages(request.messages)):
        encoded = RESPONSES.encode_request(variant, "anthropic/claude-x")
        assert b"gAAAA" not in encoded.body
        assert "thinking of another vendor's model" in encoded.omitted


def test_thinking_that_we_have_sealed_is_not_sent_to_this_wire() -> None:
    foreign = Reasoning(signature="s", detail={"format": "anthropic-claude-v1"})
    item = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Hm"}],
            "encrypted_content": seal(foreign, None)}  # fmt: skip
    request = _decode(input=[{"role": "user", "content": "Hi"}, item])
    assert len(_encode(request)["input"]) == 1
    (thinking,) = request.messages[1].parts
    assert thinking == replace(foreign, text="Hm")
    # what was sealed, but is not signed in this wire's way, cannot be said here
    encoded = RESPONSES.encode_request(request.with_messages(request.messages), "anthropic/x")
    assert "thinking without a signature of this dialect" in encoded.omitted


def test_plain_thinking_stays_in_its_own_body() -> None:
    item: JsonObject = {"type": "reasoning", "id": "r", "summary": [], "content": []}
    request = _decode(input=[{"role": "user", "content": "Hi"}, item])
    assert _encode(request)["input"][1] == item
    other: JsonObject = {"type": "reasoning", "summary": [], "encrypted_content": "opaque"}
    assert _encode(_decode(input=[other]))["input"] == [other]


def test_nothing_is_stored() -> None:
    asked = _decode(store=True)
    for request in (asked, asked.with_messages(asked.messages)):
        encoded = RESPONSES.encode_request(request, GPT)
        assert json.loads(encoded.body)["store"] is False
        assert encoded.omitted == ("store",)
        translated = CHAT.encode_request(request, GPT)
        assert "store" not in json.loads(translated.body)
        assert translated.omitted == ("store",)


def test_choices_of_the_providers_own_tools_are_kept() -> None:
    choice = {"type": "web_search"}
    request = _decode(tool_choice=choice)
    assert request.tool_choice is None
    assert _anew(request)["tool_choice"] == choice


def test_a_tool_named_by_a_choice_may_be_free_form() -> None:
    request = _decode(tool_choice={"type": "custom", "name": "apply_patch"})
    assert request.tool_choice == ToolChoice(mode="tool", name="apply_patch")


def test_plain_text_is_no_format() -> None:
    assert _decode(text={"format": {"type": "text"}}).response_format is None
    wanted = _decode(text={"format": {"type": "json_object"}}).response_format
    assert wanted == ResponseFormat(kind="json_object")


def test_another_wires_fields_are_left_out_and_named() -> None:
    request = ChatRequest(
        messages=(Message(role="user", parts=(Text(text="x"),)),),
        tools=(Tool(name="computer", native={"type": "computer"}),),
        extra={"logit_bias": {}},
        origin=Origin(wire="openai_chat", body={"tools": None}),
    )
    encoded = RESPONSES.encode_request(request, GPT)
    assert encoded.omitted == ("the provider's own tool computer", "logit_bias")


@pytest.mark.parametrize(
    "part",
    [
        Media(kind="audio", base64="aGk="),
        OpaquePart(wire="openai_chat", body={"type": "file"}),
    ],
)
def test_what_the_wire_cannot_say_is_refused(part: Any) -> None:
    with pytest.raises(InvalidRequest, match="messages: "):
        _encode(ChatRequest(messages=(Message(role="user", parts=(part,)),)))


@pytest.mark.parametrize(
    "part", [ToolCall(id="2", name="f", arguments="{}"), ToolResult(call_id="2", parts=())]
)
def test_no_call_and_no_result_stands_in_a_result(part: Any) -> None:
    result = ToolResult(call_id="1", parts=(Text(text="x"), part))
    with pytest.raises(InvalidRequest, match=f"a {type(part).__name__} cannot be sent in this"):
        _encode(ChatRequest(messages=(Message(role="user", parts=(result,)),)))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"input": None}, "input: is required"),
    ({"input": []}, "input: must hold at least one message"),
    ({"input": 7}, "input: must be an array"),
    ({"input": [{"role": 7, "content": "x"}]}, "input.0.role: must be a string"),
    ({"input": [{"role": "user", "content": 1}]}, "input.0.content: must be a string or"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0: no items are kept here"),
    ({"input": [{"type": "function_call", "name": "f"}]}, "input.0.call_id: is required"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": [{"kind": "odd"}]}]},
     "input.0.output.0.type: is required"),
    ({"previous_response_id": "r"}, "previous_response_id: no replies are kept here"),
    ({"background": True}, "background: no replies are kept here"),
    ({"store": "yes"}, "store: must be true or false"),
    ({"tools": [{"type": "function"}]}, "tools.0.name: is required"),
    ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "custom"}]}]},
     "tools.0.tools.0.name: is required"),
    ({"tool_choice": 7}, "tool_choice: must be auto"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), WRONG)
def test_what_is_wrong_is_named_with_its_path(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _decode(**body)
    assert str(caught.value).startswith(message)
