"""Chat completions."""

from __future__ import annotations

from typing import Any

from dialect_samples import COMMENTS, DONE, DialectSamples, data_event

_HEAD = {
    "id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "openai/gpt-5-mini",
}  # fmt: skip
_COUNTS = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def _chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return data_event(**{**_HEAD, "choices": choices, **more})


def _call(**call: Any) -> bytes:
    return _chunk({"tool_calls": [{"index": 0, **call}]})


_BODY: dict[str, Any] = {
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
_EVENTS: list[dict[str, Any]] = [
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
_WHOLE: dict[str, Any] = {"id": "g", "choices": [{"message": {
        "content": "x", "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1}}  # fmt: skip

SAMPLES = DialectSamples(
    asks={"messages": [{"role": "user", "content": "Hi"}]},
    body=_BODY,
    events=_EVENTS,
    whole=_WHOLE,
    opening=(_chunk({"role": "assistant", "content": ""}), _chunk({"content": None})),
    rest=(
        _chunk({"content": "Hello"}),
        _chunk({}, "stop"),
        _chunk({}, "stop", usage={**_COUNTS, "cost": 0.0001}),
        DONE,
    ),
    failure=data_event(error={"code": 502, "message": "The provider fell over."}, choices=[]),
    start=_chunk({"role": "assistant", "content": ""}),
    between=(
        *COMMENTS,
        _chunk({"role": "assistant", "content": ""}),
        _chunk({"content": "a"}),
        _chunk({"content": "b}"}, usage=_COUNTS),
        _chunk({}, "stop", usage=_COUNTS),
        _chunk({}, "length"),
        _chunk(usage=_COUNTS),
        _chunk({"refusal": "no"}),
        _chunk({"images": [{"type": "image_url", "image_url": {"url": "data:,"}}]}),
        _chunk({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text"}]}),
        _call(id="a", function={"name": "f", "arguments": ""}),
        _call(id="b", function={"arguments": '{"p":'}),
        _call(id="c", function={"name": "", "arguments": "1}"}),
        _call(function={"name": "g", "arguments": {"p": 1}}),
        _chunk(object="news"),
        b"event: odd\nid: 3\ndata: {}\n\n",
        b'data: {"id":\ndata: "gen-1"}\n\n',
    ),
    ends=(
        _chunk({}, "stop") + DONE,
        _chunk({}, "stop", usage=_COUNTS) + _chunk(usage=_COUNTS) + DONE,
        _chunk({}, "tool_calls", usage=_COUNTS) + b": late\n\n" + DONE,
    ),
    ends_in_done=True,
)
