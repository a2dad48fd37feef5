"""Parses and encodes `/messages`: Anthropic's dialect as OpenRouter speaks it."""

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
    mark_last_block,
    read_ttl,
    tool_blocks,
)
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.replies.reply import split_arguments, split_text

_STOP_REASONS = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}
_MAX_BREAKPOINTS = 4
"""Blocks that may be marked with `cache_control`, as the error message says."""
_MAX_FALLBACKS = 3
"""Entries that `fallbacks` may have."""


def parse_request(body: JsonObject) -> ParsedRequest:
    """Parse a request body.

    Raises:
        ApiError: 400, naming the field.
    """
    reader = BodyReader(body)
    declared = reader.objects("tools")
    tools = tuple(
        ToolDefinition(name=str(one["name"]), schema=one.get("input_schema") or {})
        for one in declared
        if "name" in one and str(one.get("type", "custom")) == "custom"
    )
    blocks = (*tool_blocks(declared), *_parse_system(body), *_parse_messages(reader))
    if sum(1 for block in blocks if block.ttl is not None) > _MAX_BREAKPOINTS:
        raise invalid_request(
            "A maximum of 4 blocks with cache_control may be provided. Found "
            f"{sum(1 for block in blocks if block.ttl is not None)}."
        )
    return ParsedRequest(
        dialect="messages",
        body=body,
        models=_parse_models(reader),
        blocks=mark_last_block(blocks, read_ttl(body)),
        stream=reader.flag("stream"),
        tools=tools,
        tool_choice=read_tool_choice(body.get("tool_choice"), tools),
        schema=_parse_schema(reader),
        max_tokens=reader.count("max_tokens"),
        reasoning=_parse_thinking(reader),
        provider=reader.object("provider"),
        session_id=reader.text("session_id"),
        user=BodyReader(reader.object("metadata"), "metadata.").text("user_id"),
    )


def _parse_models(reader: BodyReader) -> tuple[str, ...]:
    model = reader.text("model")
    fallbacks = reader.objects("fallbacks")
    if fallbacks and reader.texts("models"):
        raise invalid_request("'fallbacks' and 'models' cannot be used together")
    if len(fallbacks) > _MAX_FALLBACKS:
        raise invalid_request(f"At most {_MAX_FALLBACKS} fallbacks are allowed")
    if any(set(one) != {"model"} for one in fallbacks):
        raise invalid_request("Invalid input: fallbacks: only 'model' is allowed")
    names = (model, *reader.texts("models"), *(str(one["model"]) for one in fallbacks))
    models = tuple(dict.fromkeys(one for one in names if one))
    if not models:
        raise invalid_request("No models provided")
    return models


def _parse_schema(reader: BodyReader) -> JsonObject | None:
    config = BodyReader(reader.object("output_config"), "output_config.")
    form = config.object("format") or reader.object("output_format")
    return form.get("schema") if form.get("type") == "json_schema" else None


def _parse_thinking(reader: BodyReader) -> ReasoningRequest | None:
    thinking = reader.object("thinking")
    if not thinking:
        return None
    is_hidden = thinking.get("display") == "omitted"
    return ReasoningRequest(is_enabled=thinking.get("type") != "disabled", is_hidden=is_hidden)


def _parse_system(body: JsonObject) -> Iterator[Block]:
    yield from content_blocks("system", body.get("system"), {})


def _parse_messages(reader: BodyReader) -> Iterator[Block]:
    messages = reader.objects("messages")
    if not messages:
        raise invalid_request("Invalid input: messages: at least one message is required")
    for message in messages:
        role = BodyReader(message, "messages.").text("role")
        if role is None or role not in ("user", "assistant", "system"):
            raise invalid_request(f"Invalid input: messages.role: '{role}' is not a role")
        content = message.get("content")
        if isinstance(content, list):
            for part in cast("list[object]", content):
                yield from _parse_part(role, part)
        else:
            yield from content_blocks(role, content, message)


def _parse_part(role: str, part: object) -> Iterator[Block]:
    if isinstance(part, dict) and cast(JsonObject, part).get("type") == "tool_result":
        yield Block("tool", orjson.dumps(part).decode(), read_ttl(cast(JsonObject, part)))
        return
    if isinstance(part, dict) and cast(JsonObject, part).get("type") == "tool_use":
        yield Block("call", orjson.dumps(part).decode(), read_ttl(cast(JsonObject, part)))
        return
    parts: list[object] = [part]
    yield from content_blocks(role, parts, {})


def _encode_usage(generation: Generation) -> JsonObject:
    tokens = generation.tokens
    created = None
    if tokens.written:
        created = {
            "ephemeral_5m_input_tokens": tokens.written - tokens.written_1h,
            "ephemeral_1h_input_tokens": tokens.written_1h,
        }
    thought = {"thinking_tokens": tokens.reasoning} if tokens.reasoning else None
    return {
        "input_tokens": max(0, tokens.prompt - tokens.cached - tokens.written),
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": created,
        "output_tokens": tokens.completion,
        "output_tokens_details": thought,
        "server_tool_use": _encode_tool_use(generation),
        "inference_geo": None,
        "service_tier": "standard" if generation.tier == "default" else generation.tier,
        **({"speed": "fast"} if generation.is_fast else {}),
        **generation.cost_fields("prompt", "completions"),
    }


def _encode_tool_use(generation: Generation) -> JsonObject | None:
    counts = {
        f"{kind}_requests": sum(one.count for one in generation.extras.items if one.kind == kind)
        for kind in ("web_search", "web_fetch")
    }
    return counts if any(counts.values()) else None


def _encode_message(
    generation: Generation, content: list[JsonObject], usage: JsonObject
) -> JsonObject:
    return {
        "id": generation.id,
        "type": "message",
        "role": "assistant",
        "model": generation.resolved.model.label,
        "provider": generation.provider.name,
        "container": None,
        "content": content,
        "stop_reason": None,
        "stop_details": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _encode_content(generation: Generation) -> list[JsonObject]:
    reply = generation.reply
    content: list[JsonObject] = []
    if reply.reasoning is not None:
        thought = {"thinking": reply.reasoning, "signature": reply.signature}
        content.append({"type": "thinking", **thought})
    if reply.text or reply.refusal or not reply.calls:
        text = reply.text or reply.refusal or ""
        content.append({"type": "text", "text": text, "citations": None})
    for call in reply.calls:
        arguments = orjson.Fragment(call.arguments)
        used = {"id": call.id, "name": call.name, "input": arguments}
        content.append({"type": "tool_use", **used, "caller": {"type": "direct"}})
    return content


def _encode_stop(generation: Generation) -> JsonObject:
    reply = generation.reply
    if reply.stop_sequence is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": reply.stop_sequence}
    reason = _STOP_REASONS.get(reply.finish_reason, "end_turn")
    return {"stop_reason": reason, "stop_sequence": None}


def encode_response(generation: Generation) -> bytes:
    """Return a reply that is not streamed, as JSON."""
    message = _encode_message(generation, _encode_content(generation), _encode_usage(generation))
    message |= _encode_stop(generation)
    if generation.metadata is not None:
        message["openrouter_metadata"] = generation.metadata
    return orjson.dumps(message)


def _encode_event(name: str, body: JsonObject) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **body}))


def encode_stream(generation: Generation) -> list[bytes]:
    """Return a reply as named events, without comments; this dialect has no `[DONE]`."""
    # `message_start` has all usage fields but no counts yet: OpenRouter knows them only at the end
    no_usage = dict.fromkeys(_encode_usage(generation)) | {"input_tokens": 0, "output_tokens": 0}
    costs = ("cost", "is_byok", "cost_details")
    start_usage = {key: value for key, value in no_usage.items() if key not in costs}
    start = _encode_message(generation, [], start_usage | {"service_tier": "standard"})
    events = [_encode_event("message_start", {"message": start}), _encode_event("ping", {})]
    for index, block in enumerate(_encode_content(generation)):
        events += _encode_block(index, block, generation)
    stopped = {
        **_encode_stop(generation),
        "stop_details": None,
        "container": None,
    }
    events.append(
        _encode_event("message_delta", {"delta": stopped, "usage": _encode_usage(generation)})
    )
    more = {} if generation.metadata is None else {"openrouter_metadata": generation.metadata}
    events.append(_encode_event("message_stop", more))
    return events


def _encode_block(index: int, block: JsonObject, generation: Generation) -> list[bytes]:
    """Encode one content block: its start, its deltas and its end."""
    kind = block["type"]
    if kind == "tool_use":
        empty: JsonObject = {**block, "input": {}}
        call = next(one for one in generation.reply.calls if one.id == block["id"])
        parts = [orjson.dumps(part) for part in split_arguments(call.arguments)]
        deltas = [
            _encode_delta(index, b"input_json_delta", b"partial_json", part) for part in parts
        ]
    elif kind == "thinking":
        empty = {**block, "thinking": "", "signature": ""}
        pieces = split_text(block["thinking"])
        deltas = [_encode_delta(index, b"thinking_delta", b"thinking", piece) for piece in pieces]
        signature = orjson.dumps(block["signature"])
        deltas.append(_encode_delta(index, b"signature_delta", b"signature", signature))
    else:
        empty = {**block, "text": ""}
        pieces = split_text(block["text"])
        deltas = [_encode_delta(index, b"text_delta", b"text", piece) for piece in pieces]
    start = _encode_event("content_block_start", {"index": index, "content_block": empty})
    return [start, *deltas, _encode_event("content_block_stop", {"index": index})]


def _encode_delta(index: int, kind: bytes, name: bytes, value: bytes) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"%b","%b":%b}}\n\n' % (index, kind, name, value)
    )
