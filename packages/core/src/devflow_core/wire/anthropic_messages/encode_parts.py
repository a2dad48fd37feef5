"""Encodes parts as content blocks of Anthropic's messages dialect."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, cast

import orjson

from devflow_core.messages import Media, OpaquePart, Part, Reasoning, Text, ToolCall, ToolResult
from devflow_core.wire import json_strict as strict
from devflow_core.wire.anthropic_messages.name import WIRE
from devflow_core.wire.extra_fields import Omissions

_INVALID_ID_CHARS = re.compile(r"[^A-Za-z0-9_-]")


def encode_block(part: Part, omitted: Omissions) -> dict[str, Any] | None:
    """Return the block for a part; None if it is left out.

    What is left out is recorded in `omitted`, except for empty text.

    Raises:
        InvalidRequest: the part must not be left out, but this dialect cannot express it.
    """
    match part:
        case Text():
            return _encode_text(part) if part.text else None  # the API refuses empty text
        case ToolCall():
            return {
                "type": "tool_use",
                "id": clean_tool_id(part.id),
                "name": part.name,
                "input": _encode_input(part.arguments, omitted),
                **strict.cache_control(part.cache_ttl),
            }
        case ToolResult():
            return _encode_tool_result(part, omitted)
        case Media():
            return _encode_media(part)
        case Reasoning():
            return _encode_thinking(part, omitted)
        case _:
            return _encode_opaque(part, omitted)


def clean_tool_id(call_id: str) -> str:
    """Return the id of a call with `_` for each character refused by this API; `call` if empty."""
    return _INVALID_ID_CHARS.sub("_", call_id) or "call"


def _encode_opaque(part: OpaquePart, omitted: Omissions) -> dict[str, Any] | None:
    if part.wire == WIRE:
        return dict(part.body)
    omitted.add_part(part)
    return None


def _encode_input(arguments: str, omitted: Omissions) -> dict[str, Any]:
    try:
        parsed: Any = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        parsed = None
    if isinstance(parsed, dict):
        return cast("dict[str, Any]", parsed)
    omitted.add("the form of arguments that are not a JSON object")
    return {"arguments": arguments}


def _encode_tool_result(result: ToolResult, omitted: Omissions) -> dict[str, Any]:
    body: dict[str, Any] = {"type": "tool_result", "tool_use_id": clean_tool_id(result.call_id)}
    match result.parts:
        case ():
            pass
        case (Text(text=text, cache_ttl=None),):
            body["content"] = text
        case _:
            blocks = [encode_block(part, omitted) for part in result.parts]
            body["content"] = [block for block in blocks if block is not None]
    if result.is_error:
        body["is_error"] = True
    return {**body, **strict.cache_control(result.cache_ttl)}


def _encode_text(part: Text) -> dict[str, Any]:
    return {"type": "text", "text": part.text, **strict.cache_control(part.cache_ttl)}


def _encode_media(media: Media) -> dict[str, Any]:
    if media.kind not in {"image", "file"}:
        raise strict.invalid_value(
            "messages", f"{media.kind} cannot be sent by Anthropic's messages"
        )
    kind = "image" if media.kind == "image" else "document"
    title = {"title": media.name} if media.name and kind == "document" else {}
    return {
        "type": kind,
        "source": _encode_source(media),
        **title,
        **strict.cache_control(media.cache_ttl),
    }


def _encode_source(media: Media) -> dict[str, Any]:
    if media.url is not None:
        return {"type": "url", "url": media.url}
    media_type = media.media_type or "image/png"
    if media.kind == "file" and media_type.startswith("text/"):
        return {
            "type": "text",
            "media_type": "text/plain",
            "data": _decode_text(media.base64 or ""),
        }
    if media.kind == "file" and media_type != "application/pdf":
        raise strict.invalid_value(
            "messages", f"a file of type {media_type} cannot be sent; send text or PDF"
        )
    return {"type": "base64", "media_type": media_type, "data": media.base64 or ""}


def _decode_text(content: str) -> str:
    try:
        return base64.b64decode(content).decode(errors="replace")
    except binascii.Error:
        raise strict.invalid_value("messages", "a file's base64 is broken") from None


def _encode_thinking(part: Reasoning, omitted: Omissions) -> dict[str, Any] | None:
    if part.signature is not None:
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if part.encrypted is not None:
        return {"type": "redacted_thinking", "data": part.encrypted}
    omitted.add("thinking without a signature")
    return None
