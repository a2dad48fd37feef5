"""Defines tokens and money: disjoint counts, prices per token, and what a reply cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

MAX_TOKENS = 10**9
"""The most tokens that any reply can have; a larger count is the sender's mistake."""
_MAX_TOKEN_DIGITS = 10

_PICO = Decimal(1).scaleb(-12)
"""The unit of stored amounts, which are integers: fine enough for one token of any model."""
_ZERO = Decimal(0)


def to_pico(usd: Decimal) -> int:
    """Convert USD to integer pico-USD, rounding half to even."""
    return int(usd.quantize(_PICO, rounding=ROUND_HALF_EVEN).scaleb(12))


def from_pico(pico: int) -> Decimal:
    """Convert integer pico-USD to USD."""
    return Decimal(pico).scaleb(-12)


def usd_text(usd: Decimal) -> str:
    """Return USD as plain decimal text: no exponent, no trailing zeros after the point."""
    text = format(usd, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def format_usd(amount: Decimal) -> str:
    """Format for people as `$12.35`, `$0.0123` or `-$0.0000042`; `usd_text` is the exact form.

    Cents from $1 on, and for 0; in between, four decimals, or as many as two significant digits
    need, since a request often costs less than a cent.
    """
    size, sign = abs(amount), "-" if amount < 0 else ""
    places = 2 if size >= 1 or size == 0 else max(4, 1 - size.adjusted())
    rounded = size.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    return f"{sign}${rounded:,f}"


def parse_decimal(value: object) -> Decimal | None:
    """Read a JSON number or decimal text by its shortest digits; None if not a finite number.

    Every amount that comes from outside is read here, so that money is never computed with floats.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    return number if number.is_finite() else None


def parse_amount(value: object) -> Decimal | None:
    """Read a number as `parse_decimal` does; None also if it is negative."""
    number = parse_decimal(value)
    return None if number is None or number < 0 else number


def parse_token_count(value: object) -> int | None:
    """Read a count as programs write it: 1500, 1500.0 or "1500".

    Returns:
        None for a value that is missing, not a whole number, negative or over `MAX_TOKENS`.
    """
    if isinstance(value, str) and value.isdecimal() and len(value) <= _MAX_TOKEN_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_count(value):
        return None
    return int(value)


def _is_count(number: float) -> bool:
    return 0 <= number <= MAX_TOKENS and number == int(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts that do not overlap: the five main ones add up to the total.

    Vendors disagree on which count includes which; the dialects convert them (in chat completions,
    cached and written tokens are inside `prompt_tokens`, reasoning inside `completion_tokens`).
    """

    input_tokens: int = 0
    """Input that was neither read from nor written to a prompt cache."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    """Output tokens without those of reasoning."""
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """The part of `cache_write_tokens` that was written to be kept for an hour."""

    @property
    def prompt_tokens(self) -> int:
        """All input, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def completion_tokens(self) -> int:
        """All output, including reasoning."""
        return self.output_tokens + self.reasoning_tokens

    @property
    def total_tokens(self) -> int:
        """The sum of the five disjoint counts."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """One of the calls that made a reply: the model's own, a compaction, or an advisor's.

    Each is billed separately, and a long prompt at the price for long prompts.
    """

    usage: Usage
    model: str | None = None
    """The model that was called; None: the one that the reply names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCost:
    """The cost that the provider reports for a reply."""

    usd: Decimal
    text: str
    """The amount as received, digit for digit."""
    is_byok: bool = False
    """Whether the request used the user's own provider key (BYOK); `usd` is then only the fee."""
    upstream_usd: Decimal | None = None
    """What the model's own provider charges; None if not reported. Without BYOK, part of `usd`."""

    @property
    def total_usd(self) -> Decimal:
        """The amount that the user pays in total.

        Routers send `upstream_inference_cost` for every call since 2026; only with a key of the
        user's own does it come on top of `cost` (recordings of 2026-06).
        """
        if self.is_byok and self.upstream_usd is not None:
            return self.usd + self.upstream_usd
        return self.usd


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedUsage:
    """The counts and the cost that a provider has reported up to some point of its reply."""

    usage: Usage | None = None
    iterations: tuple[Iteration, ...] = ()
    """The calls that `usage` is the sum of, if there were several."""
    cost: ReportedCost | None = None
    has_bad_cost: bool = False
    """Whether the reported cost is not an amount: NaN, negative, or beyond all bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCost:
    """Replies whose cost is unknown, wholly or in part, for one reason."""

    replies: int
    reason: str
    """The reason, worded to continue "2 replies …", for example `of an unknown model`."""
    remedy: str = ""
    """A sentence on how to find the cost out; empty if that is impossible."""

    def __str__(self) -> str:
        return f"{self.replies} {'reply' if self.replies == 1 else 'replies'} {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """Return a JSON object of `replies`, `reason` and `remedy`."""
        return {"replies": self.replies, "reason": self.reason, "remedy": self.remedy}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCost:
    """A sum of costs, and what is missing from it: exact if nothing is, otherwise a lower bound."""

    usd: Decimal = _ZERO
    missing: tuple[MissingCost, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every cost in it is known."""
        return not self.missing

    def __add__(self, other: KnownCost) -> KnownCost:
        if not other.missing:
            return KnownCost(usd=self.usd + other.usd, missing=self.missing)
        merged = {(one.reason, one.remedy): one for one in self.missing}
        for one in other.missing:
            key = (one.reason, one.remedy)
            known = merged.get(key)
            replies = one.replies + (known.replies if known else 0)
            merged[key] = MissingCost(replies=replies, reason=one.reason, remedy=one.remedy)
        return KnownCost(usd=self.usd + other.usd, missing=tuple(merged.values()))

    def __str__(self) -> str:
        if self.is_complete:
            return format_usd(self.usd)
        return f"≥ {format_usd(self.usd)} ({', '.join(str(one) for one in self.missing)})"

    def as_json(self) -> dict[str, Any]:
        """Return `cost_usd`, `is_complete` and `missing`; money as decimal text."""
        return {
            "cost_usd": usd_text(self.usd),
            "is_complete": self.is_complete,
            "missing": [one.as_json() for one in self.missing],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier:
    """Prices in USD per token for long prompts; None: the price without the tier applies."""

    min_prompt_tokens: int
    """An exclusive bound: the tier applies to prompts of more tokens than this."""
    prompt: Decimal | None = None
    completion: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ceiling:
    """The dearest prices of one tier."""

    above_tokens: int
    """An exclusive bound: the tier applies to prompts of more tokens than this."""
    prompt: Decimal
    audio: Decimal
    """The same for a prompt with audio."""
    completion: Decimal
    request: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Prices in USD, per token unless a field says otherwise; zero means free."""

    prompt: Decimal
    completion: Decimal
    cache_read: Decimal | None = None
    """The price of tokens read from a prompt cache; None if it is that of other input."""
    cache_write: Decimal | None = None
    """The price of tokens written to a prompt cache; None if it is that of other input."""
    cache_write_1h: Decimal | None = None
    """The price of tokens written to be kept for an hour; None if it is `cache_write`."""
    reasoning: Decimal | None = None
    """The price of reasoning; None if it is that of other output."""
    request: Decimal = _ZERO
    """The price of a request, in addition to its tokens."""
    audio: Decimal | None = None
    """The price of audio input; None if it is that of other input."""
    image_output: Decimal | None = None
    """The price of image output; None if it is that of other output."""
    audio_output: Decimal | None = None
    """The price of audio output; None if it is that of other output."""
    web_search: Decimal | None = None
    """The price of a search by the model's own provider; None if it cannot search."""
    tiers: tuple[PriceTier, ...] = ()
    """The price tiers, in ascending order of `min_prompt_tokens`."""
    version: str = ""
    """The version of the price list that this price comes from."""
    _ceilings: tuple[_Ceiling, ...] = field(default=(), init=False, repr=False, compare=False)
    """What the worst case is reckoned with; found once, since each request reads it."""

    def cost_usd(self, usage: Usage) -> Decimal:
        """Return what a request with these tokens costs at this price, in USD.

        The rule reproduces 109 of 121 costs recorded in 2026 to within 0.1 %: cached and written
        tokens at their own price if there is one, otherwise at that of the prompt.
        """
        tier = self.resolve_tier(usage.prompt_tokens)
        read = tier.prompt if tier.cache_read is None else tier.cache_read
        write = tier.prompt if tier.cache_write is None else tier.cache_write
        write_1h = write if tier.cache_write_1h is None else tier.cache_write_1h
        reasoning = tier.completion if tier.reasoning is None else tier.reasoning
        return (
            usage.input_tokens * tier.prompt
            + usage.cache_read_tokens * read
            + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * write
            + usage.cache_write_1h_tokens * write_1h
            + usage.output_tokens * tier.completion
            + usage.reasoning_tokens * reasoning
            + tier.request
        )

    def worst_case_usd(
        self, prompt_tokens: int, completion_tokens: int, *, has_audio: bool = False
    ) -> Decimal:
        """Return the most that a request of this size can cost in USD, at the dearest prices.

        Args:
            prompt_tokens: an upper bound; with fewer, a cheaper or a dearer tier may apply.
            completion_tokens: an upper bound, including reasoning, images and audio.
            has_audio: whether the input contains audio.
        """
        ceilings = self._ceilings
        if not ceilings:
            ceilings = self._find_ceilings()
            object.__setattr__(self, "_ceilings", ceilings)
        amounts = [
            prompt_tokens * (one.audio if has_audio else one.prompt)
            + completion_tokens * one.completion
            + one.request
            for one in ceilings
            if one.above_tokens < prompt_tokens
        ]
        return amounts[0] if len(amounts) == 1 else max(amounts)

    def _find_ceilings(self) -> tuple[_Ceiling, ...]:
        """Return the dearest prices of each tier, the one for short prompts first."""
        lengths = (-1, *(one.min_prompt_tokens for one in self.tiers))
        return tuple(self.resolve_tier(one + 1)._as_ceiling(one) for one in lengths)  # noqa: SLF001 - a price of this class

    def _as_ceiling(self, above_tokens: int) -> _Ceiling:
        """Return the dearest of these prices, the tiers left aside."""
        dearest_in = max(self.prompt, self.cache_write or _ZERO, self.cache_write_1h or _ZERO)
        return _Ceiling(
            above_tokens=above_tokens,
            prompt=dearest_in,
            audio=dearest_in if self.audio is None else max(dearest_in, self.audio),
            completion=max(
                self.completion,
                self.reasoning or _ZERO,
                self.image_output or _ZERO,
                self.audio_output or _ZERO,
            ),
            request=self.request,
        )

    def resolve_tier(self, prompt_tokens: int) -> Price:
        """Return this price with the tier that a prompt of this length falls into."""
        tier = None
        for one in self.tiers:
            if prompt_tokens > one.min_prompt_tokens:
                tier = one
        if tier is None:
            return self
        return Price(
            prompt=self.prompt if tier.prompt is None else tier.prompt,
            completion=self.completion if tier.completion is None else tier.completion,
            cache_read=self.cache_read if tier.cache_read is None else tier.cache_read,
            cache_write=self.cache_write if tier.cache_write is None else tier.cache_write,
            cache_write_1h=(
                self.cache_write_1h if tier.cache_write_1h is None else tier.cache_write_1h
            ),
            reasoning=self.reasoning,
            request=self.request,
            audio=self.audio,
            image_output=self.image_output,
            audio_output=self.audio_output,
            web_search=self.web_search,
            version=self.version,
        )
