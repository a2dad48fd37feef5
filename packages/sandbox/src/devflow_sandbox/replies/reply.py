"""Represents a reply independently of dialects: reasoning, text, tool calls, and its end."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import orjson

from devflow_sandbox.message import JsonObject

# About a word, at most 24 characters; white space goes with the word after it.
_PIECE = re.compile(r"\s*\S{1,24}|\s+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmittedToolCall:
    """One tool call in a reply."""

    id: str
    name: str
    arguments: str
    """The arguments as JSON text."""


@dataclass(frozen=True, kw_only=True)
class GeneratedReply:
    """One complete reply."""

    text: str | None = None
    reasoning: str | None = None
    signature: str = ""
    """The signature of the reasoning; the stand-in does not check it when it is sent back."""
    calls: tuple[EmittedToolCall, ...] = ()
    refusal: str | None = None
    finish_reason: str = "stop"
    stop_sequence: str | None = None
    """The request's stop sequence before which the text ends."""
    annotations: tuple[JsonObject, ...] = ()
    image_tokens: int = 0
    """Tokens of an image with the text; 0 without one."""
    audio_tokens: int = 0
    """Tokens of the spoken text; 0 if it is not spoken."""

    @cached_property
    def reasoning_tokens(self) -> int:
        """The reasoning part of `completion_tokens`."""
        return _count_tokens(self.reasoning)

    @cached_property
    def completion_tokens(self) -> int:
        """The output tokens with reasoning and calls, without images and speech."""
        calls = sum(
            _count_tokens(call.arguments) + _count_tokens(call.name) + 8 for call in self.calls
        )
        return (
            self.reasoning_tokens + _count_tokens(self.text) + _count_tokens(self.refusal) + calls
        )

    def truncate(self, max_tokens: int | None) -> GeneratedReply:
        """Return the reply cut to a limit of output tokens, with finish reason `length`.

        Reasoning is kept before text, and calls are dropped. A reply within the limit, or without
        one (None), is returned as it is.
        """
        if max_tokens is None or self.completion_tokens <= max_tokens:
            return self
        reasoning = (self.reasoning or "")[: max_tokens * 4] or None
        remaining = max_tokens - _count_tokens(reasoning)
        text = (self.text or "")[: remaining * 4]
        # calls come last, so a reply that is too long loses them whole
        return replace(
            self,
            reasoning=reasoning,
            text=text,
            calls=(),
            finish_reason="length",
            stop_sequence=None,
        )


def _count_tokens(text: str | None) -> int:
    return (len(text) + 3) // 4 if text else 0


@lru_cache(maxsize=512)
def split_text(text: str) -> tuple[bytes, ...]:
    """Split a text as it is streamed, about a word at a time; each piece is a JSON string.

    An empty text has no pieces.
    """
    return tuple(orjson.dumps(piece) for piece in _PIECE.findall(text)) if text else ()


def split_arguments(arguments: str) -> list[str]:
    """Split a call's arguments as they are streamed: an empty piece, then a few cut anywhere."""
    third = max(1, len(arguments) // 3)
    pieces = [arguments[start : start + third] for start in range(0, len(arguments), third)]
    return ["", *pieces]
