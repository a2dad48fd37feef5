"""Counts the tokens of a text or a request: the estimate, its upper end, and the bound.

These three must not be confused:

* `estimate_tokens`: the likely count. Everything that shows or compares a count uses it.
* `upper_tokens`: the upper end of the estimate's error, which few texts exceed (base64 and hashes
  do). Budgets reserve it, windows are compared with it, and a reply without a reported count is
  booked with no less.
* `max_tokens`: a bound that no tokenizer exceeds, where the count must never be too low.

No tokenizer is shipped or downloaded. The coefficients were fitted to the public vocabularies named
in `benchmarks/data/tokens/README.md`; `benchmarks/tokens.py` prints the error of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import orjson

from devflow_core.media_tokens import media_tokens
from devflow_core.messages import Media, Part, Reasoning, Text, ToolCall, ToolResult
from devflow_core.request import ChatRequest

MAX_FRAMING_TOKENS = 64
"""The most that a provider's template adds to a conversation: markers, a date, a line of text.

It matters where the text itself is short.
"""
MESSAGE_TOKENS = 4
"""The tokens of a message in addition to those of its text."""
_UNKNOWN_PART_TOKENS = 50
"""Our guess of the tokens of a part that the hub cannot express, besides those of its JSON text."""
_UPPER_WIDE_TOKENS = 1.6
"""The upper end for a character beyond ASCII: rare Chinese in OpenAI's older vocabularies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFamily:
    """Models whose tokenizers count much alike; the defaults are the highest counts of all."""

    letter_tokens: float = 0.23
    """Tokens per ASCII letter, blank or double quote, which joins the sign next to it."""
    digit_tokens: float = 1.0
    sign_tokens: float = 0.85
    """Tokens per other ASCII character."""
    wide_tokens: float = 1.2
    """Tokens per character beyond ASCII; from 0.6 to 1.2 for Chinese."""
    schema_chars_per_token: float = 3.75
    """Characters per token of tools' schemas and descriptions, which some vendors rewrite."""
    tools_tokens: int = 315
    """The fixed number of tokens that having any tools adds."""
    error: float = 0.45
    """The relative error: about 19 of 20 texts of some hundred tokens are within ± this share."""


DEAREST_FAMILY = TokenizerFamily()
"""The family of a model that is unknown or not chosen yet; what fits with it fits any model."""
_GPT = TokenizerFamily(
    letter_tokens=0.2,
    digit_tokens=0.85,
    sign_tokens=0.55,
    wide_tokens=0.85,
    schema_chars_per_token=6.1,
    tools_tokens=36,
    error=0.35,
)
FAMILIES = {
    "GPT": _GPT,
    "GPT-4": TokenizerFamily(
        letter_tokens=0.2,
        digit_tokens=0.85,
        sign_tokens=0.55,
        schema_chars_per_token=6.1,
        tools_tokens=36,
        error=0.35,
    ),
    "Claude": TokenizerFamily(digit_tokens=0.75, sign_tokens=0.73, wide_tokens=1.1, error=0.35),
    "Gemini": TokenizerFamily(
        letter_tokens=0.22, wide_tokens=0.75, schema_chars_per_token=6.9, tools_tokens=13
    ),
    "Llama": TokenizerFamily(
        letter_tokens=0.2, digit_tokens=0.85, sign_tokens=0.55, wide_tokens=0.85, tools_tokens=200
    ),
    "Qwen": TokenizerFamily(
        letter_tokens=0.22, sign_tokens=0.55, wide_tokens=0.65, tools_tokens=200
    ),
    "DeepSeek": TokenizerFamily(
        letter_tokens=0.21, digit_tokens=0.8, sign_tokens=0.68, wide_tokens=0.62, tools_tokens=200
    ),
}
"""Families by name; GPT has the vocabulary of 2024 (o200k), GPT-4 the one before (cl100k)."""
_BY_NAME = (
    ("gpt-3.5", "GPT-4"),
    ("gpt-4-", "GPT-4"),
    ("gpt-4:", "GPT-4"),
    ("openai/", "GPT"),
    ("gpt-", "GPT"),
    ("claude", "Claude"),
    ("anthropic/", "Claude"),
    ("google/", "Gemini"),
    ("gemini", "Gemini"),
    ("gemma", "Gemini"),
    ("llama", "Llama"),
    ("qwen", "Qwen"),
    ("deepseek", "DeepSeek"),
)
"""Parts of model names with their family; the first that a name contains decides."""


@lru_cache(maxsize=4096)
def family_of(model: str, tokenizer: str = "") -> TokenizerFamily:
    """Return the family of a model; `DEAREST_FAMILY` if it is unknown, as for `auto`.

    Args:
        model: its name; dialects know nothing else about it.
        tokenizer: the tokenizer's name in a list of models; used if the model's says nothing.
    """
    found = _find_word(model) or _find_word(tokenizer + "-")
    return FAMILIES[found] if found else DEAREST_FAMILY


def _find_word(name: str) -> str | None:
    name = name.lower() + ":"
    return next((family for word, family in _BY_NAME if word in name), None)


@dataclass(frozen=True, slots=True)
class TextSize:
    """The length of an input or a reply, before a tokenizer is chosen."""

    letters: int = 0
    """The number of ASCII letters, spaces and double quotes; estimated for long texts."""
    signs: int = 0
    """ASCII characters that are neither these nor digits."""
    wide_chars: int = 0
    """Characters beyond ASCII."""
    schema_chars: int = 0
    """The characters of all tools' names, descriptions and schemas; 0 without tools."""
    extra_tokens: int = 0
    """Tokens of messages and media, which do not depend on the tokenizer."""
    digits: int = 0

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], *, schema_chars: int = 0, extra_tokens: int = 0
    ) -> TextSize:
        """Return the length of some texts, with the characters and tokens counted elsewhere."""
        text = "".join(texts)
        ascii_bytes = text.encode() if text.isascii() else text.encode("ascii", "ignore")
        signs, digits = _count_signs(ascii_bytes)
        length = len(ascii_bytes)
        return cls(
            letters=length - signs - digits,
            signs=signs,
            wide_chars=len(text) - length,
            schema_chars=schema_chars,
            extra_tokens=extra_tokens,
            digits=digits,
        )

    @classmethod
    def from_request(cls, request: ChatRequest) -> TextSize:
        """Return the length of a whole request: messages, tool calls and results, media, tools."""
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

    def __add__(self, other: TextSize) -> TextSize:
        """Return the length of both together."""
        return TextSize(
            self.letters + other.letters,
            self.signs + other.signs,
            self.wide_chars + other.wide_chars,
            self.schema_chars + other.schema_chars,
            self.extra_tokens + other.extra_tokens,
            self.digits + other.digits,
        )

    def estimate_tokens(self, family: TokenizerFamily) -> int:
        """Return the likely number of tokens."""
        return self.token_range(family)[0]

    def upper_tokens(self, family: TokenizerFamily) -> int:
        """Return the upper end of the estimate's error; a digit or a sign is at most one token."""
        return self.token_range(family)[1]

    def upper_input_tokens(self, family: TokenizerFamily) -> int:
        """Return the upper end for a whole request, for windows and reservations."""
        return self.token_range(family)[1] + MAX_FRAMING_TOKENS

    def token_range(self, family: TokenizerFamily) -> tuple[int, int]:
        """Return the likely number of tokens, and the upper end of its error."""
        letters, digits, signs = self.letters * family.letter_tokens, self.digits, self.signs
        likely = (
            letters
            + digits * family.digit_tokens
            + signs * family.sign_tokens
            + self.wide_chars * family.wide_tokens
        )
        scale, besides = 1 + family.error, float(self.extra_tokens)
        upper = letters * scale + digits + signs + self.wide_chars * _UPPER_WIDE_TOKENS
        if self.schema_chars:
            tools = family.tools_tokens + self.schema_chars / family.schema_chars_per_token
            likely += tools
            besides += tools
        return self.extra_tokens + int(likely), ceil(upper + besides * scale)


def estimate_tokens(text: str, family: TokenizerFamily = DEAREST_FAMILY) -> int:
    """Return the likely number of tokens of a text, usually within the family's `error`."""
    return TextSize.from_texts((text,)).estimate_tokens(family)


def estimate_input_tokens(request: ChatRequest) -> int:
    """Return the likely number of tokens of a request with the model that it names; at least 1."""
    size = TextSize.from_request(request)
    return max(1, size.estimate_tokens(family_of(request.model)))


def estimate_reply_tokens(parts: Iterable[Part], model: str) -> int:
    """Return the likely number of tokens of a reply's parts; at least 1."""
    texts: list[str] = []
    extra = sum(_collect_text(one, texts) for one in parts)
    size = TextSize.from_texts(texts, extra_tokens=extra)
    return max(1, size.estimate_tokens(family_of(model)))


def max_tokens(texts: Iterable[str]) -> int:
    """Return the most tokens that texts can have: no tokenizer makes more tokens than bytes."""
    return sum(len(one.encode("utf-8", "surrogatepass")) for one in texts)


_MAX_LETTERS_PER_TOKEN = 7.2
"""The longest average token; a count that would need longer ones does not cover the whole text."""
_LETTERS_PER_EXTRA_BYTE = 1.1
"""Each further UTF-8 byte counts as this many letters: a Chinese character is half a token."""
_MAX_PENDING_CHARS = 32_768
"""The length from which pieces are measured together, so that a long reply is not kept."""


class TextCounter:
    """Counts text that comes in pieces; pieces are measured together, so that each costs little."""

    __slots__ = ("_extra_bytes", "_pending", "_pending_chars", "_size", "chars", "pieces")

    def __init__(self) -> None:
        self.pieces = 0
        """The number of pieces that were not empty."""
        self.chars = 0
        self._extra_bytes = 0
        self._pending: list[str] = []
        self._pending_chars = 0
        self._size = TextSize()

    def add(self, text: str) -> None:
        """Add a piece."""
        if not text:
            return
        self.pieces += 1
        length = len(text)
        self.chars += length
        if not text.isascii():
            self._extra_bytes += len(text.encode("utf-8", "surrogatepass")) - length
        self._pending.append(text)
        self._pending_chars += length
        if self._pending_chars > _MAX_PENDING_CHARS:
            self._measure()

    @property
    def size(self) -> TextSize:
        """The length of all pieces."""
        if self._pending:
            self._measure()
        return self._size

    @property
    def min_tokens(self) -> int:
        """The fewest tokens that the text can have, if each is as long as tokens get on average."""
        letters = self.chars + _LETTERS_PER_EXTRA_BYTE * self._extra_bytes
        return int(letters / _MAX_LETTERS_PER_TOKEN)

    def _measure(self) -> None:
        self._size += TextSize.from_texts(self._pending)
        self._pending.clear()
        self._pending_chars = 0


_LETTERS = b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "'
_DIGITS = b"0123456789"
_MAX_FULL_SCAN_BYTES, _SAMPLES = 16_384, 16
"""The size from which a text is sampled, and the number of evenly spaced samples of signs."""


def _count_signs(ascii_bytes: bytes) -> tuple[int, int]:
    """Return the number of signs, and the number of digits; in a long text, both from samples."""
    length = len(ascii_bytes)
    sample = ascii_bytes
    if length > _MAX_FULL_SCAN_BYTES:
        size, step = _MAX_FULL_SCAN_BYTES // _SAMPLES, length // _SAMPLES
        sample = b"".join(ascii_bytes[at : at + size] for at in range(0, step * _SAMPLES, step))
    rest = sample.translate(None, _LETTERS)
    signs = len(rest.translate(None, _DIGITS))
    digits = len(rest) - signs
    if sample is ascii_bytes:
        return signs, digits
    scale = length / len(sample)
    return round(signs * scale), round(digits * scale)


def _collect_text(part: Part, texts: list[str]) -> int:
    """Collect a part's text; return the tokens that the part has in addition to it."""
    match part:
        case Text() | Reasoning():
            texts.append(part.text)
        case ToolCall():
            texts.append(part.name)
            texts.append(part.arguments)
        case ToolResult():
            return sum(_collect_text(inner, texts) for inner in part.parts)
        case Media():
            return media_tokens(part)
        case _:
            texts.append(orjson.dumps(part.body, default=str).decode())
            return _UNKNOWN_PART_TOKENS
    return 0
