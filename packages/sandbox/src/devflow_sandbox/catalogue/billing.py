"""Computes the cost of a call from the catalogue's prices, exactly, in Decimal."""

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
"""The share of the list price that a call costs with the user's own provider key."""


def decimal_text(usd: Decimal) -> str:
    """Return plain decimal text, without exponent or trailing zeros."""
    text = format(usd, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def to_json_number(usd: Decimal) -> orjson.Fragment:
    """Return the amount as a JSON number with every digit, for `orjson.dumps`.

    `json` cannot encode the result.
    """
    return orjson.Fragment(decimal_text(usd).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledTokens:
    """Token counts as OpenRouter reports them; some include others."""

    prompt: int = 0
    """All input, including cached and written tokens."""
    cached: int = 0
    """The part of `prompt` read from the prompt cache."""
    written: int = 0
    """The part of `prompt` written to the prompt cache."""
    written_1h: int = 0
    """The part of `written` that is kept for an hour."""
    completion: int = 0
    """All output, including reasoning, images and audio."""
    reasoning: int = 0
    audio_in: int = 0
    """The audio part of `prompt`."""
    image_out: int = 0
    """The image part of `completion`, generated after the text."""
    audio_out: int = 0
    """The audio part of `completion`, generated after the text."""
    window: int | None = None
    """The longest prompt of a tool loop, which decides the price tier; None: that of `prompt`."""

    def truncate(self, share: float) -> BilledTokens:
        """Return the counts with only this share (0..1) of the completion, rounded up."""
        completion = -int(-self.completion * share // 1) if share < 1 else self.completion
        # images and audio come after the text, so a cut takes them first
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
    """Provider charges other than tokens: requests, its own searches."""
    fees: Decimal = _ZERO
    """OpenRouter's own services: searches, PDF pages, models called by a tool."""
    byok_fee: Decimal | None = None
    """The fee for a call with the user's own provider key, the only charge then; otherwise None."""

    @property
    def inference(self) -> Decimal:
        """Everything the provider charges."""
        return self.prompt + self.completion + self.provider_fees

    @property
    def total(self) -> Decimal:
        """The amount taken from the credits; `cost` in the usage of a reply."""
        if self.byok_fee is not None:
            return self.byok_fee
        return self.inference + self.fees


NO_TOKENS = BilledTokens()
NO_CHARGE = Charge()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """One `pricing` object, in USD per token (per request, per search)."""

    prompt: Decimal
    """The prompt's price; -1 for routers, whose price depends on the model that answers."""
    completion: Decimal
    cache_read: Decimal | None = None
    """The price of cached tokens; None: as other tokens, even where a long prompt costs more."""
    cache_write: Decimal | None = None
    """The price of tokens written to the cache; None: as other tokens."""
    cache_write_1h: Decimal | None = None
    """The price of tokens written for an hour; None: as `cache_write`."""
    request: Decimal = _ZERO
    """The price of a call, whatever its length."""
    web_search: Decimal | None = None
    """The price of a search by the provider's own engine; None if it has none."""
    audio: Decimal | None = None
    """The price of audio in the prompt; None: as other tokens. The next two are for the reply."""
    image_output: Decimal | None = None
    audio_output: Decimal | None = None
    overrides: tuple[Mapping[str, Any], ...] = ()
    """Other prices for long prompts or certain times, as the catalogue gives them."""

    @property
    def is_free(self) -> bool:
        """Whether every token is free."""
        return self.prompt == 0 and self.completion == 0

    @classmethod
    def from_pricing(cls, pricing: Mapping[str, Any]) -> Prices:
        """Read a `pricing` object of the catalogue."""
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
        """Return the prices for a prompt of this length at this time (`pricing.overrides`)."""
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
        """Return the cost of tokens, at list price or as a share of it with the user's own key.

        This rule reproduces the recorded costs. Where cached and written tokens overlap (seen with
        Gemini), the plain rest is 0, not negative.

        Args:
            tokens: the tokens of the call.
            now_s: Unix time of the call, which may decide the prices.
            provider_fees: what the provider charges besides tokens and request.
            fees: what OpenRouter's own services cost.
            byok_fee_share: share of the list price with the user's own key; None without one.
            factor: that of the service tier; it applies to tokens alone.
        """
        # the price tier goes by the longest single prompt, not by the sum over a tool loop
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
        """Return the cost of the prompt in USD at these prices, regardless of its length."""
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
        """Return the cost of the completion in USD: text, images and audio, each at its price."""
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
    # the boundary itself is still at the lower price
    min_tokens = override.get("min_prompt_tokens")
    if min_tokens is not None and prompt_tokens <= min_tokens:
        return False
    start, end = override.get("utc_start"), override.get("utc_end")
    if start is None or end is None:
        return True
    now = datetime.fromtimestamp(now_s, UTC)
    days = override.get("utc_days")
    # the catalogue counts days from Sunday, 0
    if days and now.isoweekday() % 7 not in days:
        return False
    minute = now.hour * 100 + now.minute
    low, high = int(start), int(end)
    # a window may cross midnight
    return low <= minute < high if low <= high else minute >= low or minute < high
