"""Applies faults in the content: missing parts, wrong numbers, other bodies, errors in a 200.

Each public function is a `FaultHandler`: it returns the new steps of the answer.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import orjson

from devflow_sandbox.faults.errors import encode_error_body, encode_error_event
from devflow_sandbox.faults.schema import (
    BadUsageFault,
    BodyFault,
    EarlyUsageFault,
    ErrorEventFault,
    OmitFault,
    ToolIndexFault,
)
from devflow_sandbox.faults.steps import edit_events, split_at
from devflow_sandbox.message import DONE, Answer, JsonObject, Step
from devflow_sandbox.replies.generation import Generation

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>error code: 502</body></html>"


def omit(
    fault: OmitFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Leave out parts of the reply: events, fields, or the header `X-Generation-Id`."""
    for part in fault.parts:
        if part == "done":
            steps = [step for step in steps if step != DONE and not _is_end(step)]
        elif part == "last_newline":
            last = steps[-1]
            steps = [*steps[:-1], last.rstrip() if isinstance(last, bytes) else last]
        elif part == "generation_id":
            answer.headers = [one for one in answer.headers if one[0] != "X-Generation-Id"]
        else:
            steps = edit_events(steps, _REMOVERS[part])
    return steps


def _is_end(step: Step) -> bool:
    return isinstance(step, bytes) and step.startswith(b"event: message_stop")


def _find_usage_holders(body: JsonObject) -> list[JsonObject]:
    """Return the objects that may hold `usage`: the body, and its `response` or `message`."""
    inner = [body.get(name) for name in ("response", "message")]
    return [body, *(cast(JsonObject, one) for one in inner if isinstance(one, dict))]


def _remove_usage(body: JsonObject) -> JsonObject | None:
    if "usage" in body and body.get("object") == "chat.completion.chunk":
        return None
    for holder in _find_usage_holders(body):
        holder.pop("usage", None)
    return body


def _remove_cost(body: JsonObject) -> JsonObject:
    for holder in _find_usage_holders(body):
        usage = holder.get("usage")
        if isinstance(usage, dict):
            for name in ("cost", "cost_details", "is_byok"):
                cast(JsonObject, usage).pop(name, None)
    return body


def _remove_finish(body: JsonObject) -> JsonObject | None:
    if body.get("type") in ("message_delta", "response.completed"):
        return None
    for choice in cast("list[JsonObject]", body.get("choices") or []):
        choice["finish_reason"] = choice["native_finish_reason"] = None
    return body


_REMOVERS = {"usage": _remove_usage, "cost": _remove_cost, "finish": _remove_finish}


def corrupt_usage(
    fault: BadUsageFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Put other values into every `usage`, as raw text; a reply without one stays as it is."""

    def corrupt(body: JsonObject) -> JsonObject:
        for holder in _find_usage_holders(body):
            usage = holder.get("usage")
            if isinstance(usage, dict):
                raw = {name: orjson.Fragment(text) for name, text in fault.values.items()}
                cast(JsonObject, usage).update(raw)
        return body

    return edit_events(steps, corrupt)


def replace_body(
    fault: BodyFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Send a different body with its own status, or the same one without choices."""
    if fault.preset in ("choices_null", "choices_empty"):
        choices: Any = None if fault.preset == "choices_null" else []

        def replace_choices(one: JsonObject) -> JsonObject:
            return one | {"choices": choices}

        return edit_events(steps, replace_choices)
    content_type = fault.content_type
    text = fault.text.encode()
    if fault.preset == "malformed":
        text = b'{"id":"gen-1","choices":[{"index":0,"message":{"role":"assistant","content":"ha'
    elif fault.preset == "html":
        text, content_type = _HTML, "text/html; charset=UTF-8"
    answer.status, answer.framing = fault.status, "length"
    answer.headers = [("Content-Type", content_type)]
    return [text] if text else []


def inject_error(
    fault: ErrorEventFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Send an error after the status 200: in the stream, or as the body.

    An answer that is not a reply stays as it is.
    """
    if generation is None:
        return steps
    if not generation.request.stream:
        return [*steps[:-1], encode_error_body(fault, generation)]
    before, _ = split_at(steps, fault.at)
    end = [DONE] if fault.done else []
    return [*before, encode_error_event(fault, generation), *end]


def corrupt_tool_index(
    fault: ToolIndexFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Change how the pieces of tool calls fit together; works on `/chat/completions` streams."""
    call_count = 0

    def change_index(one: JsonObject) -> JsonObject:
        nonlocal call_count
        for choice in cast("list[JsonObject]", one.get("choices") or []):
            for call in cast("list[JsonObject]", choice.get("delta", {}).get("tool_calls") or []):
                call_count += "id" in call
                if fault.form == "duplicate":
                    call["index"] = 0
                elif fault.form == "gap":
                    call["index"] = call["index"] * 3 + 2
        return one

    if fault.form == "object":
        return _join_arguments(steps)
    steps = edit_events(steps, _renew_ids if fault.form == "ids" else change_index)
    return _split_per_character(steps) if fault.form == "split" else steps


def _calls_in(chunk: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = []
    for choice in cast("list[JsonObject]", chunk.get("choices") or []):
        delta = cast(JsonObject, choice.get("delta") or {})
        found += cast("list[JsonObject]", delta.get("tool_calls") or [])
    return found


def _renew_ids(chunk: JsonObject) -> JsonObject:
    for call in _calls_in(chunk):
        digest = hashlib.blake2b(orjson.dumps(call), digest_size=8).hexdigest()
        call |= {"id": f"call_{digest}", "type": "function"}
    return chunk


def _join_arguments(steps: list[Step]) -> list[Step]:
    """Put each whole call into its first piece, with the arguments as an object."""
    texts: dict[int, str] = {}

    def collect(chunk: JsonObject) -> JsonObject:
        for call in _calls_in(chunk):
            text = texts.get(call["index"], "")
            texts[call["index"]] = text + call["function"]["arguments"]
        return chunk

    def put_whole_call(chunk: JsonObject) -> JsonObject | None:
        for call in _calls_in(chunk):
            if "id" not in call:
                return None
            call["function"]["arguments"] = orjson.loads(texts[call["index"]] or "{}")
        return chunk

    # two passes: the arguments are complete only at the end of the stream
    edit_events(steps, collect)
    return edit_events(steps, put_whole_call)


def repeat_usage(
    fault: EarlyUsageFault, answer: Answer, steps: list[Step], generation: Generation | None
) -> list[Step]:
    """Report the usage in earlier events as well, without a cost; only on `/chat/completions`."""
    if generation is None or generation.request.dialect != "chat":
        return steps
    tokens = generation.tokens
    counts = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
    }

    def add_usage(chunk: JsonObject) -> JsonObject:
        choices = cast("list[JsonObject]", chunk.get("choices") or [])
        is_end = any(choice.get("finish_reason") for choice in choices)
        if "usage" not in chunk and (is_end or fault.form == "each"):
            chunk["usage"] = counts
        return chunk

    return edit_events(steps, add_usage)


def _split_per_character(steps: list[Step]) -> list[Step]:
    """Send every character of the arguments in a separate event."""
    out: list[Step] = []
    for step in steps:
        text = step if isinstance(step, bytes) else b""
        if b'"tool_calls":[' not in text or not text.startswith(b"data: {"):
            out.append(step)
            continue
        chunk = orjson.loads(text[6:])
        function = chunk["choices"][0]["delta"]["tool_calls"][0]["function"]
        letters = function["arguments"]
        for letter in letters or [""]:
            function["arguments"] = letter
            out.append(b"data: %b\n\n" % orjson.dumps(chunk))
    return out
