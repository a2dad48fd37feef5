"""How many tokens a text or a request has: the one estimate, its upper end, and the bound.

Three ideas, never to be mixed up:

* `estimate_tokens`: what is likely. Everybody who shows or compares a count uses it.
* `upper_tokens`: the upper end of its error, which few texts exceed: base64 and hashes do. Budgets
  reserve it, windows are compared with it, and a reply that nobody counted is booked at no less.
* `max_tokens`: what no tokenizer exceeds, for who must never be below.

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
"""What a provider's template puts around a conversation at the most: markers, a date, a line of
its own; it counts where the text itself is short."""
MESSAGE_TOKENS = 4
"""What a turn costs besides its text."""
_UNKNOWN_PART_TOKENS = 50
_UPPER_WIDE_TOKENS = 1.6
"""Of a character beyond ASCII at the upper end: what the older of OpenAI's vocabularies makes of
rare Chinese."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFamily:
    """Models whose tokenizers count much alike. The default is the dearest of all."""

    letter_tokens: float = 0.23
    """Of an ASCII letter, a blank or a double quote: a quote joins the sign that it stands at."""
    digit_tokens: float = 1.0
    sign_tokens: float = 0.85
    """Of any other ASCII character."""
    wide_tokens: float = 1.2
    """Of a character beyond ASCII: from 0.6 to 1.2 for Chinese."""
    schema_chars_per_token: float = 3.75
    """Of tools' descriptions and schemas as JSON; some vendors rewrite them shorter."""
    tools_tokens: int = 315
    """What it costs to have tools at all."""
    error: float = 0.45
    """Relative: about 19 of 20 texts of some hundred tokens are within ± this much."""


DEAREST_FAMILY = TokenizerFamily()
"""Of a model that is not known, or not chosen yet: who plans with it has room at any."""
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
"""By name. GPT has the vocabulary of 2024 (o200k), GPT-4 the one before (cl100k)."""
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
"""The first that stands in a model's name."""


@lru_cache(maxsize=4096)
def family_of(model: str, tokenizer: str = "") -> TokenizerFamily:
    """The family of a model; the dearest where nothing tells it, as for `auto`.

    Args:
        model: its name, which is all that a wire format knows of it.
        tokenizer: as a list of models calls it; asked where the name says nothing.
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
    """ASCII letters, blanks and double quotes."""
    signs: int = 0
    """ASCII characters that are neither these nor digits."""
    wide_chars: int = 0
    """Characters beyond ASCII."""
    schema_chars: int = 0
    """Of all tools; 0 without tools."""
    extra_tokens: int = 0
    """Turns and media, which no tokenizer sees."""
    digits: int = 0

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], *, schema_chars: int = 0, extra_tokens: int = 0
    ) -> TextSize:
        """The length of some texts, with what comes besides."""
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

    def __add__(self, other: TextSize) -> TextSize:
        """The length of both, one after the other."""
        return TextSize(
            self.letters + other.letters,
            self.signs + other.signs,
            self.wide_chars + other.wide_chars,
            self.schema_chars + other.schema_chars,
            self.extra_tokens + other.extra_tokens,
            self.digits + other.digits,
        )

    def estimate_tokens(self, family: TokenizerFamily) -> int:
        """The likely number of tokens."""
        text = (
            self.letters * family.letter_tokens
            + self.digits * family.digit_tokens
            + self.signs * family.sign_tokens
            + self.wide_chars * family.wide_tokens
        )
        return self.extra_tokens + int(text + self._tools_tokens(family))

    def upper_tokens(self, family: TokenizerFamily) -> int:
        """The upper end of the estimate's error; a digit or a sign is one token at the most."""
        scale = 1 + family.error
        text = (
            self.letters * family.letter_tokens * scale
            + self.digits
            + self.signs
            + self.wide_chars * _UPPER_WIDE_TOKENS
        )
        besides = self.extra_tokens + self._tools_tokens(family)
        return ceil(text + besides * scale)

    def upper_input_tokens(self, family: TokenizerFamily) -> int:
        """The upper end for a whole request: for windows and reservations."""
        return self.upper_tokens(family) + MAX_FRAMING_TOKENS

    def _tools_tokens(self, family: TokenizerFamily) -> float:
        if not self.schema_chars:
            return 0.0
        return family.tools_tokens + self.schema_chars / family.schema_chars_per_token


def estimate_tokens(text: str, family: TokenizerFamily = DEAREST_FAMILY) -> int:
    """How many tokens a text likely has, within the family's `error`."""
    return TextSize.from_texts((text,)).estimate_tokens(family)


def estimate_input_tokens(request: ChatRequest) -> int:
    """How many tokens a request likely has at the model that it names; at least 1."""
    size = TextSize.from_request(request)
    return max(1, size.estimate_tokens(family_of(request.model)))


def estimate_reply_tokens(parts: Iterable[Part], model: str) -> int:
    """How many tokens the parts of a reply likely have; at least 1."""
    texts: list[str] = []
    extra = sum(_collect_text(one, texts) for one in parts)
    size = TextSize.from_texts(texts, extra_tokens=extra)
    return max(1, size.estimate_tokens(family_of(model)))


def max_tokens(texts: Iterable[str]) -> int:
    """How many tokens some texts can have at the most: no tokenizer makes more than bytes."""
    return sum(len(one.encode("utf-8", "surrogatepass")) for one in texts)


_MAX_LETTERS_PER_TOKEN = 7.2
"""A count that would need longer tokens than this is not the count of the whole text."""
_LETTERS_PER_EXTRA_BYTE = 1.1
"""What a byte beyond one a character counts for there: Chinese has half a token for three."""
_MAX_PENDING_CHARS = 32_768


class TextCounter:
    """Measures text that comes in pieces: many at once, so that a piece costs next to nothing."""

    __slots__ = ("_extra_bytes", "_pending", "_pending_chars", "_size", "chars", "pieces")

    def __init__(self) -> None:
        self.pieces = 0
        """How many pieces came that were not empty."""
        self.chars = 0
        self._extra_bytes = 0
        self._pending: list[str] = []
        self._pending_chars = 0
        self._size = TextSize()

    def add(self, text: str) -> None:
        """Take a piece in."""
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
        """The length of all that came."""
        if self._pending:
            self._measure()
        return self._size

    @property
    def min_tokens(self) -> int:
        """How many tokens it has at the least, were they as long as they get."""
        letters = self.chars + _LETTERS_PER_EXTRA_BYTE * self._extra_bytes
        return int(letters / _MAX_LETTERS_PER_TOKEN)

    def _measure(self) -> None:
        self._size += TextSize.from_texts(self._pending)
        self._pending.clear()
        self._pending_chars = 0


_LETTERS = b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "'
_DIGITS = b"0123456789"
_MAX_FULL_SCAN_BYTES, _SAMPLES = 16_384, 16
"""A longer text's share of signs and digits is taken from so many places, evenly apart."""


def _count_signs(ascii_bytes: bytes) -> tuple[int, int]:
    """How many bytes are signs, and how many are digits."""
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
            return media_tokens(part)
        case _:
            texts.append(orjson.dumps(part.body, default=str).decode())
            return _UNKNOWN_PART_TOKENS
    return 0
