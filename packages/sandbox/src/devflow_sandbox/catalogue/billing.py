"""What a call costs: own arithmetic over the catalogue's prices, exact, in Decimal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

_ZERO = Decimal(0)
_ONE = Decimal(1)

BYOK_FEE = Decimal("0.05")
"""The share of the list price that a call over one's own provider key costs."""


def decimal_text(usd: Decimal) -> str:
    """Plain decimal text, no exponent, no zeros behind."""
    text = format(usd, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def to_json_number(usd: Decimal) -> orjson.Fragment:
    """The exact amount as a JSON number; a client that keeps the text loses nothing."""
    return orjson.Fragment(decimal_text(usd).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledTokens:
    """Counts as OpenRouter reports them, one inside the other."""

    prompt: int = 0
    """All input, cached and written ones included."""
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    """Of `written`, those kept for an hour."""
    completion: int = 0
    """All output, reasoning included."""
    reasoning: int = 0
    audio_in: int = 0
    """Of `prompt`, those of sound."""
    image_out: int = 0
    """Of `completion`, those of images, which come after the text."""
    audio_out: int = 0
    """Of `completion`, those of sound, which come after the text."""
    window: int | None = None
    """The longest prompt of those that a loop of tools sends, which prices go by; None: all."""

    def truncate(self, share: float) -> BilledTokens:
        """The same prompt with that share of the completion, rounded up."""
        completion = -int(-self.completion * share // 1) if share < 1 else self.completion
        lost = self.completion - completion
        return replace(
            self,
            completion=completion,
            reasoning=min(self.reasoning, completion),
            image_out=max(0, self.image_out - lost),
            audio_out=max(0, self.audio_out - lost),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The cost of one call in USD."""

    prompt: Decimal = _ZERO
    completion: Decimal = _ZERO
    provider_fees: Decimal = _ZERO
    """What the provider charges beside tokens: requests, searches of its own."""
    fees: Decimal = _ZERO
    """OpenRouter's own services: searches, pages of PDFs, models that a tool asked."""
    byok_fee: Decimal | None = None
    """With a provider key of the user's own: all that OpenRouter takes; None without one."""

    @property
    def inference(self) -> Decimal:
        """What the provider charges in all."""
        return self.prompt + self.completion + self.provider_fees

    @property
    def total(self) -> Decimal:
        """What is taken from the credits: `cost` on the wire."""
        if self.byok_fee is not None:
            return self.byok_fee
        return self.inference + self.fees


NO_TOKENS = BilledTokens()
NO_CHARGE = Charge()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """One `pricing` object, USD per token (per request, per search)."""

    prompt: Decimal
    completion: Decimal
    cache_read: Decimal | None = None
    """None: cached tokens cost what others cost, also where a long prompt makes those dearer."""
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    request: Decimal = _ZERO
    web_search: Decimal | None = None
    """A search by the provider's own engine; None: it has none."""
    audio: Decimal | None = None
    """Sound in the prompt; None: as other tokens. Likewise the next two, in the reply."""
    image_output: Decimal | None = None
    audio_output: Decimal | None = None
    overrides: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_unknown(self) -> bool:
        """Routers are listed at -1: who answers, and so the price, is decided by the call."""
        return self.prompt < 0

    @property
    def is_free(self) -> bool:
        """Every token at zero."""
        return self.prompt == 0 and self.completion == 0

    @classmethod
    def from_pricing(cls, pricing: Mapping[str, Any]) -> Prices:
        """From the catalogue."""
        return cls(
            **_read_overrides(pricing),
            request=Decimal(pricing.get("request") or 0),
            web_search=_read_optional(pricing, "web_search"),
            audio=_read_optional(pricing, "audio"),
            image_output=_read_optional(pricing, "image_output"),
            audio_output=_read_optional(pricing, "audio_output"),
            overrides=tuple(pricing.get("overrides") or ()),
        )

    def resolve_overrides(self, prompt_tokens: int, now_s: float) -> Prices:
        """The prices for a prompt of this length at this time (`pricing.overrides`)."""
        prices = self
        for override in self.overrides:
            if _applies(override, prompt_tokens, now_s):
                prices = replace(prices, **_read_overrides(override))
        return prices

    def charge(
        self,
        tokens: BilledTokens,
        now_s: float = 0.0,
        *,
        provider_fees: Decimal = _ZERO,
        fees: Decimal = _ZERO,
        byok_fee_share: Decimal | None = None,
        factor: Decimal = _ONE,
    ) -> Charge:
        """The cost of so many tokens, at list price or as a share of it for one's own key.

        `factor` is that of the tier, for tokens alone.

        The rule that reproduces the recorded costs; where cached and written tokens overlap (seen
        at Gemini), the rest is not below zero.
        """
        window = tokens.prompt if tokens.window is None else tokens.window
        prices = self.resolve_overrides(window, now_s) if self.overrides else self
        prompt = prices.charge_prompt(tokens) * factor
        completion = prices.charge_completion(tokens) * factor
        byok = None if byok_fee_share is None else byok_fee_share * (prompt + completion) + fees
        return Charge(
            prompt=prompt,
            completion=completion,
            provider_fees=prices.request + provider_fees,
            fees=fees,
            byok_fee=byok,
        )

    def charge_prompt(self, tokens: BilledTokens) -> Decimal:
        """The prompt at these prices, whatever its length."""
        plain = max(0, tokens.prompt - tokens.cached - tokens.written)
        sound = min(tokens.audio_in, plain) if self.audio is not None else 0
        read = self.prompt if self.cache_read is None else self.cache_read
        write = self.prompt if self.cache_write is None else self.cache_write
        write_1h = write if self.cache_write_1h is None else self.cache_write_1h
        return (
            (plain - sound) * self.prompt
            + sound * (self.audio or _ZERO)
            + tokens.cached * read
            + (tokens.written - tokens.written_1h) * write
            + tokens.written_1h * write_1h
        )

    def charge_completion(self, tokens: BilledTokens) -> Decimal:
        """The completion at these prices: text, images and sound at their own."""
        image = self.completion if self.image_output is None else self.image_output
        sound = self.completion if self.audio_output is None else self.audio_output
        plain = tokens.completion - tokens.image_out - tokens.audio_out
        return plain * self.completion + tokens.image_out * image + tokens.audio_out * sound


_OVERRIDABLE = {
    "prompt": "prompt",
    "completion": "completion",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "input_cache_write_1h": "cache_write_1h",
}


def _read_optional(pricing: Mapping[str, Any], name: str) -> Decimal | None:
    return None if pricing.get(name) is None else Decimal(pricing[name])


def _read_overrides(override: Mapping[str, Any]) -> dict[str, Decimal]:
    return {
        ours: Decimal(override[theirs])
        for theirs, ours in _OVERRIDABLE.items()
        if override.get(theirs) is not None
    }


def _applies(override: Mapping[str, Any], prompt_tokens: int, now_s: float) -> bool:
    min_tokens = override.get("min_prompt_tokens")
    if min_tokens is not None and prompt_tokens <= min_tokens:
        return False
    start, end = override.get("utc_start"), override.get("utc_end")
    if start is None or end is None:
        return True
    now = datetime.fromtimestamp(now_s, UTC)
    days = override.get("utc_days")
    if days and now.isoweekday() % 7 not in days:
        return False
    minute = now.hour * 100 + now.minute
    low, high = int(start), int(end)
    return low <= minute < high if low <= high else minute >= low or minute < high
