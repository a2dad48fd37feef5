"""Reads the content of a row in a few plain shapes: text, calls, results, images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import orjson

from devflow_claude_code.reading.block_words import describe_block
from devflow_claude_code.reading.rows import Json, TranscriptRow

_HARNESS_TEXT = re.compile(
    r"\s*<(?:command-name|command-message|local-command-|bash-input|bash-stdout|bash-stderr"
    r"|task-notification|system-reminder|user-memory-input|session-start-hook)"
    r"|\[Request interrupted by user"
    r"|Caveat: The messages below"
)
"""Beginnings of texts in user rows that the client wrote, not a person."""


def blocks(body: Json) -> list[Json]:
    """Return the content blocks of a user or assistant row; [] if it has no content.

    A plain string is one text block, and so is a block that is not an object.
    """
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
    """Return the texts of a row, joined by newlines and stripped; '' if there are none."""
    return "\n".join(
        get_string(block, "text") for block in blocks(body) if block.get("type") == "text"
    ).strip()


def human_text(row: TranscriptRow, body: Json) -> str:
    """Return what a person wrote in this row, or queued as a prompt; '' for any other row."""
    if row.type == "attachment":
        attachment = cast("Json", body.get("attachment") or {})
        # other modes are not a person's prompt
        if row.subtype != "queued_command" or attachment.get("commandMode") != "prompt":
            return ""
        text = flatten_text(attachment.get("prompt"))
    elif row.type == "user" and not row.is_meta and not row.is_summary and row.has_text:
        text = text_of(body)
    else:
        return ""
    return "" if _HARNESS_TEXT.match(text) else text


def flatten_text(content: object) -> str:
    """Return the content of a result or prompt as text; '' for None.

    Images, documents and blocks of unknown kinds are named in brackets; blocks of a server's tools
    are described.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return _flatten_block(cast("Json", content))
    if not isinstance(content, list):
        return "" if content is None else str(content)
    return "\n".join(_flatten_block(one) for one in cast("list[object]", content))


def tool_calls(body: Json) -> Iterator[Json]:
    """Yield the `tool_use` blocks of an assistant row."""
    return (block for block in blocks(body) if block.get("type") == "tool_use")


def tool_results(body: Json) -> Iterator[Json]:
    """Yield the `tool_result` blocks of a user row."""
    return (block for block in blocks(body) if block.get("type") == "tool_result")


def get_object(value: object, name: str) -> Json:
    """Return a field that should be an object; {} if it is missing or of another type."""
    found = cast("Json", value).get(name) if isinstance(value, dict) else None
    return cast("Json", found) if isinstance(found, dict) else {}


def get_string(value: object, name: str) -> str:
    """Return a field that should be text; '' if it is missing or of another type."""
    found = cast("Json", value).get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def map_strings(value: object, change: Callable[[str], str]) -> object:
    """Return a copy of a JSON value with a function applied to all strings, including names."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_strings(one, change) for one in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("Json", value).items()
        return {change(name): map_strings(one, change) for name, one in items}
    return value


def as_json(value: object) -> str:
    """Return a value as compact JSON text; what JSON cannot express is written as its `str`."""
    return orjson.dumps(value, default=str).decode()


def _flatten_block(block: object) -> str:
    kind = get_string(block, "type")
    if kind == "text":
        return get_string(block, "text")
    if kind == "tool_reference":
        return f"[tool {get_string(block, 'tool_name')} is available now]"
    if kind in ("image", "document"):
        return (
            f"[{kind} of {get_string(get_object(block, 'source'), 'media_type') or 'unknown type'}]"
        )
    return describe_block(cast("Json", block)) if isinstance(block, dict) else str(block)
