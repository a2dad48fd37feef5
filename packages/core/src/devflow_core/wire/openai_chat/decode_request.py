"""Decodes a request in the chat completions dialect into the hub's request."""

from __future__ import annotations

from collections.abc import Mapping

from devflow_core.messages import (
    JsonObject,
    Media,
    Message,
    OpaquePart,
    Part,
    Reasoning,
    ResultPart,
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
from devflow_core.wire import json_strict as strict
from devflow_core.wire.data_url import media_from_url
from devflow_core.wire.openai_chat.name import WIRE

_KNOWN_FIELDS = (
    "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "seed", "stop", "response_format",
    "reasoning", "reasoning_effort", "stream", "n",
)  # fmt: skip
_MESSAGE_FIELDS = (
    "role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "reasoning_content",
    "reasoning_details", "function_call",
)  # fmt: skip
_HEADERS = ("x-anthropic-beta",)


def decode_request(body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
    """Decode a client's body, with the headers of this dialect; the body is kept in `origin`.

    Raises:
        InvalidRequest: a value is wrong, or more than one reply is asked for.
    """
    if strict.optional(body, "n", strict.integer) not in {None, 1}:
        raise strict.invalid_value("n", "only one reply per request is supported")
    limit = strict.optional(body, "max_completion_tokens", strict.token_count)
    tool_choice, response_format = _decode_tool_choice(body), _decode_response_format(body)
    extra = dict(strict.omit_keys(body, _KNOWN_FIELDS))
    if tool_choice is None and isinstance(body.get("tool_choice"), dict):
        extra["tool_choice"] = body["tool_choice"]
    if response_format is None and body.get("response_format"):
        extra["response_format"] = body["response_format"]
    return ChatRequest(
        model=strict.requested_model(body),
        messages=_decode_messages(body),
        tools=tuple(_decode_tool(tool, path) for tool, path in strict.objects(body, "tools")),
        tool_choice=tool_choice,
        parallel_tool_calls=strict.optional(body, "parallel_tool_calls", strict.boolean),
        max_output_tokens=limit or strict.optional(body, "max_tokens", strict.token_count),
        temperature=strict.optional(body, "temperature", strict.number),
        top_p=strict.optional(body, "top_p", strict.number),
        seed=strict.optional(body, "seed", strict.integer),
        stop=_decode_stop(body),
        response_format=response_format,
        reasoning=_decode_reasoning_options(body),
        is_stream=strict.optional(body, "stream", strict.boolean) or False,
        extra=extra,
        origin=Origin(
            wire=WIRE,
            body=body,
            headers=tuple((key, headers[key]) for key in _HEADERS if key in headers),
        ),
    )


def _decode_messages(body: JsonObject) -> tuple[Message, ...]:
    decoded: list[Message] = []
    results: list[ToolResult] = []
    function_id = "call"
    strict.required(body, "messages", strict.array)
    for message, path in strict.objects(body, "messages"):
        if message.get("role") == "tool":
            results.append(_decode_tool_result(message, path))
            continue
        if message.get("role") == "function":
            results.append(
                ToolResult(call_id=function_id, parts=_decode_result_parts(message, path))
            )
            continue
        function_id = _function_call_id(path) if message.get("function_call") else function_id
        _flush(results, decoded)
        decoded.append(_decode_message(message, path))
    _flush(results, decoded)
    if not decoded:
        raise strict.invalid_value("messages", "must hold at least one message")
    return tuple(decoded)


def _flush(results: list[ToolResult], into: list[Message]) -> None:
    """Append the results of parallel calls as one message, as the hub represents them."""
    if results:
        into.append(Message(role="user", parts=tuple(results)))
        results.clear()


def _decode_message(message: JsonObject, path: str) -> Message:
    role = strict.required(message, "role", strict.text, path)
    extra = strict.omit_keys(message, _MESSAGE_FIELDS)
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
        case _:  # the provider may know it
            parts, hub_role = _decode_content(message, path), "user"
            extra = {"role": role, **extra}
    return Message(
        role=hub_role,
        parts=parts,
        name=strict.optional(message, "name", strict.text, path),
        extra=extra,
    )


def _decode_tool_result(message: JsonObject, path: str) -> ToolResult:
    return ToolResult(
        call_id=strict.required(message, "tool_call_id", strict.text, path),
        parts=_decode_result_parts(message, path),
        cache_ttl=strict.read_cache_ttl(message),
    )


def _decode_result_parts(message: JsonObject, path: str) -> tuple[ResultPart, ...]:
    return _decode_content(message, path)


def _decode_content(message: JsonObject, path: str) -> tuple[ResultPart, ...]:
    content = message.get("content")
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),) if content else ()
    if not isinstance(content, list):
        raise strict.invalid_value(f"{path}.content", "must be a string or an array of parts")
    return tuple(
        _decode_part(part, where) for part, where in strict.objects(message, "content", path)
    )


def _decode_part(part: JsonObject, path: str) -> ResultPart:
    kind = strict.required(part, "type", strict.text, path)
    ttl = strict.read_cache_ttl(part)
    match kind:
        case "text":
            return Text(text=strict.required(part, "text", strict.text, path), cache_ttl=ttl)
        case "image_url":
            image = _decode_link(part, "image_url", path)
            where = f"{path}.image_url"
            url = strict.required(image, "url", strict.text, where)
            detail = strict.optional(image, "detail", strict.text, where)
            return media_from_url("image", url, detail=detail, cache_ttl=ttl)
        case "video_url":
            video = _decode_link(part, "video_url", path)
            url = strict.required(video, "url", strict.text, f"{path}.video_url")
            return media_from_url("video", url, cache_ttl=ttl)
        case "input_audio" if isinstance(part.get("input_audio"), dict):
            audio = strict.required(part, "input_audio", strict.json_object, path)
            form = strict.optional(audio, "format", strict.text, f"{path}.input_audio")
            return Media(
                kind="audio",
                media_type=f"audio/{form or 'wav'}",
                base64=strict.required(audio, "data", strict.text, f"{path}.input_audio"),
                cache_ttl=ttl,
            )
        case "file" if isinstance(part.get("file"), dict):
            return _decode_file(part, path)
        case _:
            return OpaquePart(wire=WIRE, body=part)


def _decode_link(part: JsonObject, key: str, path: str) -> JsonObject:
    """Return the object with the URL; some clients send only the URL."""
    url = part.get(key)
    return (
        {"url": url}
        if isinstance(url, str)
        else strict.required(part, key, strict.json_object, path)
    )


def _decode_file(part: JsonObject, path: str) -> ResultPart:
    file = strict.required(part, "file", strict.json_object, path)
    where = f"{path}.file"
    content = strict.optional(file, "file_data", strict.text, where)
    if content is None:
        return OpaquePart(wire=WIRE, body=part)  # a file that only the provider has
    name = strict.optional(file, "filename", strict.text, where)
    return media_from_url("file", content, name=name, cache_ttl=strict.read_cache_ttl(part))


def _decode_reasoning(message: JsonObject, path: str) -> tuple[Reasoning, ...]:
    details = strict.objects(message, "reasoning_details", path)
    if details:
        return tuple(
            Reasoning(
                text=strict.optional(detail, "text", strict.text, where)
                or strict.optional(detail, "summary", strict.text, where)
                or "",
                signature=strict.optional(detail, "signature", strict.text, where),
                encrypted=strict.optional(detail, "data", strict.text, where),
                detail=strict.omit_keys(detail, ("text", "summary", "signature", "data")),
            )
            for detail, where in details
        )
    text = strict.optional(message, "reasoning", strict.text, path)
    text = text or strict.optional(message, "reasoning_content", strict.text, path)
    return (Reasoning(text=text),) if text else ()


def _decode_calls(message: JsonObject, path: str) -> tuple[Part, ...]:
    calls = [_decode_call(one, where) for one, where in strict.objects(message, "tool_calls", path)]
    # `function_call` is the older form of a call
    if function := strict.optional(message, "function_call", strict.json_object, path):
        call = {"id": _function_call_id(path), "function": function}
        calls.append(_decode_call(call, f"{path}.function_call"))
    return tuple(calls)


def _function_call_id(path: str) -> str:
    """Return an id for a call that has none, made from its position."""
    return f"call_{path.rpartition('.')[2]}"


def _decode_call(call: JsonObject, path: str) -> Part:
    if call.get("type", "function") != "function":
        return OpaquePart(wire=WIRE, body=call)
    function = strict.required(call, "function", strict.json_object, path)
    return ToolCall(
        id=strict.required(call, "id", strict.text, path),
        name=strict.required(function, "name", strict.text, f"{path}.function"),
        arguments=strict.arguments(function, "arguments", f"{path}.function"),
    )


def _decode_tool(tool: JsonObject, path: str) -> Tool:
    kind = strict.required(tool, "type", strict.text, path)
    if kind != "function":
        return Tool(name=kind, native=tool)
    function = strict.required(tool, "function", strict.json_object, path)
    where = f"{path}.function"
    return Tool(
        name=strict.required(function, "name", strict.name, where),
        description=strict.optional(function, "description", strict.text, where) or "",
        schema=strict.optional(function, "parameters", strict.json_object, where) or {},
        strict=strict.optional(function, "strict", strict.boolean, where),
        cache_ttl=strict.read_cache_ttl(tool),
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
            raise strict.invalid_value(
                "tool_choice", "must be auto, none, required or name a function"
            )


def _decode_response_format(body: JsonObject) -> ResponseFormat | None:
    wanted = strict.optional(body, "response_format", strict.json_object)
    if wanted is None:
        return None
    if wanted.get("type") == "json_object":
        return ResponseFormat(kind="json_object")
    if wanted.get("type") != "json_schema":
        return None
    path = "response_format.json_schema"
    schema = strict.required(wanted, "json_schema", strict.json_object, "response_format")
    return ResponseFormat(
        kind="json_schema",
        schema=strict.optional(schema, "schema", strict.json_object, path) or {},
        name=strict.optional(schema, "name", strict.text, path) or "reply",
        strict=strict.optional(schema, "strict", strict.boolean, path),
    )


def _decode_reasoning_options(body: JsonObject) -> ReasoningOptions | None:
    wanted = strict.optional(body, "reasoning", strict.json_object) or {}
    effort = strict.optional(wanted, "effort", strict.text, "reasoning")
    effort = effort or strict.optional(body, "reasoning_effort", strict.text)
    if not wanted and effort is None:
        return None
    return ReasoningOptions(
        effort=effort,
        max_tokens=strict.optional(wanted, "max_tokens", strict.integer, "reasoning"),
        enabled=strict.optional(wanted, "enabled", strict.boolean, "reasoning"),
        exclude=strict.optional(wanted, "exclude", strict.boolean, "reasoning"),
    )


def _decode_stop(body: JsonObject) -> tuple[str, ...]:
    stop = body.get("stop")
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    return tuple(
        strict.text(one, f"stop.{index}") for index, one in enumerate(strict.array(stop, "stop"))
    )
