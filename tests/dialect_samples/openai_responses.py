"""OpenAI's Responses."""

from __future__ import annotations

from typing import Any

from dialect_samples import COMMENTS, DONE, DialectSamples, named_event

USAGE = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
REPLY = {"id": "gen-1", "object": "response", "model": "openai/gpt-5-mini"}
CREATED = named_event(type="response.created", response={**REPLY, "status": "in_progress"})
_PLACE: dict[str, Any] = {"item_id": "m", "output_index": 0, "content_index": 0}

_BODY: dict[str, Any] = {
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
_EVENTS: list[dict[str, Any]] = [
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
_WHOLE: dict[str, Any] = {"id": "g", "status": "completed", "output": [
        {"type": "message", "content": [{"text": "x"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}]}  # fmt: skip

SAMPLES = DialectSamples(
    asks={"input": "Hi"},
    body=_BODY,
    events=_EVENTS,
    whole=_WHOLE,
    opening=(
        CREATED,
        named_event(type="response.in_progress", response=REPLY),
        named_event(
            type="response.output_item.added",
            output_index=0,
            item={"type": "message", "id": "m", "role": "assistant", "content": []},
        ),
        named_event(
            type="response.content_part.added",
            **_PLACE,
            part={"type": "output_text", "text": "", "annotations": []},
        ),
    ),
    rest=(
        named_event(type="response.output_text.delta", **_PLACE, delta="Hello"),
        named_event(
            type="response.completed",
            response={
                **REPLY,
                "status": "completed",
                "usage": {**USAGE, "cost": 0.0001},
                "output": [
                    {
                        "type": "message",
                        "id": "m",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
                    }
                ],
            },
        ),
    ),
    failure=named_event(
        type="response.failed",
        response={**REPLY, "status": "failed", "error": {"code": "server_error", "message": "-"}},
    ),
    before=(
        named_event(type="response.queued"),
        named_event(type="response.news"),
    ),
    start=CREATED,
    between=(
        *COMMENTS,
        CREATED,
        named_event(type="response.in_progress", response=REPLY),
        named_event(type="response.output_text.delta", output_index=0, delta="a"),
        named_event(type="response.news.delta", delta="b"),
        named_event(
            type="response.output_item.added",
            output_index=1,
            item={"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        ),
        named_event(type="response.function_call_arguments.delta", output_index=1, delta="{}"),
        named_event(
            type="response.output_item.done",
            output_index=1,
            item={"type": "function_call", "call_id": "d", "name": "f", "arguments": {"p": 1}},
        ),
        named_event(type="response.output_item.added", output_index=2, item={"type": "odd"}),
        DONE,
    ),
    ends=(
        named_event(type="response.completed", response={**REPLY, "usage": USAGE}),
        named_event(type="response.incomplete", response={**REPLY, "status": "incomplete"}),
    ),
    has_usage_in_its_end=True,
)
