"""What is answered, free of any dialect: thinking, text, tool calls, and how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import orjson

from devflow_sandbox.message import JsonObject

_PIECE = re.compile(r"\s*\S{1,24}|\s+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmittedToolCall:
    """One call of a tool."""

    id: str
    name: str
    arguments: str
    """JSON text."""


@dataclass(frozen=True, kw_only=True)
class GeneratedReply:
    """One whole reply."""

    text: str | None = None
    reasoning: str | None = None
    signature: str = ""
    """What vouches for the reasoning when it is sent back."""
    calls: tuple[EmittedToolCall, ...] = ()
    refusal: str | None = None
    finish_reason: str = "stop"
    annotations: tuple[JsonObject, ...] = ()
    image_tokens: int = 0
    """Of an image beside the text; 0: there is none."""
    audio_tokens: int = 0
    """Of the text spoken; 0: it is not."""

    @cached_property
    def reasoning_tokens(self) -> int:
        """Of `completion_tokens`, those of the reasoning."""
        return _count_tokens(self.reasoning)

    @cached_property
    def completion_tokens(self) -> int:
        """All output, reasoning included."""
        calls = sum(
            _count_tokens(call.arguments) + _count_tokens(call.name) + 8 for call in self.calls
        )
        return (
            self.reasoning_tokens + _count_tokens(self.text) + _count_tokens(self.refusal) + calls
        )

    def truncate(self, max_tokens: int | None) -> GeneratedReply:
        """The reply as a limit of output tokens leaves it, with finish reason `length`."""
        if max_tokens is None or self.completion_tokens <= max_tokens:
            return self
        reasoning = (self.reasoning or "")[: max_tokens * 4] or None
        remaining = max_tokens - _count_tokens(reasoning)
        text = (self.text or "")[: remaining * 4]
        return replace(self, reasoning=reasoning, text=text, calls=(), finish_reason="length")


def _count_tokens(text: str | None) -> int:
    return (len(text) + 3) // 4 if text else 0


@lru_cache(maxsize=512)
def split_text(text: str) -> tuple[bytes, ...]:
    """A text as it is streamed, a word or so at a time, each piece as a JSON string."""
    return tuple(orjson.dumps(piece) for piece in _PIECE.findall(text)) if text else ()


def split_arguments(arguments: str) -> list[str]:
    """Arguments of a call as they are streamed: two empty pieces, then a few cut anywhere."""
    third = max(1, len(arguments) // 3)
    pieces = [arguments[start : start + third] for start in range(0, len(arguments), third)]
    return ["", *pieces]
