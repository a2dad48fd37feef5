"""Anthropic's messages."""

from __future__ import annotations

from typing import Any

from dialect_samples import COMMENTS, DONE, DialectSamples, named_event

USAGE = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
MESSAGE: dict[str, Any] = {
    "id": "gen-1", "type": "message", "role": "assistant", "model": "anthropic/claude-x",
    "content": [], "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1},
}  # fmt: skip
_BODY: dict[str, Any] = {
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
_EVENTS: list[dict[str, Any]] = [
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
_WHOLE: dict[str, Any] = {"id": "g", "content": [
        {"type": "text", "text": "x"}, {"type": "tool_use", "id": "1", "name": "f", "input": {}}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip

SAMPLES = DialectSamples(
    asks={"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100},
    body=_BODY,
    events=_EVENTS,
    whole=_WHOLE,
    opening=(
        named_event(type="message_start", message=MESSAGE),
        named_event(type="ping"),
        named_event(
            type="content_block_start", index=0, content_block={"type": "text", "text": ""}
        ),
    ),
    rest=(
        named_event(
            type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}
        ),
        named_event(type="content_block_stop", index=0),
        named_event(
            type="message_delta", delta={"stop_reason": "end_turn"}, usage={**USAGE, "cost": 0.0001}
        ),
        named_event(type="message_stop"),
    ),
    failure=named_event(
        type="error", error={"type": "api_error", "message": "The provider fell over."}
    ),
    before=(
        named_event(type="news"),
        named_event(type="content_block_stop", index=3),
    ),
    start=named_event(type="message_start", message=MESSAGE),
    between=(
        *COMMENTS,
        named_event(type="ping"),
        named_event(type="news", usage=USAGE),
        named_event(
            type="content_block_start", index=0, content_block={"type": "text", "text": ""}
        ),
        named_event(
            type="content_block_start",
            index=1,
            content_block={"type": "tool_use", "id": "t", "name": "f", "input": {"p": 1}},
        ),
        named_event(
            type="content_block_start",
            index=2,
            content_block={"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        ),
        named_event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}),
        named_event(
            type="content_block_delta",
            index=1,
            delta={"type": "input_json_delta", "partial_json": "{}"},
        ),
        named_event(type="content_block_delta", index=0, delta={"type": "odd_delta"}),
        named_event(type="content_block_stop", index=1),
        named_event(type="message_delta", delta={}, usage=USAGE),
        named_event(type="message_delta", delta={"stop_reason": "end_turn"}),
        DONE,
    ),
    ends=(
        named_event(type="message_delta", delta={"stop_reason": "end_turn"}, usage=USAGE)
        + named_event(type="message_stop"),
    ),
)
