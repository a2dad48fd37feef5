"""Parses and encodes `/responses`: OpenAI's newer dialect as OpenRouter speaks it, stateless."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import orjson

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.dialects.fields import read_tool_choice
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import (
    Block,
    BodyReader,
    ParsedRequest,
    ReasoningRequest,
    ToolDefinition,
    content_blocks,
    tool_blocks,
)
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.replies.picture import encode_picture
from devflow_sandbox.replies.reply import split_arguments, split_text

_ROLES = ("system", "developer", "user", "assistant")


def parse_request(body: JsonObject) -> ParsedRequest:
    """Parse a request body.

    Raises:
        ApiError: 400, naming the field.
    """
    reader = BodyReader(body)
    if reader.flag("store") or reader.text("previous_response_id") is not None:
        raise invalid_request(
            "Stateful responses are not supported: send the whole conversation, without 'store' "
            "and 'previous_response_id'"
        )
    reader.texts("include")  # validated here, used when the reply is encoded
    model = reader.text("model")
    models = tuple(dict.fromkeys((*((model,) if model else ()), *reader.texts("models"))))
    if not models:
        raise invalid_request("No models provided")
    declared = reader.objects("tools")
    tools = tuple(
        ToolDefinition(name=str(one["name"]), schema=one.get("parameters") or {})
        for one in declared
        if one.get("type") == "function" and "name" in one
    )
    form = BodyReader(reader.object("text"), "text.").object("format")
    return ParsedRequest(
        dialect="responses",
        body=body,
        models=models,
        blocks=(*tool_blocks(declared), *_parse_input(reader)),
        stream=reader.flag("stream"),
        tools=tools,
        tool_choice=read_tool_choice(body.get("tool_choice"), tools),
        schema=form.get("schema") if form.get("type") == "json_schema" else None,
        wants_json=form.get("type") == "json_object",
        max_tokens=reader.count("max_output_tokens"),
        reasoning=_parse_reasoning(reader),
        provider=reader.object("provider"),
        session_id=reader.text("session_id"),
        user=reader.text("user"),
        implicit_cache=reader.object("prompt_cache_options").get("mode") != "explicit",
    )


def _parse_reasoning(reader: BodyReader) -> ReasoningRequest | None:
    options = reader.object("reasoning")
    if not options:
        return None
    effort = BodyReader(options, "reasoning.").text("effort")
    return ReasoningRequest(is_enabled=effort != "none", effort=effort)


def _parse_input(reader: BodyReader) -> Iterator[Block]:
    instructions = reader.text("instructions")
    if instructions:
        yield Block("system", instructions)
    value = reader.body.get("input")
    if isinstance(value, str):
        yield Block("user", value)
        return
    items = reader.objects("input")
    if not items:
        raise invalid_request("Invalid input: input: expected string or array")
    for item in items:
        yield from _parse_item(item)


def _parse_item(item: JsonObject) -> Iterator[Block]:
    kind = item.get("type", "message")
    if kind == "function_call_output":
        yield Block("tool", orjson.dumps(item).decode())
    elif kind in ("function_call", "reasoning"):
        yield Block("call", orjson.dumps(item).decode())
    elif item.get("role") in _ROLES:
        content = item.get("content")
        parts = cast("list[object]", content) if isinstance(content, list) else content
        yield from content_blocks(item["role"], parts, item)
    else:
        raise invalid_request(f"Invalid input: input: an item of type '{kind}' is not known")


def _encode_usage(generation: Generation) -> JsonObject:
    tokens = generation.tokens
    details: JsonObject = {"cached_tokens": tokens.cached}
    if tokens.written:
        details["cache_write_tokens"] = tokens.written
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": details,
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.completion,
        **generation.cost_fields("input", "output"),
        **generation.tool_use_fields(),
    }


def _encode_response_object(generation: Generation, **fields: object) -> JsonObject:
    body = generation.request.body
    return {
        "object": "response",
        "id": generation.id,
        "created_at": generation.created,
        "completed_at": None,
        "model": generation.resolved.model.label,
        "status": "in_progress",
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": _reasoning_settings(generation),
        "safety_identifier": None,
        "service_tier": generation.tier,
        "store": False,
        "temperature": body.get("temperature", 1),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": body.get("top_p", 1),
        "truncation": "disabled",
        "background": False,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        **fields,
    }


def _reasoning_settings(generation: Generation) -> JsonObject | None:
    """Return the settings that the reply reports; None if none were requested.

    OpenAI's models report theirs even then.
    """
    requested: JsonObject | None = generation.request.body.get("reasoning")
    supported: JsonObject | None = generation.resolved.model.row.get("reasoning")
    if generation.resolved.model.author != "openai" or supported is None:
        return requested
    effort = supported.get("default_effort") or "medium"
    default = {"effort": effort, "summary": "detailed", "context": "all_turns", "mode": "standard"}
    return default | (requested or {})


def _encode_outputs(generation: Generation) -> list[JsonObject]:
    reply, suffix = generation.reply, generation.id[-11:].lower()
    items: list[JsonObject] = []
    if reply.reasoning is not None:
        text = [{"type": "reasoning_text", "text": reply.reasoning}]
        thinking = {"type": "reasoning", "id": f"rs_tmp_{suffix}", "summary": [], "content": text}
        if "reasoning.encrypted_content" in BodyReader(generation.request.body).texts("include"):
            thinking["encrypted_content"] = reply.signature
        items.append(thinking)
    if reply.text or reply.refusal or not reply.calls:
        part: JsonObject = {"type": "output_text", "text": reply.text or "", "annotations": []}
        part["logprobs"] = []
        if reply.refusal is not None:
            part = {"type": "refusal", "refusal": reply.refusal}
        message = {"type": "message", "id": f"msg_tmp_{suffix}", "role": "assistant"}
        items.append({**message, "status": "completed", "content": [part]})
    if reply.image_tokens:
        picture = encode_picture(generation.request.question)
        drawn = {"type": "image_generation_call", "id": f"ig_{suffix}", "status": "completed"}
        items.append({**drawn, "result": picture})
    for call in reply.calls:
        names = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        items.append(
            {"type": "function_call", "id": f"fc_{call.id}", "status": "completed", **names}
        )
    return items


def _final_fields(generation: Generation) -> JsonObject:
    """Return the fields that differ once a response ends; the token limit is not an error here."""
    is_truncated = generation.reply.finish_reason == "length"
    more = {} if generation.metadata is None else {"openrouter_metadata": generation.metadata}
    return {
        "status": "incomplete" if is_truncated else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_truncated else None,
        "completed_at": generation.created + 1,
        "output": _encode_outputs(generation),
        "usage": _encode_usage(generation),
        **more,
    }


def encode_response(generation: Generation) -> bytes:
    """Return a reply that is not streamed, as JSON."""
    return orjson.dumps(_encode_response_object(generation, **_final_fields(generation)))


class _EventWriter:
    """Collects and numbers the events of one stream."""

    def __init__(self) -> None:
        self.events: list[bytes] = []

    def add(self, kind: str, **fields: object) -> None:
        event = {"type": f"response.{kind}", **fields, "sequence_number": len(self.events)}
        self.events.append(b"data: %b\n\n" % orjson.dumps(event))

    def add_deltas(self, kind: str, item_id: str, index: int, pieces: tuple[bytes, ...]) -> None:
        """Add the many small delta events, without encoding each one in full."""
        head = b'data: {"type":"response.%b","output_index":%d,"item_id":%b,"content_index":0' % (
            kind.encode(),
            index,
            orjson.dumps(item_id),
        )
        # only text deltas have `logprobs`, as recorded
        if kind == "output_text.delta":
            head += b',"logprobs":[]'
        start = len(self.events)
        self.events += [
            b'%b,"delta":%b,"sequence_number":%d}\n\n' % (head, piece, start + number)
            for number, piece in enumerate(pieces)
        ]


def encode_stream(generation: Generation) -> list[bytes]:
    """Return a reply as unnamed events, as recorded, without comments and the closing `[DONE]`."""
    events = _EventWriter()
    events.add("created", response=_encode_response_object(generation))
    events.add("in_progress", response=_encode_response_object(generation))
    for index, item in enumerate(_encode_outputs(generation)):
        _STREAMERS[item["type"]](events, index, item)
    final = _encode_response_object(generation, **_final_fields(generation))
    events.add("incomplete" if final["status"] == "incomplete" else "completed", response=final)
    return events.events


def _stream_parts(events: _EventWriter, index: int, item: JsonObject) -> None:
    (part,) = item["content"]
    kind = part["type"]
    field = "refusal" if kind == "refusal" else "text"
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    opened = {key: value for key, value in item.items() if key != "content"}
    if item["type"] == "message":
        opened |= {"status": "in_progress", "content": []}
    events.add("output_item.added", output_index=index, item=opened)
    events.add("content_part.added", **place, part={**part, field: ""})
    events.add_deltas(f"{kind}.delta", item["id"], index, split_text(part[field]))
    more: JsonObject = {"logprobs": []} if kind == "output_text" else {}
    events.add(f"{kind}.done", **place, **{field: part[field]}, **more)
    events.add("content_part.done", **place, part=part)
    events.add("output_item.done", output_index=index, item=item)


def _stream_call(events: _EventWriter, index: int, item: JsonObject) -> None:
    opened = {**item, "arguments": "", "status": "in_progress"}
    place = {"item_id": item["id"], "output_index": index}
    events.add("output_item.added", output_index=index, item=opened)
    for part in split_arguments(item["arguments"]):
        events.add("function_call_arguments.delta", **place, delta=part)
    call = {"name": item["name"], "arguments": item["arguments"]}
    events.add("function_call_arguments.done", **place, **call)
    events.add("output_item.done", output_index=index, item=item)


def _stream_image(events: _EventWriter, index: int, item: JsonObject) -> None:
    place = {"item_id": item["id"], "output_index": index}
    opened = {**item, "status": "in_progress", "result": None}
    events.add("output_item.added", output_index=index, item=opened)
    events.add("image_generation_call.in_progress", **place)
    events.add("image_generation_call.completed", **place)
    events.add("output_item.done", output_index=index, item=item)


_STREAMERS = {
    "reasoning": _stream_parts,
    "message": _stream_parts,
    "function_call": _stream_call,
    "image_generation_call": _stream_image,
}
