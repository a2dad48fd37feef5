"""Parses and encodes `/chat/completions`: OpenAI's dialect as OpenRouter speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
from devflow_sandbox.replies.picture import encode_picture
from devflow_sandbox.replies.reply import EmittedToolCall, split_arguments, split_text

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 2),
    ("frequency_penalty", -2, 2),
    ("presence_penalty", -2, 2),
    ("top_p", 0, 1),
    ("top_logprobs", 0, 20),
)
"""Fields with their lowest and highest value; a value outside is refused (400)."""


def parse_request(body: JsonObject) -> ParsedRequest:
    """Parse a request body.

    Raises:
        ApiError: 400, naming the field.
    """
    reader = BodyReader(body)
    model = reader.text("model")
    models = (*((model,) if model else ()), *reader.texts("models"))
    if not models:
        raise invalid_request("No models provided")
    for name, low, high in _LIMITS:
        reader.number(name, low, high)
    declared = reader.objects("tools")
    tools = tuple(_parse_tool(one) for one in declared if one.get("type", "function") == "function")
    form = reader.object("response_format")
    return ParsedRequest(
        dialect="chat",
        body=body,
        models=tuple(dict.fromkeys(models)),
        blocks=mark_last_block((*tool_blocks(declared), *_parse_messages(reader)), read_ttl(body)),
        stream=reader.flag("stream"),
        tools=tools,
        tool_choice=read_tool_choice(body.get("tool_choice"), tools),
        schema=_parse_schema(form),
        wants_json=form.get("type") == "json_object",
        max_tokens=_parse_limit(reader),
        reasoning=_parse_reasoning(reader),
        provider=reader.object("provider"),
        session_id=reader.text("session_id"),
        user=reader.text("user"),
        implicit_cache=reader.object("prompt_cache_options").get("mode") != "explicit",
    )


def _parse_limit(reader: BodyReader) -> int | None:
    """Return the larger of the two limits, which counts; None without either."""
    limits = (reader.count("max_completion_tokens"), reader.count("max_tokens"))
    return max((one for one in limits if one is not None), default=None)


def _parse_reasoning(reader: BodyReader) -> ReasoningRequest | None:
    """Read `reasoning`, or the older `reasoning_effort` and `include_reasoning`; None if absent."""
    options = reader.object("reasoning")
    effort = BodyReader(options, "reasoning.").text("effort") or reader.text("reasoning_effort")
    if not options and effort is None and not reader.flag("include_reasoning"):
        return None
    is_enabled = effort != "none" and options.get("enabled", True) is not False
    return ReasoningRequest(
        is_enabled=is_enabled, is_hidden=bool(options.get("exclude")), effort=effort
    )


def _parse_tool(declared: JsonObject) -> ToolDefinition:
    function = BodyReader(declared, "tools.").object("function")
    name = BodyReader(function, "tools.function.").text("name")
    if not name:
        raise invalid_request("Invalid input: tools.function.name: expected string, received null")
    return ToolDefinition(
        name=name, schema=BodyReader(function, "tools.function.").object("parameters")
    )


def _parse_schema(form: JsonObject) -> JsonObject | None:
    if form.get("type") != "json_schema":
        return None
    schema = BodyReader(BodyReader(form, "response_format.").object("json_schema")).object("schema")
    if not schema:
        raise invalid_request("Invalid input: response_format.json_schema.schema: expected object")
    return schema


def _parse_messages(reader: BodyReader) -> Iterator[Block]:
    messages = reader.objects("messages")
    if not messages:
        prompt = reader.text("prompt")
        if prompt is None:
            raise invalid_request("Input required: specify 'prompt' or 'messages'")
        yield Block("user", prompt)
        return
    for message in messages:
        role = BodyReader(message, "messages.").text("role")
        if role is None or role not in _ROLES:
            raise invalid_request(f"Invalid input: messages.role: '{role}' is not a role")
        blocks = list(content_blocks(role, message.get("content"), message))
        calls = BodyReader(message, "messages.").objects("tool_calls")
        blocks += [Block("call", orjson.dumps(call).decode()) for call in calls]
        yield from blocks or [Block(role, "")]


def _encode_usage(generation: Generation) -> JsonObject:
    tokens = generation.tokens
    usage: JsonObject = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        **generation.cost_fields("prompt", "completions"),
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.written,
            "audio_tokens": tokens.audio_in,
            "video_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "image_tokens": tokens.image_out,
            "audio_tokens": tokens.audio_out,
        },
        **generation.tool_use_fields(),
    }
    if generation.is_fast:
        usage["speed"] = "fast"
    return usage


def encode_reasoning_details(generation: Generation) -> list[JsonObject]:
    """Return the reasoning as the provider's blocks, with their signatures; [] without any."""
    reply, form = generation.reply, generation.provider.reasoning_format
    if reply.reasoning is None:
        return []
    if form.endswith("responses-v1"):
        summary = {"type": "reasoning.summary", "summary": reply.reasoning, "format": form}
        sealed = {"type": "reasoning.encrypted", "data": reply.signature, "format": form}
        return [summary | {"index": 0}, sealed | {"id": f"rs_{generation.id[-16:]}", "index": 1}]
    block: JsonObject = {
        "type": "reasoning.text",
        "text": reply.reasoning,
        "format": form,
        "index": 0,
    }
    return [block | {"signature": reply.signature} if reply.signature else block]


def _encode_call(call: EmittedToolCall, index: int) -> JsonObject:
    return {
        "type": "function",
        "index": index,
        "id": call.id,
        "function": {"name": call.name, "arguments": call.arguments},
    }


def encode_response(generation: Generation) -> bytes:
    """Return a reply that is not streamed, as JSON."""
    reply = generation.reply
    message: JsonObject = {
        "role": "assistant",
        "content": reply.text,
        "refusal": reply.refusal,
        "reasoning": reply.reasoning,
    }
    if reply.reasoning is not None:
        message["reasoning_details"] = encode_reasoning_details(generation)
    if reply.calls:
        message["tool_calls"] = [
            _encode_call(call, index) for index, call in enumerate(reply.calls)
        ]
    if reply.annotations:
        message["annotations"] = reply.annotations
    if reply.image_tokens:
        message["images"] = [_encode_image(generation)]
    choice = {
        "logprobs": None,
        "finish_reason": reply.finish_reason,
        "native_finish_reason": generation.native_finish,
        "message": message,
    }
    body: JsonObject = {
        "id": generation.id,
        "object": "chat.completion",
        "created": generation.created,
        "model": generation.resolved.model.label,
        "provider": generation.provider.name,
        "system_fingerprint": None,
        "service_tier": generation.service_tier,
        "choices": [{"index": index, **choice} for index in range(generation.choices)],
        "usage": _encode_usage(generation),
    }
    if generation.metadata is not None:
        body["openrouter_metadata"] = generation.metadata
    return orjson.dumps(body)


def _encode_image(generation: Generation) -> JsonObject:
    picture = encode_picture(generation.request.question)
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    return {**image, "index": 0}


class _ChunkWriter:
    """Writes the events of one stream; the parts that all share are encoded once."""

    def __init__(self, generation: Generation) -> None:
        common = {
            "id": generation.id,
            "object": "chat.completion.chunk",
            "created": generation.created,
            "model": generation.resolved.model.label,
            "provider": generation.provider.name,
        }
        self._tier = generation.service_tier
        self._common = orjson.dumps(common)[:-1]
        self.head = b"data: " + self._common + b',"choices":[{"index":0,"delta":'
        self.tail = b',"finish_reason":null,"native_finish_reason":null}]}\n\n'
        finish = {
            "finish_reason": generation.reply.finish_reason,
            "native_finish_reason": generation.native_finish,
        }
        self._end = b"," + orjson.dumps(finish)[1:-1] + b"}]"

    def encode_delta(self, delta: object) -> bytes:
        """Encode one event with a delta."""
        return self.head + orjson.dumps(delta) + self.tail

    def encode_text(self, piece: bytes) -> bytes:
        """Encode a piece of text; the fast path, since most events are text."""
        return self.head + b'{"content":' + piece + b',"role":"assistant"}' + self.tail

    def encode_finish(self, delta: JsonObject) -> bytes:
        """Encode the event with the finish reason."""
        return self.head + orjson.dumps(delta) + self._end + b"}\n\n"

    def encode_usage(self, usage: JsonObject, metadata: JsonObject | None) -> bytes:
        """Encode the last event: the usage, and a choice that repeats the finish reason."""
        more = {"usage": usage} | ({"openrouter_metadata": metadata} if metadata else {})
        return (
            b"data: "
            + self._common
            + b',"service_tier":'
            + orjson.dumps(self._tier)
            + b',"choices":[{"index":0,"delta":{"content":"",'
            + b'"role":"assistant"}'
            + self._end
            + b","
            + orjson.dumps(more)[1:]
            + b"\n\n"
        )


def encode_stream(generation: Generation) -> list[bytes]:
    """Return a reply as server-sent events, without comments and the closing `[DONE]`."""
    chunks, reply = _ChunkWriter(generation), generation.reply
    events: list[bytes] = [
        chunks.encode_delta(delta) for delta in _iter_reasoning_deltas(generation)
    ]
    events += [chunks.encode_text(piece) for piece in split_text(reply.text or "")]
    if reply.refusal is not None:
        refusal = {"content": "", "role": "assistant", "refusal": reply.refusal}
        events.append(chunks.encode_delta(refusal))
    if reply.annotations:
        cited = {"content": "", "role": "assistant", "annotations": reply.annotations}
        # citations come first: the search ran before the text
        events.insert(0, chunks.encode_delta(cited))
    events += [chunks.encode_delta(delta) for delta in _iter_media_deltas(generation)]
    for index, call in enumerate(reply.calls):
        events += [chunks.encode_delta(delta) for delta in _iter_call_deltas(call, index)]
    last: JsonObject = {"content": "", "role": "assistant"}
    if reply.reasoning is not None and reply.calls:
        last["reasoning"] = None
    events.append(chunks.encode_finish(last))
    first = b'"choices":[{"index":0,'
    # more choices repeat the same reply, which is enough for clients that ask for several
    again = [b'"choices":[{"index":%d,' % index for index in range(1, generation.choices)]
    events += [event.replace(first, other) for other in again for event in events[:]]
    events.append(chunks.encode_usage(_encode_usage(generation), generation.metadata))
    return events


def _iter_reasoning_deltas(generation: Generation) -> Iterator[JsonObject]:
    """Yield each piece as text and as a detail of the same index, then the signature."""
    reply, form = generation.reply, generation.provider.reasoning_format
    base: JsonObject = {"content": "", "role": "assistant"}
    details = encode_reasoning_details(generation)
    if not details:
        return
    kind, key = ("reasoning.text", "text")
    if details[0]["type"] == "reasoning.summary":
        kind, key = ("reasoning.summary", "summary")
    for piece in split_text(reply.reasoning or ""):
        text: Any = orjson.Fragment(piece)
        detail = {"type": kind, key: text, "format": form, "index": 0}
        yield {**base, "reasoning": text, "reasoning_details": [detail]}
    if len(details) > 1:
        yield {**base, "reasoning": None, "reasoning_details": details[1:]}
    elif reply.signature:
        sealed = {"type": kind, "signature": reply.signature, "format": form, "index": 0}
        yield {**base, "reasoning_details": [sealed]}


def _iter_media_deltas(generation: Generation) -> Iterator[JsonObject]:
    """Yield an image in one piece, and speech as its text and its audio."""
    base: JsonObject = {"content": "", "role": "assistant"}
    reply, spoken_id = generation.reply, f"audio_{generation.id[-16:]}"
    if reply.image_tokens:
        yield {**base, "images": [_encode_image(generation)]}
    if reply.audio_tokens:
        yield {**base, "audio": {"id": spoken_id, "transcript": reply.text or ""}}
        yield {**base, "audio": {"id": spoken_id, "data": "AAAA" * reply.audio_tokens}}


def _iter_call_deltas(call: EmittedToolCall, index: int) -> Iterator[JsonObject]:
    base: JsonObject = {"content": None, "role": "assistant"}
    first = {"index": index, "id": call.id, "type": "function"}
    yield {**base, "tool_calls": [first | {"function": {"name": call.name, "arguments": ""}}]}
    for part in split_arguments(call.arguments):
        yield {**base, "tool_calls": [{"index": index, "function": {"arguments": part}}]}
