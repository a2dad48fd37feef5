"""Content blocks of Anthropic messages into parts."""

from __future__ import annotations

import base64

from devflow_core.messages import (
    JsonObject,
    Media,
    OpaquePart,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from devflow_core.wire import json_strict as fields
from devflow_core.wire.body import dump
from devflow_core.wire.reasoning import ANTHROPIC_FORMAT, unseal


def decode_content(owner: JsonObject, key: str, path: str) -> tuple[Part, ...]:
    """The parts of a message's, a result's or the system prompt's content."""
    value = owner.get(key)
    where = f"{path}.{key}" if path else key
    if value is None:
        raise fields.invalid_value(where, "is required")
    if isinstance(value, str):
        return (Text(text=value),) if value else ()
    if not isinstance(value, list):
        raise fields.invalid_value(where, "must be a string or an array of blocks")
    return tuple(_decode_part(block, at) for block, at in fields.objects(owner, key, path))


def _decode_part(block: JsonObject, path: str) -> Part:  # noqa: C901 - one case a kind of block
    ttl = fields.read_cache_ttl(block)
    match fields.required(block, "type", fields.text, path):
        case "text":
            return Text(text=fields.required(block, "text", fields.text, path), cache_ttl=ttl)
        case "tool_use":
            return ToolCall(
                id=fields.required(block, "id", fields.text, path),
                name=fields.required(block, "name", fields.text, path),
                arguments=dump(fields.required(block, "input", fields.json_object, path)).decode(),
                cache_ttl=ttl,
            )
        case "tool_result":
            return _decode_tool_result(block, path)
        case "image":
            return _decode_media(block, "image", path) or _make_opaque(block)
        case "document":
            return _decode_document(block, path)
        case "thinking":
            text = fields.optional(block, "thinking", fields.text, path) or ""
            return _decode_thinking(
                text, fields.optional(block, "signature", fields.text, path) or ""
            )
        case "redacted_thinking":
            return _decode_redacted(fields.required(block, "data", fields.text, path))
        case "tool_reference":
            # a tool that the client has loaded; other wires know no such block
            name = fields.required(block, "tool_name", fields.text, path)
            return Text(text=f"The tool {name} is loaded and can be called now.")
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
    parts = () if block.get("content") is None else decode_content(block, "content", path)
    plain = tuple(part for part in parts if isinstance(part, Text | Media))
    if len(plain) != len(parts):
        raise fields.invalid_value(f"{path}.content", "a tool's result holds text and media only")
    return ToolResult(
        call_id=fields.required(block, "tool_use_id", fields.text, path),
        parts=plain,
        is_error=fields.optional(block, "is_error", fields.boolean, path) or False,
        cache_ttl=fields.read_cache_ttl(block),
    )


def _decode_document(block: JsonObject, path: str) -> Part:
    source = fields.required(block, "source", fields.json_object, path)
    name = fields.optional(block, "title", fields.text, path)
    ttl = fields.read_cache_ttl(block)
    if source.get("type") == "text":
        text = fields.required(source, "data", fields.text, f"{path}.source")
        return Media(
            kind="file",
            media_type="text/plain",
            base64=base64.b64encode(text.encode()).decode(),
            name=name,
            cache_ttl=ttl,
        )
    return _decode_media(block, "file", path, name) or _make_opaque(block)


def _decode_media(block: JsonObject, kind: str, path: str, name: str | None = None) -> Media | None:
    """A block with a source; None where the source is a file that only the provider has."""
    source = fields.required(block, "source", fields.json_object, path)
    where = f"{path}.source"
    of_kind = "image" if kind == "image" else "file"
    match fields.required(source, "type", fields.text, where):
        case "base64":
            return Media(
                kind=of_kind,
                media_type=fields.required(source, "media_type", fields.text, where),
                base64=fields.required(source, "data", fields.text, where),
                name=name,
                cache_ttl=fields.read_cache_ttl(block),
            )
        case "url":
            return Media(
                kind=of_kind,
                url=fields.required(source, "url", fields.text, where),
                name=name,
                cache_ttl=fields.read_cache_ttl(block),
            )
        case _:
            return None


def _make_opaque(block: JsonObject) -> OpaquePart:
    return OpaquePart(wire="anthropic_messages", body=block)
