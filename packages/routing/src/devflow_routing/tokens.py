"""Estimates how many tokens a text has, by family of tokenizer, with the estimate's error.

No tokenizer is shipped or downloaded. Letters and blanks make long tokens, all other ASCII symbols
short ones; that rule was fitted to the recorded counts of cl100k_base over 3,400 public prompts of
prose, mathematics and code (5.4 and 1.0 characters a token, 95 % within 32 %; by length alone:
40 %). The other families' factors and the share of tools come from 901 requests with tools for
which several vendors' own counts are recorded (BFCL, 2024).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from devflow_core.messages import Media, Part, Reasoning, Text, ToolCall, ToolResult
from devflow_core.request import ChatRequest

LETTERS_PER_TOKEN = 5.4
SYMBOLS_PER_TOKEN = 1.0
TOKENS_PER_NON_ASCII_CHAR = 0.9
"""Of a character beyond ASCII: from 0.5 for Cyrillic to 1.3 for rare Chinese."""

MAX_FRAMING_TOKENS = 64
"""What a provider's template puts around a conversation at the most: markers, a date, a line of
its own; it counts where the text itself is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFamily:
    """A family of tokenizers."""

    factor: float = 1.15
    """Tokens against those of cl100k_base."""
    schema_chars_per_token: float = 3.8
    """Of tools' descriptions and schemas as JSON; some vendors rewrite them shorter."""
    tools_tokens: int = 200
    """What it costs to have tools at all."""
    error: float = 0.45
    """Relative: 19 of 20 texts of some hundred tokens are within ± this much."""

    def upper_bound_tokens(self, tokens: int) -> int:
        """The upper end of the error of an estimate of so many tokens."""
        return int(tokens * (1 + self.error)) + MAX_FRAMING_TOKENS


_DEFAULT = TokenizerFamily()
FAMILIES = {
    "GPT": TokenizerFamily(factor=1.0, schema_chars_per_token=6.1, tools_tokens=36, error=0.35),
    "Llama3": TokenizerFamily(factor=1.0, error=0.35),
    "Llama4": TokenizerFamily(factor=1.0, error=0.4),
    "Claude": TokenizerFamily(factor=1.13, tools_tokens=315, error=0.35),
    "Gemini": TokenizerFamily(factor=1.1, schema_chars_per_token=6.9, tools_tokens=13, error=0.35),
    "Gemma": TokenizerFamily(factor=1.1, error=0.4),
    "Mistral": TokenizerFamily(factor=1.14, schema_chars_per_token=3.75, error=0.35),
    "Cohere": TokenizerFamily(
        factor=1.03, schema_chars_per_token=7.2, tools_tokens=128, error=0.35
    ),
}
"""By `architecture.tokenizer` of the catalogue; others are taken to be worse and less known."""

MESSAGE_TOKENS = 4
"""What a turn costs besides its text."""
MEDIA_TOKENS = {"image": 1_200, "file": 3_000, "audio": 1_500, "video": 10_000}
"""What a piece of media costs, roughly: an image of 1024 by 1024 at most vendors' rule."""
_UNKNOWN_PART_TOKENS = 50

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
_MAX_FULL_SCAN_BYTES, _SAMPLE_BYTES = 4_096, 1_024
"""A longer text's share of symbols is taken from its beginning, middle and end."""


def tokenizer_family(tokenizer: str) -> TokenizerFamily:
    """The family of a catalogue's tokenizer name."""
    return FAMILIES.get(tokenizer, _DEFAULT)


@dataclass(frozen=True, slots=True)
class TextSize:
    """The length of an input, before a tokenizer is chosen."""

    letters: int = 0
    """ASCII letters and blanks."""
    symbols: int = 0
    """All other ASCII characters."""
    non_ascii_chars: int = 0
    schema_chars: int = 0
    """Of all tools; 0 without tools."""
    extra_tokens: int = 0
    """Turns and media, which no tokenizer sees."""

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], *, schema_chars: int = 0, extra_tokens: int = 0
    ) -> TextSize:
        """The length of some texts, with what comes besides."""
        letters = symbols = non_ascii_chars = 0
        for text in texts:
            ascii_bytes = text.encode("ascii", "ignore")
            count = _count_symbols(ascii_bytes)
            symbols += count
            letters += len(ascii_bytes) - count
            non_ascii_chars += len(text) - len(ascii_bytes)
        return cls(letters, symbols, non_ascii_chars, schema_chars, extra_tokens)

    @classmethod
    def from_request(cls, request: ChatRequest) -> TextSize:
        """The length of all that goes in: turns, tool calls and results, media, tool schemas."""
        texts: list[str] = []
        extra = 0
        for message in request.messages:
            extra += MESSAGE_TOKENS
            for part in message.parts:
                extra += _collect_text(part, texts)
        schema_chars = sum(
            len(tool.name)
            + len(tool.description)
            + len(orjson.dumps(tool.native or tool.schema, default=str))
            for tool in request.tools
        )
        return cls.from_texts(texts, schema_chars=schema_chars, extra_tokens=extra)

    def estimate_tokens(self, family: TokenizerFamily) -> int:
        """The estimated number of tokens for a family of tokenizers."""
        text = self.letters / LETTERS_PER_TOKEN + self.symbols / SYMBOLS_PER_TOKEN
        text = (text + self.non_ascii_chars * TOKENS_PER_NON_ASCII_CHAR) * family.factor
        tools = 0.0
        if self.schema_chars:
            tools = family.tools_tokens + self.schema_chars / family.schema_chars_per_token
        return self.extra_tokens + int(text + tools)

    def upper_bound_tokens(self, family: TokenizerFamily) -> int:
        """The upper end of the estimate's error: for limits and reservations."""
        return family.upper_bound_tokens(self.estimate_tokens(family))


def estimate_tokens(text: str, tokenizer: str = "") -> int:
    """How many tokens a text has for a named tokenizer, within its family's `error`."""
    return TextSize.from_texts((text,)).estimate_tokens(tokenizer_family(tokenizer))


def _count_symbols(ascii_bytes: bytes) -> int:
    """How many bytes are neither letters nor blanks."""
    length = len(ascii_bytes)
    if length <= _MAX_FULL_SCAN_BYTES:
        return len(ascii_bytes.translate(None, _LETTERS))
    middle = (length - _SAMPLE_BYTES) // 2
    sample = (
        ascii_bytes[:_SAMPLE_BYTES]
        + ascii_bytes[middle : middle + _SAMPLE_BYTES]
        + ascii_bytes[-_SAMPLE_BYTES:]
    )
    return round(len(sample.translate(None, _LETTERS)) * length / len(sample))


def _collect_text(part: Part, texts: list[str]) -> int:
    """Collect the part's text; returns what it costs besides."""
    match part:
        case Text() | Reasoning():
            texts.append(part.text)
        case ToolCall():
            texts.append(part.name)
            texts.append(part.arguments)
        case ToolResult():
            return sum(_collect_text(inner, texts) for inner in part.parts)
        case Media():
            return MEDIA_TOKENS[part.kind]
        case _:
            texts.append(orjson.dumps(part.body, default=str).decode())
            return _UNKNOWN_PART_TOKENS
    return 0
