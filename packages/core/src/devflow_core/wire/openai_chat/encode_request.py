"""Encodes the hub's request as a body of the chat completions dialect."""

from __future__ import annotations

from typing import Any

from devflow_core.messages import (
    CacheTtl,
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
from devflow_core.request import ChatRequest, ReasoningOptions, ResponseFormat, Tool, ToolChoice
from devflow_core.wire import json_strict as strict
from devflow_core.wire.body import dump
from devflow_core.wire.cache_markers import add_lost_markers
from devflow_core.wire.data_url import url_of
from devflow_core.wire.extra_fields import (
    Omissions,
    encode_tools,
    filter_extra,
    is_native,
    original_body,
)
from devflow_core.wire.openai_chat.name import WIRE
from devflow_core.wire.protocol import EncodedRequest
from devflow_core.wire.reasoning import FOREIGN_REASONING, detail_of, is_foreign, strip_foreign

_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}
_MESSAGE_FIELDS = frozenset({"refusal", "annotations", "audio", "cache_control", "role"})


def encode_request(
    request: ChatRequest, model: str, overrides: JsonObject | None = None
) -> EncodedRequest:
    """Return the body for an upstream, which always asks for a stream, and what was left out.

    `overrides` are fields that take the place of the body's own.

    Raises:
        InvalidRequest: the request holds something that this dialect cannot express and that must
            not be left out.
    """
    omitted = Omissions()
    body = original_body(request, WIRE)
    if body is not None:
        messages = _filter_messages(body, model, omitted)
        body = {**body, "messages": messages}
    else:
        body = _translate(request, model, omitted)
    body = {**body, "model": model, "stream": True, **(overrides or {})}
    return EncodedRequest(dump(body), omitted.as_tuple())


def _filter_messages(body: JsonObject, model: str, omitted: Omissions) -> list[Any]:
    """Return the messages as received, without reasoning that another vendor has signed."""
    return [_strip_foreign(message, model, omitted) for message in body["messages"]]


def _strip_foreign(message: JsonObject, model: str, omitted: Omissions) -> JsonObject:
    details = message.get("reasoning_details")
    if not details:
        return message
    own_details = [
        detail
        for detail in details
        if _is_unsigned(detail) or not is_foreign(Reasoning(detail=detail), model)
    ]
    if len(own_details) == len(details):
        return message
    omitted.add(FOREIGN_REASONING)
    return {
        **strict.omit_keys(message, ("reasoning_details",)),
        **({"reasoning_details": own_details} if own_details else {}),
    }


def _is_unsigned(detail: JsonObject) -> bool:
    """Return whether a detail is neither signed nor encrypted, so that any model may read it."""
    return not detail.get("signature") and not detail.get("data")


def _translate(request: ChatRequest, model: str, omitted: Omissions) -> dict[str, Any]:
    messages, has_foreign = strip_foreign(request.messages, model)
    if has_foreign:
        omitted.add(FOREIGN_REASONING)
    native = is_native(request, WIRE)
    writer = _MessageWriter(omitted, is_native=native)
    for message in messages:
        writer.add(message)
    if not writer.messages and omitted.has_parts:
        raise strict.nothing_left()
    tools = encode_tools(request, WIRE, _encode_tool, omitted)
    extra = filter_extra(request, WIRE, omitted)
    body = extra | strict.drop_none(
        messages=writer.messages,
        tools=tools or None,
        tool_choice=_encode_tool_choice(request.tool_choice) if tools else None,
        parallel_tool_calls=request.parallel_tool_calls if tools else None,
        max_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        stop=list(request.stop) or None,
        response_format=_encode_response_format(request.response_format),
        reasoning=_encode_reasoning_options(request.reasoning),
    )
    add_lost_markers(request, body, omitted)
    return body


class _MessageWriter:
    """Turns each message of the hub into one message, or into several if it holds tool results."""

    def __init__(self, omitted: Omissions, *, is_native: bool) -> None:
        self.messages: list[dict[str, Any]] = []
        self._omitted = omitted
        self._is_native = is_native

    def add(self, message: Message) -> None:
        extra = self._select_extra(message)
        if message.role == "assistant":
            self._add_assistant(message, extra)
            return
        content_parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                content_parts.extend(self._add_result(part))
            else:
                content_parts.append(part)
        content = self._encode_content(content_parts)
        if content or (message.role == "user" and not message.parts):
            self._append(message, {"role": message.role, "content": content or "", **extra})

    def _add_assistant(self, message: Message, extra: JsonObject) -> None:
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        thinking = [part for part in message.parts if isinstance(part, Reasoning)]
        content_parts = [
            part for part in message.parts if not isinstance(part, ToolCall | Reasoning)
        ]
        marked: list[CacheTtl] = [one.cache_ttl for one in calls if one.cache_ttl is not None]
        if marked:
            _mark_last_text(content_parts, marked[0])
        body: dict[str, Any] = {
            "role": "assistant",
            "content": self._encode_content(content_parts) or None,
        }
        if calls:
            body["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments or "{}"},
                }
                for call in calls
            ]
        elif body["content"] is None:
            body["content"] = ""
        body.update(_encode_thinking(thinking))
        self._append(message, {**body, **extra})

    def _append(self, message: Message, body: dict[str, Any]) -> None:
        if message.name is not None:
            body["name"] = message.name
        self.messages.append(body)

    def _select_extra(self, message: Message) -> dict[str, Any]:
        """Return the fields of a message that only this dialect has."""
        known: dict[str, Any] = {}
        for key, value in message.extra.items():
            if key == "role" and value != "developer" and not self._is_native:
                self._omitted.add(f"role {value} of a message")
            elif key in _MESSAGE_FIELDS:
                known[key] = value
            else:
                self._omitted.add(f"{key} of a message")
        return known

    def _add_result(self, result: ToolResult) -> list[Part]:
        """Write the text as a tool's message; return the media, for a user message after it."""
        media: list[Part] = [part for part in result.parts if isinstance(part, Media)]
        texts = [part for part in result.parts if not isinstance(part, Media)]
        if result.cache_ttl is not None:
            _mark_last_text(texts, result.cache_ttl)
        content = self._encode_content(texts)
        if media and not content:
            content = "The result is shown in the next message."
        self.messages.append(
            {"role": "tool", "tool_call_id": result.call_id, "content": content or ""}
        )
        if result.is_error:
            self._omitted.add("is_error of a tool's result")
        return media

    def _encode_content(self, parts: list[Any]) -> str | list[dict[str, Any]]:
        """Return a string for a single plain text, otherwise an array of parts."""
        match parts:
            case []:
                return ""
            case [Text(text=text, cache_ttl=None)]:
                return text
            case _:
                encoded = [self._encode_part(part) for part in parts]
                return [part for part in encoded if part is not None]

    def _encode_part(self, part: Part) -> dict[str, Any] | None:
        match part:
            case Text():
                return {"type": "text", "text": part.text, **strict.cache_control(part.cache_ttl)}
            case Media():
                return _encode_media(part)
            case OpaquePart() if part.wire == WIRE:
                return dict(part.body)
            case OpaquePart():
                self._omitted.add_part(part)
                return None
            case _:
                raise strict.invalid_value(
                    "messages", f"a {type(part).__name__} in this place cannot be sent"
                )


def _mark_last_text(parts: list[Any], ttl: CacheTtl) -> None:
    """Move the marker of a call or result to the last text beside it: only texts carry one here.

    A text with a marker of its own keeps it.
    """
    at = next((at for at, one in reversed(list(enumerate(parts))) if isinstance(one, Text)), None)
    if at is not None and parts[at].text and parts[at].cache_ttl is None:
        parts[at] = Text(text=parts[at].text, cache_ttl=ttl)


def _encode_media(media: Media) -> dict[str, Any]:
    marker = strict.cache_control(media.cache_ttl)
    url = url_of(media)
    match media.kind:
        case "image":
            image = strict.drop_none(url=url, detail=media.detail)
            return {"type": "image_url", "image_url": image, **marker}
        case "video":
            return {"type": "video_url", "video_url": {"url": url}, **marker}
        case "file":
            file = {"filename": media.name or "file", "file_data": url}
            return {"type": "file", "file": file, **marker}
        case _:
            if media.base64 is None:
                raise strict.invalid_value(
                    "messages", "sound has to be sent as base64, not as a URL"
                )
            subtype = (media.media_type or "audio/wav").partition("/")[2]
            audio = {"data": media.base64, "format": _AUDIO_FORMATS.get(subtype, subtype)}
            return {"type": "input_audio", "input_audio": audio, **marker}


def _encode_thinking(thinking: list[Reasoning]) -> dict[str, Any]:
    if not thinking:
        return {}
    plain = "".join(one.text for one in thinking if one.signature is None and not one.encrypted)
    details = [detail_of(one) for one in thinking if one.signature or one.encrypted or one.detail]
    if details:
        return {"reasoning_details": details}
    return {"reasoning": plain} if plain else {}


def _encode_tool(tool: Tool) -> JsonObject:
    function = strict.drop_none(
        name=tool.name,
        description=tool.description or None,
        parameters=tool.schema or {"type": "object", "properties": {}},
        strict=tool.strict,
    )
    return {"type": "function", "function": function, **strict.cache_control(tool.cache_ttl)}


def _encode_tool_choice(choice: ToolChoice | None) -> object:
    if choice is None or choice.mode != "tool":
        return choice and choice.mode
    return {"type": "function", "function": {"name": choice.name}}


def _encode_response_format(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.kind == "json_object":
        return {"type": "json_object"}
    schema = strict.drop_none(name=wanted.name, schema=wanted.schema, strict=wanted.strict)
    return {"type": "json_schema", "json_schema": schema}


def _encode_reasoning_options(wanted: ReasoningOptions | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    options = strict.drop_none(
        # the provider accepts only one of the two; a budget is more precise
        effort=wanted.effort if wanted.max_tokens is None else None,
        max_tokens=wanted.max_tokens,
        enabled=wanted.enabled,
        exclude=wanted.exclude,
    )
    return options or None
