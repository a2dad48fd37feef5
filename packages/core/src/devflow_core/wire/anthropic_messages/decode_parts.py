"""Decodes content blocks of Anthropic's messages dialect into parts."""

from __future__ import annotations

import base64

from devflow_core.messages import (
    JsonObject,
    Media,
    OpaquePart,
    Part,
    Reasoning,
    ResultPart,
    Text,
    ToolCall,
    ToolResult,
)
from devflow_core.wire import json_strict as strict
from devflow_core.wire.anthropic_messages.name import WIRE
from devflow_core.wire.reasoning import ANTHROPIC_FORMAT, unseal


def decode_content(owner: JsonObject, key: str, path: str) -> tuple[Part, ...]:
    """Return the parts of the content of a message, a tool result or the system prompt.

    Raises:
        InvalidRequest: the content is missing, or a block is wrong; the message names its path.
    """
    value = owner.get(key)
    where = f"{path}.{key}" if path else key
    if value is None:
        raise strict.invalid_value(where, "is required")
    if isinstance(value, str):
        return (Text(text=value),) if value else ()
    if not isinstance(value, list):
        raise strict.invalid_value(where, "must be a string or an array of blocks")
    return tuple(
        _decode_part(block, block_path) for block, block_path in strict.objects(owner, key, path)
    )


def _decode_part(block: JsonObject, path: str) -> Part:  # noqa: C901 - one case a kind of block
    ttl = strict.read_cache_ttl(block)
    match strict.required(block, "type", strict.text, path):
        case "text":
            return Text(text=strict.required(block, "text", strict.text, path), cache_ttl=ttl)
        case "tool_use":
            return ToolCall(
                id=strict.required(block, "id", strict.text, path),
                name=strict.required(block, "name", strict.text, path),
                arguments=strict.arguments(block, "input", path) or "{}",
                cache_ttl=ttl,
            )
        case "tool_result":
            return _decode_tool_result(block, path)
        case "image":
            return _decode_media(block, "image", path) or _make_opaque(block)
        case "document":
            return _decode_document(block, path)
        case "thinking":
            text = strict.optional(block, "thinking", strict.text, path) or ""
            return _decode_thinking(
                text, strict.optional(block, "signature", strict.text, path) or ""
            )
        case "redacted_thinking":
            return _decode_redacted(strict.required(block, "data", strict.text, path))
        case "tool_reference":
            # a tool that the client has loaded; other dialects have no such block
            name = strict.required(block, "tool_name", strict.text, path)
            text = f"The tool {name} is loaded and can be called now."
            return Text(text=text, cache_ttl=ttl)
        case _:
            return _make_opaque(block)


def _decode_thinking(text: str, signature: str) -> Reasoning:
    sealed = unseal(text, signature)
    if sealed is not None:
        return sealed
    return Reasoning(
        text=text,
        signature=signature or None,
        detail={"type": "reasoning.text", "format": ANTHROPIC_FORMAT},
    )


def _decode_redacted(data: str) -> Reasoning:
    return unseal("", data) or Reasoning(
        encrypted=data, detail={"type": "reasoning.encrypted", "format": ANTHROPIC_FORMAT}
    )


def _decode_tool_result(block: JsonObject, path: str) -> ToolResult:
    return ToolResult(
        call_id=strict.required(block, "tool_use_id", strict.text, path),
        parts=_decode_result_parts(block, path),
        is_error=strict.optional(block, "is_error", strict.boolean, path) or False,
        cache_ttl=strict.read_cache_ttl(block),
    )


def _decode_result_parts(block: JsonObject, path: str) -> tuple[ResultPart, ...]:
    content = block.get("content")
    if content is None:
        return ()
    parts = decode_content(block, "content", path)
    return tuple(
        part if isinstance(part, Text | Media | OpaquePart) else _make_opaque(content[index])
        for index, part in enumerate(parts)
    )


def _decode_document(block: JsonObject, path: str) -> Part:
    source = strict.required(block, "source", strict.json_object, path)
    name = strict.optional(block, "title", strict.text, path)
    ttl = strict.read_cache_ttl(block)
    if source.get("type") == "text":
        text = strict.required(source, "data", strict.text, f"{path}.source")
        return Media(
            kind="file",
            media_type="text/plain",
            base64=base64.b64encode(text.encode()).decode(),
            name=name,
            cache_ttl=ttl,
        )
    return _decode_media(block, "file", path, name) or _make_opaque(block)


def _decode_media(block: JsonObject, kind: str, path: str, name: str | None = None) -> Media | None:
    """Decode a block with a source; None if the source is a file that only the provider has."""
    source = strict.required(block, "source", strict.json_object, path)
    where = f"{path}.source"
    of_kind = "image" if kind == "image" else "file"
    match strict.required(source, "type", strict.text, where):
        case "base64":
            return Media(
                kind=of_kind,
                media_type=strict.required(source, "media_type", strict.text, where),
                base64=strict.required(source, "data", strict.text, where),
                name=name,
                cache_ttl=strict.read_cache_ttl(block),
            )
        case "url":
            return Media(
                kind=of_kind,
                url=strict.required(source, "url", strict.text, where),
                name=name,
                cache_ttl=strict.read_cache_ttl(block),
            )
        case _:
            return None


def _make_opaque(block: JsonObject) -> OpaquePart:
    return OpaquePart(wire=WIRE, body=block)
