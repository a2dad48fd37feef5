"""The table of ways in which a gateway may be broken, each with the one clause that it breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from devflow_cli.conformance.recording import as_objects
from integration.broken_gateways import (
    DONE,
    Asks,
    Events,
    Json,
    Passage,
    Way,
    in_another_shape,
    refuse,
    with_fields,
    with_status_200,
    without,
    without_marks,
    without_messages,
    without_parts,
    without_request_id,
    without_usage,
)

_MESSAGES, _RESPONSES, _CHAT = "/messages", "/responses", "/chat/completions"


def _one_tool_id(_: Passage, data: Json) -> Sequence[Json]:
    if data["type"] == "content_block_start" and "id" in data["content_block"]:
        data["content_block"]["id"] = "toolu_same"
    return [data]


def _stops_early(passage: Passage, data: Json) -> Sequence[Json]:
    stop = {"type": "content_block_stop", "index": data.get("index")}
    if data["type"] == "content_block_stop":
        return []
    if data["type"] == "content_block_delta" and data["index"] not in passage.seen:
        passage.seen[data["index"]] = True
        return [data, stop]
    return [data]


def _starts_late(passage: Passage, data: Json) -> Sequence[Json]:
    if data["type"] == "message_start":
        passage.seen["start"] = data
        return []
    if data["type"] == "content_block_start" and "start" in passage.seen:
        return [data, passage.seen.pop("start")]
    return [data]


def _numbers_from_1(_: Passage, data: Json) -> Sequence[Json]:
    return [data | {"index": data["index"] + 1} if "index" in data else data]


def _never_stops_blocks(_: Passage, data: Json) -> Sequence[Json]:
    return [] if data["type"] == "content_block_stop" else [data]


def _talks_on(_: Passage, data: Json) -> Sequence[Json]:
    return [data, {"type": "ping"}] if data["type"] == "message_stop" else [data]


def _zero_output(_: Passage, data: Json) -> Sequence[Json]:
    if data["type"] == "message_delta":
        data["usage"]["output_tokens"] = 0
    return [data]


def _no_early_usage(_: Passage, data: Json) -> Sequence[Json]:
    if data["type"] == "message_start":
        data["message"]["usage"]["input_tokens"] = 0
    return [data]


def _no_signature(_: Passage, data: Json) -> Sequence[Json]:
    is_signature = data.get("delta", {}).get("type") == "signature_delta"
    return [] if is_signature else [data]


def _hides_the_error(_: Passage, data: Json) -> Sequence[Json]:
    if data["type"] != "error":
        return [data]
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]


def _refuses_the_beta(passage: Passage) -> tuple[int, Json] | None:
    is_new = "something-new" in passage.headers.get("anthropic-beta", "")
    return refuse(400, "unexpected value for anthropic-beta") if is_new else None


def _refuses_fields(passage: Passage) -> tuple[int, Json] | None:
    return refuse(400) if "context_management" in passage.body else None


def _refuses_deferred_tools(passage: Passage) -> tuple[int, Json] | None:
    tools = passage.body.get("tools", [])
    return refuse(400) if any("defer_loading" in one for one in tools) else None


def _refuses_two_keys(passage: Passage) -> tuple[int, Json] | None:
    return refuse(401) if {"x-api-key", "authorization"} <= set(passage.headers) else None


def _lists_others_only(_: Passage, body: Json) -> Json:
    body["data"] = [one for one in body["data"] if "claude" not in one["id"]]
    return body


def _asks_for_no_key(passage: Passage) -> None:
    passage.headers.setdefault("authorization", f"Bearer {passage.seen['key']}")
    passage.headers.pop("origin", None)


def _role_everywhere(_: Passage, data: Json) -> Sequence[Json]:
    for choice in data.get("choices", []):
        choice["delta"]["role"] = "assistant"
    return [data]


def _finishes_twice(_: Passage, data: Json) -> Sequence[Json]:
    ends = [one for one in data.get("choices", []) if one.get("finish_reason")]
    return [data, data] if ends else [data]


def _one_number(_: Passage, data: Json) -> Sequence[Json]:
    for choice in data.get("choices", []):
        for call in as_objects(choice["delta"].get("tool_calls")):
            call["index"] = 0
    return [data]


def _new_ids(passage: Passage, data: Json) -> Sequence[Json]:
    if data is not DONE:
        data["id"] = f"{data['id']}-{next(passage.seen.setdefault('count', count()))}"
    return [data]


def _wrong_total(_: Passage, body: Json) -> Json:
    if "usage" in body:
        body["usage"]["total_tokens"] += 100
    return body


def _hides_the_chat_error(_: Passage, data: Json) -> Sequence[Json]:
    if "error" not in data:
        return [data]
    end: Json = {"index": 0, "delta": {}, "finish_reason": "stop"}
    kept = {key: value for key, value in data.items() if key != "error"}
    return [kept | {"choices": [end]}]


def _one_call_id(_: Passage, data: Json) -> Sequence[Json]:
    items = [data["item"]] if "item" in data else data.get("response", {}).get("output", [])
    for item in items:
        if item["type"] == "function_call":
            item["call_id"] = "call_same"
    return [data]


def _unsealed(_: Passage, data: Json) -> Sequence[Json]:
    items = [data["item"]] if "item" in data else data.get("response", {}).get("output", [])
    for item in items:
        item.pop("encrypted_content", None)
    return [data]


def _no_final_usage(_: Passage, data: Json) -> Sequence[Json]:
    if "response" in data:
        data["response"]["usage"] = None
    return [data]


def _counts_back(_: Passage, data: Json) -> Sequence[Json]:
    if "sequence_number" in data:
        data["sequence_number"] = -data["sequence_number"]
    return [data]


def _not_done(_: Passage, data: Json) -> Sequence[Json]:
    return [] if data is DONE else [data]


def _refuses_cache_keys(passage: Passage) -> tuple[int, Json] | None:
    return refuse(400) if "prompt_cache_key" in passage.body else None


def _refuses(with_what: tuple[int, Json]) -> Asks:
    return lambda _: with_what


def _drops(kind: str) -> Events:
    def event(_: Passage, data: Json) -> Sequence[Json]:
        return [] if data.get("type") == kind else [data]

    return event


def _drops_json_mode(passage: Passage) -> None:
    if passage.body.get("response_format") == {"type": "json_object"}:
        del passage.body["response_format"]


def _drops_json_schema(passage: Passage) -> None:
    if passage.body.get("response_format", {}).get("type") == "json_schema":
        del passage.body["response_format"]


def _says(text: str) -> Callable[[Passage, Json], Json]:
    def whole(passage: Passage, body: Json) -> Json:
        return body | {"content": [{"type": "text", "text": text}]} if "content" in body else body

    return whole


def _streams(text: str) -> Events:
    def event(_: Passage, data: Json) -> Sequence[Json]:
        if data.get("delta", {}).get("type") == "text_delta":
            data["delta"]["text"] = text
        return [data]

    return event


def _with_pings(_: Passage, data: Json) -> Sequence[Json]:
    return [data] if data["type"] == "message_stop" else [data, {"type": "ping"}]


def _messages(name: str, clause: str, **how: object) -> Way:
    return Way(name=name, clause=f"messages.{clause}", **{"path": _MESSAGES, **how})  # type: ignore[arg-type]


def _responses(name: str, clause: str, **how: object) -> Way:
    return Way(name=name, clause=f"responses.{clause}", **{"path": _RESPONSES, **how})  # type: ignore[arg-type]


def _chat(name: str, clause: str, **how: object) -> Way:
    return Way(name=name, clause=f"chat.{clause}", **{"path": _CHAT, **how})  # type: ignore[arg-type]


WHOLE = Way(name="whole", clause="", path="/nowhere")
STUBBORN = _messages("stubborn", "", whole=_says("I cannot do that."), event=_streams("No."))
"""Not broken: its model repeats nothing."""
BUSY = _messages("busy", "", ask=_refuses(refuse(429, "too many requests")))
PINGS = _messages("pings", "", event=_with_pings)
COMMENTS = _chat("comments", "", comments=True)
"""Not broken: signs of life are allowed."""
WAYS = (
    _messages("drops_system", "system_prompt", ask=without("system")),
    _messages("drops_late_system", "late_system", ask=without_messages("messages", "system")),
    _messages("buffers", "in_time", buffers=True),
    _messages("one_tool_id", "tool_calls", event=_one_tool_id),
    _messages("swallows_cache_control", "cache", ask=without_marks),
    _messages("stops_blocks_early", "stream_grammar", event=_stops_early),
    _messages("starts_late", "stream_grammar", event=_starts_late),
    _messages("numbers_blocks_from_1", "stream_grammar", event=_numbers_from_1),
    _messages("never_stops_blocks", "stream_grammar", event=_never_stops_blocks),
    _messages("talks_on_after_the_end", "stream_grammar", event=_talks_on),
    _messages("errors_with_200", "error_status", whole=with_status_200),
    _messages("another_envelope", "error_shape", whole=in_another_shape),
    _messages("no_request_id", "request_id", whole=without_request_id),
    _messages(
        "drops_the_second_result",
        "tool_results",
        ask=without_parts("messages", "tool_result", after=1),
    ),
    _messages("zero_usage", "usage", event=_zero_output),
    _messages("no_early_usage", "early_usage", event=_no_early_usage),
    _messages("cuts_characters", "utf8", cuts_characters=True),
    _messages("ignores_max_tokens", "max_tokens", ask=with_fields(max_tokens=4096)),
    _messages("drops_stop_sequences", "stop_sequences", ask=without("stop_sequences")),
    _messages("loses_signatures", "thinking", event=_no_signature),
    _messages("drops_images", "image", ask=without_parts("messages", "image")),
    _messages("drops_the_schema", "structured", ask=without("output_config")),
    _messages("reads_on", "cancel", reads_on=True),
    _messages("hides_errors", "broken_stream", event=_hides_the_error),
    _messages("refuses_betas", "unknown_betas", ask=_refuses_the_beta),
    _messages("refuses_fields", "unknown_fields", ask=_refuses_fields),
    _messages("refuses_deferred_tools", "deferred_tools", ask=_refuses_deferred_tools),
    _messages("refuses_two_keys", "both_credentials", ask=_refuses_two_keys),
    _messages("cannot_count", "count_tokens", path="/count_tokens", ask=_refuses(refuse(404))),
    _messages("lists_no_claude", "discovery", path="/models", whole=_lists_others_only),
    _messages("dies_of_hello", "hello", path="/api/hello", ask=_refuses(refuse(503))),
    _responses("no_created", "stream_grammar", event=_drops("response.created")),
    _responses("items_never_done", "stream_grammar", event=_drops("response.output_item.done")),
    _responses("counts_back", "stream_grammar", event=_counts_back),
    _responses("one_call_id", "tool_calls", event=_one_call_id),
    _responses("unsealed", "reasoning", event=_unsealed),
    _responses("no_usage", "usage", event=_no_final_usage),
    _responses("drops_instructions", "system_prompt", ask=without("instructions")),
    _responses("drops_developer", "late_system", ask=without_messages("input", "developer")),
    _responses("refuses_cache_keys", "codex_fields", ask=_refuses_cache_keys),
    _responses("ignores_the_limit", "max_tokens", ask=with_fields(max_output_tokens=4096)),
    _responses("drops_the_format", "structured", ask=without("text")),
    _chat("role_everywhere", "one_role", event=_role_everywhere),
    _chat("finishes_twice", "one_finish", event=_finishes_twice),
    _chat("not_done", "done", event=_not_done),
    _chat("one_number", "tool_calls", event=_one_number),
    _chat("new_ids", "stream_grammar", event=_new_ids),
    _chat("no_usage", "usage", event=without_usage),
    _chat("wrong_total", "usage", whole=_wrong_total),
    _chat("hides_errors", "broken_stream", event=_hides_the_chat_error),
    _chat("buffers", "in_time", buffers=True),
    _chat("reads_on", "cancel", reads_on=True),
    _chat("drops_json_mode", "json_mode", ask=_drops_json_mode),
    _chat("drops_the_schema", "structured", ask=_drops_json_schema),
    _chat("another_envelope", "error_shape", whole=in_another_shape),
    Way(name="open_to_strangers", clause="gateway.strangers", ask=_asks_for_no_key),
)
