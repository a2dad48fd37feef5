"""The content of a row in a few plain shapes: text, calls, results, images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import orjson

from devflow_claude_code.reading.rows import Json, Row

_NOT_PROSE = re.compile(
    r"\s*<(?:command-name|command-message|local-command-|bash-input|bash-stdout|bash-stderr"
    r"|task-notification|system-reminder|user-memory-input|session-start-hook)"
    r"|\[Request interrupted by user"
    r"|Caveat: The messages below"
)
"""How texts begin that stand in a user row without a person having written them."""


def blocks(body: Json) -> list[Json]:
    """The content blocks of a user or assistant row; a plain string is one text block."""
    message = body.get("message")
    content = cast("Json", message).get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return []
    return [
        one if isinstance(one, dict) else {"type": "text", "text": str(one)}
        for one in cast("list[Any]", content)
    ]


def text_of(body: Json) -> str:
    """All text blocks of a row, joined."""
    return "\n".join(
        string(block, "text") for block in blocks(body) if block.get("type") == "text"
    ).strip()


def human_text(row: Row, body: Json) -> str:
    """What a person wrote in this row, a prompt queued while the model worked included; or ''."""
    if row.type == "attachment":
        attachment = cast("Json", body.get("attachment") or {})
        if row.subtype != "queued_command" or attachment.get("commandMode") != "prompt":
            return ""
        text = flat(attachment.get("prompt"))
    elif row.type == "user" and not row.is_meta and not row.is_summary and row.has_text:
        text = text_of(body)
    else:
        return ""
    return "" if _NOT_PROSE.match(text) else text


def flat(content: object) -> str:
    """Content of a result or prompt as text; what is no text is named in brackets."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return "" if content is None else as_json(content)
    return "\n".join(_flat_block(one) for one in cast("list[object]", content))


def calls(body: Json) -> Iterator[Json]:
    """The `tool_use` blocks of an assistant row."""
    return (block for block in blocks(body) if block.get("type") == "tool_use")


def results(body: Json) -> Iterator[Json]:
    """The `tool_result` blocks of a user row."""
    return (block for block in blocks(body) if block.get("type") == "tool_result")


def mapping(value: object, name: str) -> Json:
    """A field that should be an object, or an empty one."""
    found = cast("Json", value).get(name) if isinstance(value, dict) else None
    return cast("Json", found) if isinstance(found, dict) else {}


def string(value: object, name: str) -> str:
    """A field that should be text, or ''."""
    found = cast("Json", value).get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def as_json(value: object) -> str:
    """Compact JSON text."""
    return orjson.dumps(value, default=str).decode()


def _flat_block(block: object) -> str:
    kind = string(block, "type")
    if kind == "text":
        return string(block, "text")
    if kind == "tool_reference":
        return f"[tool {string(block, 'tool_name')} is available now]"
    if kind in ("image", "document"):
        return f"[{kind} of {string(mapping(block, 'source'), 'media_type') or 'unknown type'}]"
    return block if isinstance(block, str) else as_json(block)
