"""How many tokens a text is, by family of tokenizer, with the error that the estimate has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from devflow_core.chat import ChatRequest, Media, Part, Reasoning, Text, ToolCall, ToolResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of tokenizers, as a rule of three."""

    chars_per_token: float
    """Of ASCII text."""
    tokens_per_wide_char: float
    """Of a character beyond ASCII."""
    error: float
    """Relative: 19 of 20 texts of some hundred tokens are within ± this much."""


MESSAGE_TOKENS = 4
"""What a turn costs besides its text."""
MEDIA_TOKENS = {"image": 1_200, "file": 3_000, "audio": 1_500, "video": 10_000}
"""What a piece of media costs, roughly: the image is 1024 by 1024 at most vendors' rule."""

_DEFAULT = Family(chars_per_token=3.6, tokens_per_wide_char=0.9, error=0.35)
FAMILIES = {
    "GPT": Family(chars_per_token=4.1, tokens_per_wide_char=0.8, error=0.25),
    "Claude": Family(chars_per_token=3.4, tokens_per_wide_char=1.1, error=0.3),
    "Gemini": Family(chars_per_token=4.1, tokens_per_wide_char=0.7, error=0.25),
    "Gemma": Family(chars_per_token=4.1, tokens_per_wide_char=0.7, error=0.25),
}
"""By `architecture.tokenizer` of the catalogue; the others are `family(name)`'s default."""


def family(tokenizer: str) -> Family:
    """The family of a catalogue's tokenizer name."""
    return FAMILIES.get(tokenizer, _DEFAULT)


@dataclass(frozen=True, slots=True)
class TextSize:
    """The length of an input, before a tokenizer is chosen. Adding two adds their lengths."""

    ascii_chars: int = 0
    wide_chars: int = 0
    extra_tokens: int = 0
    """Turns and media, which no tokenizer sees."""

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> TextSize:
        """The length of some texts."""
        narrow = wide = 0
        for text in texts:
            if text.isascii():
                narrow += len(text)
            else:
                beyond = _wide_chars(text)
                wide += beyond
                narrow += len(text) - beyond
        return cls(narrow, wide, 0)

    @classmethod
    def of_request(cls, request: ChatRequest) -> TextSize:
        """The length of all that goes in: turns, tool calls and results, media, tool schemas."""
        texts: list[str] = []
        extra = 0
        for message in request.messages:
            extra += MESSAGE_TOKENS
            for part in message.parts:
                extra += _take(part, texts)
        size = cls.of_texts(texts)
        schema_chars = sum(
            80
            + len(tool.name)
            + len(tool.description)
            + len(orjson.dumps(tool.schema, default=str))
            for tool in request.tools
        )
        return cls(size.ascii_chars + schema_chars, size.wide_chars, extra)

    def tokens(self, family: Family) -> int:
        """The estimate; half of all texts have fewer."""
        return self.extra_tokens + int(
            self.ascii_chars / family.chars_per_token
            + self.wide_chars * family.tokens_per_wide_char
        )

    def most_tokens(self, family: Family) -> int:
        """The upper end of the estimate's error: for limits and reservations."""
        return int(self.tokens(family) * (1 + family.error)) + 1


def estimate_tokens(text: str, tokenizer: str = "") -> int:
    """How many tokens a text is for a tokenizer of the catalogue, within `family(…).error`."""
    return TextSize.of_texts((text,)).tokens(family(tokenizer))


def _wide_chars(text: str) -> int:
    """Characters beyond ASCII: an encoder in C counts them faster than a loop."""
    return len(text) - len(text.encode("ascii", "ignore"))


def _take(part: Part, texts: list[str]) -> int:
    """Collect the part's text; returns what it costs besides."""
    match part:
        case Text() | Reasoning():
            texts.append(part.text)
        case ToolCall():
            texts.append(part.name)
            texts.append(part.arguments)
        case ToolResult():
            return sum(_take(inner, texts) for inner in part.parts)
        case Media():
            return MEDIA_TOKENS[part.kind]
        case _:
            return 50
    return 0
