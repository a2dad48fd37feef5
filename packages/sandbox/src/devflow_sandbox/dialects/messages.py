"""`/messages`: the dialect of Anthropic as OpenRouter speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import orjson

from devflow_sandbox.api_error import invalid
from devflow_sandbox.dialects.fields import plugins, server_tools, tool_choice
from devflow_sandbox.message import JsonObject
from devflow_sandbox.parsed_request import (
    Ask,
    Block,
    Reader,
    Reasoning,
    Tool,
    content_blocks,
    marked,
    tool_blocks,
    ttl,
)
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.replies.reply import fragments, pieces

_STOP_REASONS = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}
_MOST_BREAKPOINTS = 4
_MOST_FALLBACKS = 3


def read(body: JsonObject) -> Ask:
    """A request body.

    Raises:
        Refusal: 400, naming the field.
    """
    reader = Reader(body)
    declared = reader.objects("tools")
    tools = tuple(
        Tool(name=str(one["name"]), schema=one.get("input_schema") or {})
        for one in declared
        if "name" in one and str(one.get("type", "custom")) == "custom"
    )
    blocks = (*tool_blocks(declared), *_system(body), *_messages(reader))
    if sum(1 for block in blocks if block.ttl is not None) > _MOST_BREAKPOINTS:
        raise invalid(
            "A maximum of 4 blocks with cache_control may be provided. Found "
            f"{sum(1 for block in blocks if block.ttl is not None)}."
        )
    return Ask(
        dialect="messages",
        body=body,
        models=_models(reader),
        blocks=marked(blocks, ttl(body)),
        stream=reader.flag("stream"),
        tools=tools,
        server_tools=server_tools(declared),
        tool_choice=tool_choice(body.get("tool_choice"), tools),
        schema=_schema(reader),
        max_tokens=reader.count("max_tokens"),
        reasoning=_thinking(reader),
        provider=reader.object("provider"),
        session_id=reader.text("session_id"),
        user=Reader(reader.object("metadata"), "metadata.").text("user_id"),
        plugins=plugins(reader),
    )


def _models(reader: Reader) -> tuple[str, ...]:
    model = reader.text("model")
    fallbacks = reader.objects("fallbacks")
    if fallbacks and reader.texts("models"):
        raise invalid("'fallbacks' and 'models' cannot be used together")
    if len(fallbacks) > _MOST_FALLBACKS:
        raise invalid(f"At most {_MOST_FALLBACKS} fallbacks are allowed")
    if any(set(one) != {"model"} for one in fallbacks):
        raise invalid("Invalid input: fallbacks: only 'model' is allowed")
    listed = (model, *reader.texts("models"), *(str(one["model"]) for one in fallbacks))
    models = tuple(dict.fromkeys(one for one in listed if one))
    if not models:
        raise invalid("No models provided")
    return models


def _schema(reader: Reader) -> JsonObject | None:
    config = Reader(reader.object("output_config"), "output_config.")
    form = config.object("format") or reader.object("output_format")
    return form.get("schema") if form.get("type") == "json_schema" else None


def _thinking(reader: Reader) -> Reasoning | None:
    thinking = reader.object("thinking")
    if not thinking:
        return None
    is_hidden = thinking.get("display") == "omitted"
    return Reasoning(is_on=thinking.get("type") != "disabled", is_hidden=is_hidden)


def _system(body: JsonObject) -> Iterator[Block]:
    yield from content_blocks("system", body.get("system"), {})


def _messages(reader: Reader) -> Iterator[Block]:
    messages = reader.objects("messages")
    if not messages:
        raise invalid("Invalid input: messages: at least one message is required")
    for message in messages:
        role = Reader(message, "messages.").text("role")
        if role is None or role not in ("user", "assistant", "system"):
            raise invalid(f"Invalid input: messages.role: '{role}' is not a role")
        content = message.get("content")
        if isinstance(content, list):
            for part in cast("list[object]", content):
                yield from _part(role, part)
        else:
            yield from content_blocks(role, content, message)


def _part(role: str, part: object) -> Iterator[Block]:
    if isinstance(part, dict) and cast(JsonObject, part).get("type") == "tool_result":
        yield Block("tool", orjson.dumps(part).decode(), ttl(cast(JsonObject, part)))
        return
    if isinstance(part, dict) and cast(JsonObject, part).get("type") == "tool_use":
        yield Block("call", orjson.dumps(part).decode(), ttl(cast(JsonObject, part)))
        return
    parts: list[object] = [part]
    yield from content_blocks(role, parts, {})


def _usage(done: Generation) -> JsonObject:
    tokens = done.tokens
    created = None
    if tokens.written:
        created = {
            "ephemeral_5m_input_tokens": tokens.written - tokens.written_1h,
            "ephemeral_1h_input_tokens": tokens.written_1h,
        }
    thought = {"thinking_tokens": tokens.reasoning} if tokens.reasoning else None
    searches = {"web_search_requests": done.searches, "web_fetch_requests": 0}
    return {
        "input_tokens": max(0, tokens.prompt - tokens.cached - tokens.written),
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": created,
        "output_tokens": tokens.completion,
        "output_tokens_details": thought,
        "server_tool_use": searches if done.searches else None,
        "inference_geo": None,
        "service_tier": "standard",
        **done.costs("prompt", "completions"),
    }


def _message(done: Generation, content: list[JsonObject], usage: JsonObject) -> JsonObject:
    return {
        "id": done.id,
        "type": "message",
        "role": "assistant",
        "model": done.named.model.label,
        "provider": done.provider.name,
        "container": None,
        "content": content,
        "stop_reason": None,
        "stop_details": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _content(done: Generation) -> list[JsonObject]:
    reply = done.reply
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


def whole(done: Generation) -> bytes:
    """A reply that is not streamed."""
    message = _message(done, _content(done), _usage(done))
    message["stop_reason"] = _STOP_REASONS.get(done.reply.finish, "end_turn")
    if done.metadata is not None:
        message["openrouter_metadata"] = done.metadata
    return orjson.dumps(message)


def _event(name: str, body: JsonObject) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **body}))


def stream(done: Generation) -> list[bytes]:
    """A reply as named events, without comments; there is no `[DONE]` in this dialect."""
    nothing = dict.fromkeys(_usage(done)) | {"input_tokens": 0, "output_tokens": 0}
    costs = ("cost", "is_byok", "cost_details")
    begun = {key: value for key, value in nothing.items() if key not in costs}
    start = _message(done, [], begun | {"service_tier": "standard"})
    events = [_event("message_start", {"message": start}), _event("ping", {})]
    for index, block in enumerate(_content(done)):
        events += _block(index, block, done)
    stopped = {
        "stop_reason": _STOP_REASONS.get(done.reply.finish, "end_turn"),
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
    }
    events.append(_event("message_delta", {"delta": stopped, "usage": _usage(done)}))
    more = {} if done.metadata is None else {"openrouter_metadata": done.metadata}
    events.append(_event("message_stop", more))
    return events


def _block(index: int, block: JsonObject, done: Generation) -> list[bytes]:
    """One content block: its start, its pieces and its end."""
    kind = block["type"]
    if kind == "tool_use":
        empty: JsonObject = {**block, "input": {}}
        call = next(one for one in done.reply.calls if one.id == block["id"])
        parts = [orjson.dumps(part) for part in fragments(call.arguments)]
        deltas = [_delta(index, b"input_json_delta", b"partial_json", part) for part in parts]
    elif kind == "thinking":
        empty = {**block, "thinking": "", "signature": ""}
        words = pieces(block["thinking"])
        deltas = [_delta(index, b"thinking_delta", b"thinking", word) for word in words]
        signature = orjson.dumps(block["signature"])
        deltas.append(_delta(index, b"signature_delta", b"signature", signature))
    else:
        empty = {**block, "text": ""}
        words = pieces(block["text"])
        deltas = [_delta(index, b"text_delta", b"text", word) for word in words]
    start = _event("content_block_start", {"index": index, "content_block": empty})
    return [start, *deltas, _event("content_block_stop", {"index": index})]


def _delta(index: int, kind: bytes, name: bytes, value: bytes) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"%b","%b":%b}}\n\n' % (index, kind, name, value)
    )
