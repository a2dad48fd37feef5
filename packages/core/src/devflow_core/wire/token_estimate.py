"""A rough count of input tokens, for replies that must name one before the provider does."""

from __future__ import annotations

from devflow_core.messages import Media, Part, Reasoning, Text, ToolCall, ToolResult
from devflow_core.request import ChatRequest

_CHARACTERS_PER_TOKEN = 4
_MEDIA_TOKENS = 1500
"""About an image of 1100 x 1000 pixels (Anthropic: width x height / 750)."""
_PER_MESSAGE_TOKENS = 4


def estimate_input_tokens(request: ChatRequest) -> int:
    """Input tokens of a request, at least 1; within a third for English text and code."""
    characters = sum(_count_characters(part) for one in request.messages for part in one.parts)
    characters += sum(len(one.name) + len(one.description) for one in request.tools)
    characters += sum(len(str(one.native or one.schema)) for one in request.tools)
    return 1 + characters // _CHARACTERS_PER_TOKEN + _PER_MESSAGE_TOKENS * len(request.messages)


def estimate_tokens(text: str) -> int:
    """Tokens of a text, at least 1."""
    return 1 + len(text) // _CHARACTERS_PER_TOKEN


def _count_characters(part: Part) -> int:
    match part:
        case Text() | Reasoning():
            return len(part.text)
        case ToolCall():
            return len(part.name) + len(part.arguments)
        case ToolResult():
            return sum(_count_characters(one) for one in part.parts)
        case Media():
            return _MEDIA_TOKENS * _CHARACTERS_PER_TOKEN
        case _:
            return len(str(part.body))
