"""A request of chat completions into the hub's words."""

from __future__ import annotations

from collections.abc import Mapping

from devflow_core.messages import (
    JsonObject,
    Media,
    Message,
    OpaquePart,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from devflow_core.request import (
    ChatRequest,
    Origin,
    ReasoningOptions,
    ResponseFormat,
    Tool,
    ToolChoice,
)
from devflow_core.wire import json_strict as fields
from devflow_core.wire.data_url import media_from_url

_KNOWN_FIELDS = (
    "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "seed", "stop", "response_format",
    "reasoning", "reasoning_effort", "stream", "n",
)  # fmt: skip
_MESSAGE_FIELDS = (
    "role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "reasoning_content",
    "reasoning_details",
)  # fmt: skip
_HEADERS = ("x-anthropic-beta",)


def decode_request(body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
    """See `Translator.decode_request`."""
    if fields.optional(body, "n", fields.integer) not in {None, 1}:
        raise fields.invalid_value("n", "only one reply a request is supported")
    limit = fields.optional(body, "max_completion_tokens", fields.token_count)
    tool_choice, response_format = _decode_tool_choice(body), _decode_response_format(body)
    extra = dict(fields.omit_keys(body, _KNOWN_FIELDS))
    if tool_choice is None and isinstance(body.get("tool_choice"), dict):
        extra["tool_choice"] = body["tool_choice"]
    if response_format is None and body.get("response_format"):
        extra["response_format"] = body["response_format"]
    return ChatRequest(
        model=fields.optional(body, "model", fields.name) or "auto",
        messages=_decode_messages(body),
        tools=tuple(_decode_tool(tool, path) for tool, path in fields.objects(body, "tools")),
        tool_choice=tool_choice,
        parallel_tool_calls=fields.optional(body, "parallel_tool_calls", fields.boolean),
        max_output_tokens=limit or fields.optional(body, "max_tokens", fields.token_count),
        temperature=fields.optional(body, "temperature", fields.number),
        top_p=fields.optional(body, "top_p", fields.number),
        seed=fields.optional(body, "seed", fields.integer),
        stop=_decode_stop(body),
        response_format=response_format,
        reasoning=_decode_reasoning_options(body),
        is_stream=fields.optional(body, "stream", fields.boolean) or False,
        extra=extra,
        origin=Origin(
            wire="openai_chat",
            body=body,
            headers=tuple((key, headers[key]) for key in _HEADERS if key in headers),
        ),
    )


def _decode_messages(body: JsonObject) -> tuple[Message, ...]:
    found: list[Message] = []
    results: list[ToolResult] = []
    fields.required(body, "messages", fields.array)
    for message, path in fields.objects(body, "messages"):
        if message.get("role") == "tool":
            results.append(_decode_tool_result(message, path))
            continue
        _flush(results, found)
        found.append(_decode_message(message, path))
    _flush(results, found)
    if not found:
        raise fields.invalid_value("messages", "must hold at least one message")
    return tuple(found)


def _flush(results: list[ToolResult], into: list[Message]) -> None:
    """The results of parallel calls are one message of the hub."""
    if results:
        into.append(Message(role="user", parts=tuple(results)))
        results.clear()


def _decode_message(message: JsonObject, path: str) -> Message:
    role = fields.required(message, "role", fields.text, path)
    extra = fields.omit_keys(message, _MESSAGE_FIELDS)
    match role:
        case "system" | "developer":
            parts, hub_role = _decode_content(message, path), "system"
            if role == "developer":
                extra = {"role": role, **extra}
        case "user":
            parts, hub_role = _decode_content(message, path), "user"
        case "assistant":
            parts = (
                *_decode_reasoning(message, path),
                *_decode_content(message, path),
                *_decode_calls(message, path),
            )
            hub_role = "assistant"
        case _:
            raise fields.invalid_value(
                f"{path}.role", "must be system, developer, user, assistant or tool"
            )
    return Message(
        role=hub_role,
        parts=parts,
        name=fields.optional(message, "name", fields.text, path),
        extra=extra,
    )


def _decode_tool_result(message: JsonObject, path: str) -> ToolResult:
    parts = _decode_content(message, path)
    plain = tuple(part for part in parts if isinstance(part, Text | Media))
    if len(plain) != len(parts):
        raise fields.invalid_value(f"{path}.content", "a tool's result holds text and media only")
    return ToolResult(
        call_id=fields.required(message, "tool_call_id", fields.text, path),
        parts=plain,
        cache_ttl=fields.read_cache_ttl(message),
    )


def _decode_content(message: JsonObject, path: str) -> tuple[Part, ...]:
    content = message.get("content")
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),) if content else ()
    if not isinstance(content, list):
        raise fields.invalid_value(f"{path}.content", "must be a string or an array of parts")
    return tuple(
        _decode_part(part, where) for part, where in fields.objects(message, "content", path)
    )


def _decode_part(part: JsonObject, path: str) -> Part:
    kind = fields.required(part, "type", fields.text, path)
    ttl = fields.read_cache_ttl(part)
    match kind:
        case "text":
            return Text(text=fields.required(part, "text", fields.text, path), cache_ttl=ttl)
        case "image_url":
            image = fields.required(part, "image_url", fields.json_object, path)
            where = f"{path}.image_url"
            url = fields.required(image, "url", fields.text, where)
            detail = fields.optional(image, "detail", fields.text, where)
            return media_from_url("image", url, detail=detail, cache_ttl=ttl)
        case "video_url":
            video = fields.required(part, "video_url", fields.json_object, path)
            url = fields.required(video, "url", fields.text, f"{path}.video_url")
            return media_from_url("video", url, cache_ttl=ttl)
        case "input_audio":
            audio = fields.required(part, "input_audio", fields.json_object, path)
            form = fields.optional(audio, "format", fields.text, f"{path}.input_audio")
            return Media(
                kind="audio",
                media_type=f"audio/{form or 'wav'}",
                base64=fields.required(audio, "data", fields.text, f"{path}.input_audio"),
                cache_ttl=ttl,
            )
        case "file":
            return _decode_file(part, path)
        case _:
            return OpaquePart(wire="openai_chat", body=part)


def _decode_file(part: JsonObject, path: str) -> Part:
    file = fields.required(part, "file", fields.json_object, path)
    where = f"{path}.file"
    content = fields.optional(file, "file_data", fields.text, where)
    if content is None:
        return OpaquePart(wire="openai_chat", body=part)  # a file that only the provider has
    name = fields.optional(file, "filename", fields.text, where)
    return media_from_url("file", content, name=name, cache_ttl=fields.read_cache_ttl(part))


def _decode_reasoning(message: JsonObject, path: str) -> tuple[Reasoning, ...]:
    details = fields.objects(message, "reasoning_details", path)
    if details:
        return tuple(
            Reasoning(
                text=fields.optional(detail, "text", fields.text, where)
                or fields.optional(detail, "summary", fields.text, where)
                or "",
                signature=fields.optional(detail, "signature", fields.text, where),
                encrypted=fields.optional(detail, "data", fields.text, where),
                detail=fields.omit_keys(detail, ("text", "summary", "signature", "data")),
            )
            for detail, where in details
        )
    text = fields.optional(message, "reasoning", fields.text, path)
    text = text or fields.optional(message, "reasoning_content", fields.text, path)
    return (Reasoning(text=text),) if text else ()


def _decode_calls(message: JsonObject, path: str) -> tuple[Part, ...]:
    return tuple(
        _decode_call(call, where) for call, where in fields.objects(message, "tool_calls", path)
    )


def _decode_call(call: JsonObject, path: str) -> Part:
    if call.get("type", "function") != "function":
        return OpaquePart(wire="openai_chat", body=call)
    function = fields.required(call, "function", fields.json_object, path)
    return ToolCall(
        id=fields.required(call, "id", fields.text, path),
        name=fields.required(function, "name", fields.text, f"{path}.function"),
        arguments=fields.optional(function, "arguments", fields.text, f"{path}.function") or "",
    )


def _decode_tool(tool: JsonObject, path: str) -> Tool:
    kind = fields.required(tool, "type", fields.text, path)
    if kind != "function":
        return Tool(name=kind, native=tool)
    function = fields.required(tool, "function", fields.json_object, path)
    where = f"{path}.function"
    return Tool(
        name=fields.required(function, "name", fields.name, where),
        description=fields.optional(function, "description", fields.text, where) or "",
        schema=fields.optional(function, "parameters", fields.json_object, where) or {},
        strict=fields.optional(function, "strict", fields.boolean, where),
        cache_ttl=fields.read_cache_ttl(tool),
    )


def _decode_tool_choice(body: JsonObject) -> ToolChoice | None:
    choice = body.get("tool_choice")
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(mode=choice)
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice(mode="tool", name=name)
        case {"type": str()}:
            return None  # a server tool, or `allowed_tools`: kept in `extra`
        case _:
            raise fields.invalid_value(
                "tool_choice", "must be auto, none, required or name a function"
            )


def _decode_response_format(body: JsonObject) -> ResponseFormat | None:
    wanted = fields.optional(body, "response_format", fields.json_object)
    if wanted is None:
        return None
    if wanted.get("type") == "json_object":
        return ResponseFormat(kind="json_object")
    if wanted.get("type") != "json_schema":
        return None
    path = "response_format.json_schema"
    schema = fields.required(wanted, "json_schema", fields.json_object, "response_format")
    return ResponseFormat(
        kind="json_schema",
        schema=fields.optional(schema, "schema", fields.json_object, path) or {},
        name=fields.optional(schema, "name", fields.text, path) or "reply",
        strict=fields.optional(schema, "strict", fields.boolean, path),
    )


def _decode_reasoning_options(body: JsonObject) -> ReasoningOptions | None:
    wanted = fields.optional(body, "reasoning", fields.json_object) or {}
    effort = fields.optional(wanted, "effort", fields.text, "reasoning")
    effort = effort or fields.optional(body, "reasoning_effort", fields.text)
    if not wanted and effort is None:
        return None
    return ReasoningOptions(
        effort=effort,
        max_tokens=fields.optional(wanted, "max_tokens", fields.integer, "reasoning"),
        enabled=fields.optional(wanted, "enabled", fields.boolean, "reasoning"),
        exclude=fields.optional(wanted, "exclude", fields.boolean, "reasoning"),
    )


def _decode_stop(body: JsonObject) -> tuple[str, ...]:
    stop = body.get("stop")
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    return tuple(
        fields.text(one, f"stop.{index}") for index, one in enumerate(fields.array(stop, "stop"))
    )
