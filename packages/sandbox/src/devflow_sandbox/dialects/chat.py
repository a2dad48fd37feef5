"""`/chat/completions`: the dialect of OpenAI as OpenRouter speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
from devflow_sandbox.replies.reply import Call, fragments, pieces

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 2),
    ("frequency_penalty", -2, 2),
    ("presence_penalty", -2, 2),
    ("top_p", 0, 1),
    ("top_logprobs", 0, 20),
)


def read(body: JsonObject) -> Ask:
    """A request body.

    Raises:
        Refusal: 400, naming the field.
    """
    reader = Reader(body)
    model = reader.text("model")
    models = (*((model,) if model else ()), *reader.texts("models"))
    if not models:
        raise invalid("No models provided")
    for name, low, high in _LIMITS:
        reader.number(name, low, high)
    declared = reader.objects("tools")
    tools = tuple(_tool(one) for one in declared if one.get("type", "function") == "function")
    form = reader.object("response_format")
    return Ask(
        dialect="chat",
        body=body,
        models=tuple(dict.fromkeys(models)),
        blocks=marked((*tool_blocks(declared), *_messages(reader)), ttl(body)),
        stream=reader.flag("stream"),
        tools=tools,
        server_tools=server_tools(declared),
        tool_choice=tool_choice(body.get("tool_choice"), tools),
        schema=_schema(form),
        wants_json=form.get("type") == "json_object",
        max_tokens=reader.count("max_completion_tokens") or reader.count("max_tokens"),
        reasoning=_reasoning(reader),
        provider=reader.object("provider"),
        session_id=reader.text("session_id"),
        user=reader.text("user"),
        plugins=plugins(reader),
        implicit_cache=reader.object("prompt_cache_options").get("mode") != "explicit",
    )


def _reasoning(reader: Reader) -> Reasoning | None:
    """`reasoning`, or the older `reasoning_effort` and `include_reasoning`."""
    given = reader.object("reasoning")
    effort = Reader(given, "reasoning.").text("effort") or reader.text("reasoning_effort")
    if not given and effort is None and not reader.flag("include_reasoning"):
        return None
    is_on = effort != "none" and given.get("enabled", True) is not False
    return Reasoning(is_on=is_on, is_hidden=bool(given.get("exclude")), effort=effort)


def _tool(declared: JsonObject) -> Tool:
    function = Reader(declared, "tools.").object("function")
    name = Reader(function, "tools.function.").text("name")
    if not name:
        raise invalid("Invalid input: tools.function.name: expected string, received null")
    return Tool(name=name, schema=Reader(function, "tools.function.").object("parameters"))


def _schema(form: JsonObject) -> JsonObject | None:
    if form.get("type") != "json_schema":
        return None
    schema = Reader(Reader(form, "response_format.").object("json_schema")).object("schema")
    if not schema:
        raise invalid("Invalid input: response_format.json_schema.schema: expected object")
    return schema


def _messages(reader: Reader) -> Iterator[Block]:
    messages = reader.objects("messages")
    if not messages:
        prompt = reader.text("prompt")
        if prompt is None:
            raise invalid("Input required: specify 'prompt' or 'messages'")
        yield Block("user", prompt)
        return
    for message in messages:
        role = Reader(message, "messages.").text("role")
        if role is None or role not in _ROLES:
            raise invalid(f"Invalid input: messages.role: '{role}' is not a role")
        blocks = list(content_blocks(role, message.get("content"), message))
        calls = Reader(message, "messages.").objects("tool_calls")
        blocks += [Block("call", orjson.dumps(call).decode()) for call in calls]
        yield from blocks or [Block(role, "")]


def _usage(done: Generation) -> JsonObject:
    tokens = done.tokens
    usage: JsonObject = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        **done.costs("prompt", "completions"),
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.written,
            "audio_tokens": 0,
            "video_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "image_tokens": 0,
            "audio_tokens": 0,
        },
    }
    if done.searches or done.ask.server_tools:
        usage["server_tool_use_details"] = _server_tools(done)
    return usage


def _server_tools(done: Generation) -> JsonObject:
    used: JsonObject = {"web_search_requests": done.searches} if done.searches else {}
    count = len(done.ask.server_tools)
    if count:
        used |= {"tool_calls_requested": count, "tool_calls_executed": count}
    return used


def reasoning_details(done: Generation) -> list[JsonObject]:
    """The reasoning as the provider's own blocks, with what vouches for them."""
    reply, form = done.reply, done.provider.reasoning_format
    if reply.reasoning is None:
        return []
    if form.endswith("responses-v1"):
        summary = {"type": "reasoning.summary", "summary": reply.reasoning, "format": form}
        sealed = {"type": "reasoning.encrypted", "data": reply.signature, "format": form}
        return [summary | {"index": 0}, sealed | {"id": f"rs_{done.id[-16:]}", "index": 1}]
    block: JsonObject = {
        "type": "reasoning.text",
        "text": reply.reasoning,
        "format": form,
        "index": 0,
    }
    return [block | {"signature": reply.signature} if reply.signature else block]


def _call(call: Call, index: int) -> JsonObject:
    return {
        "type": "function",
        "index": index,
        "id": call.id,
        "function": {"name": call.name, "arguments": call.arguments},
    }


def whole(done: Generation) -> bytes:
    """A reply that is not streamed."""
    reply = done.reply
    message: JsonObject = {
        "role": "assistant",
        "content": reply.text,
        "refusal": reply.refusal,
        "reasoning": reply.reasoning,
    }
    if reply.reasoning is not None:
        message["reasoning_details"] = reasoning_details(done)
    if reply.calls:
        message["tool_calls"] = [_call(call, index) for index, call in enumerate(reply.calls)]
    if reply.annotations:
        message["annotations"] = reply.annotations
    body: JsonObject = {
        "id": done.id,
        "object": "chat.completion",
        "created": done.created,
        "model": done.named.model.label,
        "provider": done.provider.name,
        "system_fingerprint": None,
        "service_tier": done.service_tier,
        "choices": [
            {
                "index": 0,
                "logprobs": None,
                "finish_reason": reply.finish,
                "native_finish_reason": done.native_finish,
                "message": message,
            }
        ],
        "usage": _usage(done),
    }
    if done.metadata is not None:
        body["openrouter_metadata"] = done.metadata
    return orjson.dumps(body)


class _Chunks:
    """Writes the events of one stream; what all share is written once."""

    def __init__(self, done: Generation) -> None:
        common = {
            "id": done.id,
            "object": "chat.completion.chunk",
            "created": done.created,
            "model": done.named.model.label,
            "provider": done.provider.name,
        }
        self._tier = done.service_tier
        self._common = orjson.dumps(common)[:-1]
        self.head = b"data: " + self._common + b',"choices":[{"index":0,"delta":'
        self.tail = b',"finish_reason":null,"native_finish_reason":null}]}\n\n'
        ends = {"finish_reason": done.reply.finish, "native_finish_reason": done.native_finish}
        self._end = b"," + orjson.dumps(ends)[1:-1] + b"}]"

    def delta(self, delta: object) -> bytes:
        """One event."""
        return self.head + orjson.dumps(delta) + self.tail

    def text(self, piece: bytes) -> bytes:
        """A piece of text: by far the most events, so without a detour."""
        return self.head + b'{"content":' + piece + b',"role":"assistant"}' + self.tail

    def finish(self, delta: JsonObject) -> bytes:
        """The event with the finish reason."""
        return self.head + orjson.dumps(delta) + self._end + b"}\n\n"

    def usage(self, usage: JsonObject, metadata: JsonObject | None) -> bytes:
        """The last event: the usage beside a choice that repeats the finish reason."""
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


def stream(done: Generation) -> list[bytes]:
    """A reply as server-sent events, without comments and without the closing `[DONE]`."""
    chunks, reply = _Chunks(done), done.reply
    events: list[bytes] = [chunks.delta(delta) for delta in _reasoning_deltas(done)]
    events += [chunks.text(piece) for piece in pieces(reply.text or "")]
    if reply.refusal is not None:
        refused = {"content": "", "role": "assistant", "refusal": reply.refusal}
        events.append(chunks.delta(refused))
    if reply.annotations:
        cited = {"content": "", "role": "assistant", "annotations": reply.annotations}
        events.insert(0, chunks.delta(cited))
    for index, call in enumerate(reply.calls):
        events += [chunks.delta(delta) for delta in _call_deltas(call, index)]
    last: JsonObject = {"content": "", "role": "assistant"}
    if reply.reasoning is not None and reply.calls:
        last["reasoning"] = None
    events.append(chunks.finish(last))
    events.append(chunks.usage(_usage(done), done.metadata))
    return events


def _reasoning_deltas(done: Generation) -> Iterator[JsonObject]:
    """Each piece twice, as text and as a detail of the same index; the signature comes alone."""
    reply, form = done.reply, done.provider.reasoning_format
    base: JsonObject = {"content": "", "role": "assistant"}
    details = reasoning_details(done)
    if not details:
        return
    kind, key = ("reasoning.text", "text")
    if details[0]["type"] == "reasoning.summary":
        kind, key = ("reasoning.summary", "summary")
    for piece in pieces(reply.reasoning or ""):
        text: Any = orjson.Fragment(piece)
        detail = {"type": kind, key: text, "format": form, "index": 0}
        yield {**base, "reasoning": text, "reasoning_details": [detail]}
    if len(details) > 1:
        yield {**base, "reasoning": None, "reasoning_details": details[1:]}
    elif reply.signature:
        sealed = {"type": kind, "signature": reply.signature, "format": form, "index": 0}
        yield {**base, "reasoning_details": [sealed]}


def _call_deltas(call: Call, index: int) -> Iterator[JsonObject]:
    base: JsonObject = {"content": None, "role": "assistant"}
    first = {"index": index, "id": call.id, "type": "function"}
    yield {**base, "tool_calls": [first | {"function": {"name": call.name, "arguments": ""}}]}
    for part in fragments(call.arguments):
        yield {**base, "tool_calls": [{"index": index, "function": {"arguments": part}}]}
