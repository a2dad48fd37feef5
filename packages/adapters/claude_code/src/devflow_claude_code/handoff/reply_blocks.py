"""Encodes a reply of any model as content blocks of Claude Code's transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import orjson
from devflow_core.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
from devflow_core.usage import Usage

from devflow_claude_code.reading.rows import Json


def drop_open_calls(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages without reasoning, and with unanswered calls turned into text.

    Claude Code would send reasoning back to a model that did not sign it, and would answer an
    open call with an error. System messages, blank texts and messages without parts are dropped.
    """
    answered = {
        part.call_id
        for message in messages
        for part in message.parts
        if isinstance(part, ToolResult)
    }
    closed = [
        replace(message, parts=tuple(_close_parts(message.parts, answered)))
        for message in messages
        if message.role != "system"
    ]
    return tuple(message for message in closed if message.parts)


def content_blocks(message: Message) -> list[Json]:
    """Return the content blocks of one message; media other than inline images become a note."""
    return [block for part in message.parts if (block := _encode_part(part)) is not None]


def usage_json(usage: Usage) -> Json:
    """Return token counts as a `usage` object with Anthropic's names."""
    # `cache_creation_input_tokens` is the sum; `cache_creation` splits it by lifetime
    hour = usage.cache_write_1h_tokens
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - hour,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens": usage.completion_tokens,
        "service_tier": "standard",
    }


def _close_parts(parts: Sequence[Part], answered: set[str]) -> list[Part]:
    closed: list[Part] = []
    for part in parts:
        if isinstance(part, Reasoning) or (isinstance(part, Text) and not part.text.strip()):
            continue
        # an open call would be answered with an error by the client on resume
        if isinstance(part, ToolCall) and part.id not in answered:
            text = f"[wanted to call {part.name} with {part.arguments}; it was not executed]"
            closed.append(Text(text=text))
        else:
            closed.append(part)
    return closed


def _encode_part(part: Part) -> Json | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case ToolCall():
            return {
                "type": "tool_use",
                "id": part.id,
                "name": part.name,
                "input": _parse_arguments(part.arguments),
            }
        case ToolResult():
            return {
                "type": "tool_result",
                "tool_use_id": part.call_id,
                "content": [
                    block for one in part.parts if (block := _encode_part(one)) is not None
                ],
                "is_error": part.is_error,
            }
        case Media(kind="image", base64=str(encoded)):
            source = {"type": "base64", "media_type": part.media_type, "data": encoded}
            return {"type": "image", "source": source}
        case Media():
            return {"type": "text", "text": f"[{part.kind}: {part.url or part.name or ''}]"}
        case _:
            return None


def _parse_arguments(text: str) -> dict[str, Any]:
    """Return the arguments; text that is not a JSON object is kept under the key `arguments`."""
    try:
        body = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        body = None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {"arguments": text}
