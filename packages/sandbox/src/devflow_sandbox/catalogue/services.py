"""Lists what is billed besides tokens: searches, pages, PDFs, tiers; each figure with its source.

The documentation is OpenRouter's of 2026-08-22. What it does not say is marked as a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Tier = Literal["default", "flex", "priority", "ultrafast"]

# Price of a search by mode, with ten results ("Web Search", Pricing). Recorded 2026-07: 0.007.
_EXA_USD = {
    "instant": Decimal("0.007"),
    "fast": Decimal("0.007"),
    "auto": Decimal("0.007"),
    "deep-lite": Decimal("0.012"),
    "deep": Decimal("0.012"),
    "deep-reasoning": Decimal("0.015"),
}
_PARALLEL_USD = {
    "turbo": Decimal("0.001"),
    "fast": Decimal("0.001"),
    "basic": Decimal("0.005"),
    "advanced": Decimal("0.005"),
}
_PERPLEXITY_USD = Decimal("0.005")
RESULTS_INCLUDED = 10
"""Results that the price of a search includes ("Web Search", Pricing)."""
EXTRA_RESULT_USD = Decimal("0.001")
"""The price of each further result ("Web Search", Pricing)."""

FETCH_USD = Decimal("0.001")
"""The price of a page fetched by Exa or Parallel; other engines are free ("Web Fetch", Pricing)."""

OCR_PAGE_USD = Decimal("0.002")
"""Price of a page read by `mistral-ocr`, even with the user's own keys ("PDF Inputs", Pricing)."""

MAX_STEPS = 30
"""The most server-side tool calls of a request ("Server Tools", Tool Call Limits)."""
MAX_TOTAL_RESULTS = 50
"""The most results of all searches of a request (API description, `max_total_results`)."""

TOKENS_PER_RESULT = 1_000
"""Tokens a search result adds: Exa's excerpts have 2,000 to 4,000 characters ("Web Search")."""
CHARACTERS_BY_CONTEXT = {"low": 5_000, "medium": 15_000, "high": 30_000}
"""Characters per result by `search_context_size` ("Web Search", Exa)."""
TOKENS_PER_FETCH = 2_500
"""Tokens a fetched page adds to the prompt unless `max_content_tokens` is set: a guess."""

NATIVE_TOKENS = {"openai": 8_000, "anthropic": 7_345, "google": 0, "perplexity": 0}
NATIVE_TOKENS_ELSEWHERE = 4_000
"""Tokens a provider's own search adds to the prompt. OpenAI: a block of 8,000 (its price list;
8,174 recorded 2026-07); Anthropic: the example of its documentation; others: a guess.
"""

TIER_FACTOR: dict[Tier, Decimal] = {
    "default": Decimal(1),
    "flex": Decimal("0.5"),
    "priority": Decimal(2),
    "ultrafast": Decimal(6),
}
"""The factor on the listed token prices. Flex: 50 % off gpt-5 ("Service Tiers"); priority: gpt-5 in
OpenAI's price list, 2.50 for 1.25; ultrafast: another gateway's price list of 2026-10, about 6.
"""

IMAGE_TOKENS_OUT = {"openai": 4_175}
"""Tokens of an image of gpt-5-image at high quality (the example in "Image Generation")."""
IMAGE_TOKENS_OUT_ELSEWHERE = 1_290
"""Tokens of an image of 1024 x 1024 at Gemini, by Google's price list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFee:
    """The engine of a search or fetch, and its fee."""

    engine: str
    """`native`, `exa`, `parallel`, `perplexity`, `firecrawl` or another name of the request."""
    usd: Decimal
    """The fee in USD for one search or fetch."""
    is_native: bool = False
    """Whether the model's provider charges the fee, not OpenRouter."""


def search_fee(engine: str, mode: str | None, results: int) -> Decimal:
    """Return the fee in USD of a search that OpenRouter pays; Firecrawl bills the user itself.

    Args:
        engine: an engine other than the provider's own; an unknown one costs as much as Exa.
        mode: the engine's mode; None, or an unknown one, is its default.
        results: the most results requested.
    """
    if engine == "firecrawl":
        return Decimal(0)
    if engine == "perplexity":
        return _PERPLEXITY_USD
    prices, default = (_PARALLEL_USD, "basic") if engine == "parallel" else (_EXA_USD, "auto")
    usd = prices.get(mode or default, prices[default])
    return usd + EXTRA_RESULT_USD * max(0, results - RESULTS_INCLUDED)


def search_engine(
    engine: str, mode: str | None, results: int, native_usd: Decimal | None
) -> EngineFee:
    """Return the engine of a search and its fee: the provider's own, unless another is named.

    Args:
        engine: `auto`, `native`, or the engine's name.
        mode: see `search_fee`.
        results: see `search_fee`.
        native_usd: the fee of the provider's own engine; if None, it has none, and Exa takes its
            place.
    """
    if engine in ("auto", "native") and native_usd is not None:
        return EngineFee(engine="native", usd=native_usd, is_native=True)
    engine = "exa" if engine in ("auto", "native") else engine
    return EngineFee(engine=engine, usd=search_fee(engine, mode, results))


def fetch_engine(engine: str, native_usd: Decimal | None) -> EngineFee:
    """Return the engine that fetches a page and its fee; a provider's own is free, as Anthropic's.

    Args:
        engine: `auto`, `native`, or the engine's name.
        native_usd: the fee of a search by the provider's own engine; if None, it has no engine, and
            Exa takes its place.
    """
    if engine in ("auto", "native") and native_usd is not None:
        return EngineFee(engine="native", usd=Decimal(0), is_native=True)
    engine = "exa" if engine in ("auto", "native") else engine
    is_paid = engine in ("exa", "parallel")
    return EngineFee(engine=engine, usd=FETCH_USD if is_paid else Decimal(0))


def image_tokens(author: str) -> int:
    """Return the token count of one image in a reply of an author's model."""
    return IMAGE_TOKENS_OUT.get(author, IMAGE_TOKENS_OUT_ELSEWHERE)


def native_search_tokens(author: str) -> int:
    """Return the tokens that a search by an author's own engine adds to the prompt."""
    return NATIVE_TOKENS.get(author, NATIVE_TOKENS_ELSEWHERE)
