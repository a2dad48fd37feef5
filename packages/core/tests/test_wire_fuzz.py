"""Whatever a caller or a provider sends: an answer or an error of ours, nothing else."""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from devflow_core.errors import DevFlowError, InvalidRequest
from devflow_core.events import Event
from devflow_core.response import ChatResponse
from devflow_core.tokens import estimate_input_tokens
from devflow_core.wire import Dialect, SseReader, parse_body
from devflow_core.wire.table import DIALECTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Collect = Callable[[Sequence[Event]], ChatResponse]

_STRANGE: list[Any] = (
    [None, True, 0, -1, 1.5, 2**62, "", "x", "text", "\x00", [], ["x"], [None], {}, {"type": "x"},
     [{}], {"type": "text"}, {"index": "x"}, "data:;base64,", "devflow1.", "devflow1.e30=",
     "devflow1.W10=", "devflow1.eyJkIjoxLCJzIjoxfQ=="]
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a JSON value."""
    if isinstance(value, dict):
        inner = list(cast("dict[str, Any]", value).items())
    elif isinstance(value, list):
        inner = list(enumerate(cast("list[Any]", value)))
    else:
        return [path]
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _replaced(value: dict[str, Any], changes: list[tuple[int, Any]]) -> dict[str, Any]:
    """A copy with some of its values, chosen by number, replaced."""
    changed = copy.deepcopy(value)
    for number, new in changes:
        places = _places(changed)[1:]
        if not places:
            break
        *way, last = places[number % len(places)]
        owner: Any = changed
        for key in way:
            owner = owner[key]
        owner[last] = copy.deepcopy(new)
    return changed


_VALUES = st.sampled_from(_STRANGE)
_CHANGES = st.lists(st.tuples(st.integers(0, 5000), _VALUES), min_size=1, max_size=4)

CHAT_BODY: dict[str, Any] = {
    "model": "a/b", "max_tokens": 5, "stop": ["x"], "stream": True, "tool_choice": "auto",
    "stream_options": {"include_usage": True}, "reasoning": {"effort": "low"}, "provider": {},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}},
               "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": [
            {"type": "text", "text": "t", "cache_control": {"ttl": "1h"}},
            {"type": "image_url", "image_url": {"url": "https://x/y", "detail": "low"}},
            {"type": "file", "file": {"filename": "f", "file_data": "data:text/plain;base64,aGk="}},
            {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}]},
        {"role": "assistant", "content": None, "reasoning": "r",
         "reasoning_details": [{"type": "reasoning.text", "text": "t", "signature": "s",
                                "format": "anthropic-claude-v1", "index": 0}],
         "tool_calls": [{"id": "1", "type": "function",
                         "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "t"}]},
    ],
}  # fmt: skip
ANTHROPIC_BODY: dict[str, Any] = {
    "model": "claude-x", "max_tokens": 5, "stop_sequences": ["x"], "metadata": {"user_id": "u"},
    "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}],
    "thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "low"},
    "tools": [{"name": "f", "type": "custom", "input_schema": {}}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "messages": [
        {"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "m", "data": "aGk="}},
            {"type": "document", "title": "t",
             "source": {"type": "text", "media_type": "text/plain", "data": "d"}}]},
        {"role": "system", "content": "S", "output_config": {"effort": "low"}},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "t", "signature": "devflow1.e30="},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "tool_use", "id": "1", "name": "f", "input": {"a": [1]}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "1", "is_error": True, "content": [
                {"type": "text", "text": "t"},
                {"type": "tool_reference", "tool_name": "f"}]}]},
    ],
}  # fmt: skip
RESPONSES_BODY: dict[str, Any] = {
    "model": "gpt-x", "instructions": "I", "max_output_tokens": 5, "store": False,
    "tools": [{"type": "function", "name": "f", "parameters": {}},
              {"type": "custom", "name": "c", "format": {"syntax": "lark", "definition": "d"}},
              {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}],
    "tool_choice": {"type": "function", "name": "f"}, "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "t"}]},
        {"role": "user", "content": [
            {"type": "input_image", "image_url": "https://x/y", "detail": "low"},
            {"type": "input_file", "filename": "f", "file_data": "data:text/plain;base64,aGk="}]},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "t"}],
         "encrypted_content": "gAAAA"},
        {"type": "custom_tool_call", "call_id": "1", "name": "c", "input": "i"},
        {"type": "custom_tool_call_output", "call_id": "1", "output": "o"},
        {"type": "function_call", "call_id": "2", "namespace": "n", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "2", "output": [
            {"type": "input_text", "text": "t"}]},
    ],
}  # fmt: skip
BODIES = {
    "openai_chat": CHAT_BODY,
    "anthropic_messages": ANTHROPIC_BODY,
    "openai_responses": RESPONSES_BODY,
}


@pytest.fixture(params=sorted(DIALECTS))
def wire(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


_FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@_FUZZ
@given(_CHANGES)
def test_a_request_is_understood_or_refused(wire: Dialect, changes: list[tuple[int, Any]]) -> None:
    body = _replaced(BODIES[wire.name], changes)
    try:
        request = wire.decode_request(parse_body(json.dumps(body).encode()), {})
    except InvalidRequest:
        return
    assert estimate_input_tokens(request) >= 1
    for variant in (request, request.with_messages(request.messages)):
        for target in DIALECTS.values():
            for model in ("anthropic/x", "google/x"):
                try:
                    encoded = target.encode_request(variant, model)
                except InvalidRequest:
                    continue
                assert json.loads(encoded.body)["model"] == model
                wire.make_encoder(variant)


CHAT_EVENTS: list[dict[str, Any]] = [
    {"id": "g", "model": "a/b", "provider": "P", "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": "x"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"reasoning": "r", "reasoning_details": [
        {"type": "reasoning.text", "text": "r", "signature": "s", "index": 0, "format": "f"}]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [
        {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop",
                  "native_finish_reason": "stop"}],
     "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.1, "cost_details": {
         "upstream_inference_cost": 0.1}, "prompt_tokens_details": {"cached_tokens": 1}}},
    {"error": {"code": 429, "message": "m", "metadata": {"raw": "r", "provider_name": "P"}}},
]  # fmt: skip
ANTHROPIC_EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "g", "model": "m", "usage": {"input_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking",
                                                                  "thinking": "t"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta",
                                                          "signature": "s"}},
    {"type": "content_block_start", "index": 1, "content_block": {
        "type": "tool_use", "id": "1", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta",
                                                          "partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
     "usage": {"output_tokens": 1, "cost": 0.1, "cache_creation": {"x": 1}}},
    {"type": "message_stop"},
    {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
]  # fmt: skip
RESPONSES_EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "g", "model": "openai/x"}},
    {"type": "response.output_item.added", "output_index": 0, "item": {
        "type": "function_call", "call_id": "1", "name": "f", "namespace": "n"}},
    {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"},
    {"type": "response.reasoning_text.delta", "output_index": 1, "delta": "r"},
    {"type": "response.output_item.done", "output_index": 1, "item": {
        "type": "reasoning", "id": "r", "summary": [{"text": "r"}], "encrypted_content": "e"}},
    {"type": "response.output_item.done", "output_index": 2, "item": {
        "type": "message", "content": [{"text": "r"}]}},
    {"type": "response.completed", "response": {"status": "incomplete", "usage": {
        "input_tokens": 1, "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 1}},
        "incomplete_details": {"reason": "max_output_tokens"}}},
    {"type": "response.failed", "response": {"error": {"code": "x", "message": "m"}}},
]  # fmt: skip
STREAMS = {
    "openai_chat": CHAT_EVENTS,
    "anthropic_messages": ANTHROPIC_EVENTS,
    "openai_responses": RESPONSES_EVENTS,
}


@_FUZZ
@given(_CHANGES)
def test_a_stream_gives_events_or_an_error_of_ours(
    wire: Dialect, changes: list[tuple[int, Any]]
) -> None:
    events = _replaced({"events": STREAMS[wire.name]}, changes)["events"]
    encoders = [target.make_encoder(wire.decode_request(BODIES[wire.name], {}))
                for target in DIALECTS.values()]  # fmt: skip
    decoder = wire.make_decoder("a/b")
    if not isinstance(events, list):
        return
    stream = b"".join(
        b"data: %b\n\n" % json.dumps(one).encode() for one in cast("list[Any]", events)
    )
    try:
        for frame in SseReader().feed(stream):
            for event in decoder.feed(frame):
                for encoder in encoders:
                    encoder.encode(event)
        decoder.close()
    except DevFlowError:
        pass


WHOLE: dict[str, dict[str, Any]] = {
    "openai_chat": {"id": "g", "choices": [{"message": {
        "content": "x", "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
    "anthropic_messages": {"id": "g", "content": [
        {"type": "text", "text": "x"}, {"type": "tool_use", "id": "1", "name": "f", "input": {}}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}},
    "openai_responses": {"id": "g", "status": "completed", "output": [
        {"type": "message", "content": [{"text": "x"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}]},
}  # fmt: skip


@_FUZZ
@given(_CHANGES)
def test_a_whole_reply_is_read_or_an_error_of_ours(
    wire: Dialect, fold: Collect, changes: list[tuple[int, Any]]
) -> None:
    body = json.dumps(_replaced(WHOLE[wire.name], changes)).encode()
    try:
        response = fold(wire.decode_response(body, "a/b"))
    except DevFlowError:
        return
    request = wire.decode_request(BODIES[wire.name], {})
    for target in DIALECTS.values():
        assert json.loads(target.encode_response(response, request))
