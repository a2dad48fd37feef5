"""Reads OpenRouter's `pricing` objects as prices."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from devflow_core.usage import Price, PriceTier, parse_amount

_ZERO = Decimal(0)


def parse_price(pricing: Mapping[str, Any], *, version: str = "") -> Price | None:
    """Return the price of a `pricing` object.

    None if prompt or completion is missing, not a number or negative. Routers (`openrouter/auto`…)
    are listed at -1: unknown before the call. Time windows in `overrides` (`utc_start`) are left
    out of the tiers, since only the provider's clock at the call decides them; the reported cost
    then differs from our estimate, and the reported one is booked.

    Raises:
        AttributeError, OverflowError, TypeError, ValueError: an override is malformed.
    """
    prompt, completion = (
        parse_amount(pricing.get("prompt")),
        parse_amount(pricing.get("completion")),
    )
    if prompt is None or completion is None:
        return None
    reasoning = parse_amount(pricing.get("internal_reasoning"))
    overrides: list[Mapping[str, Any]] = pricing.get("overrides") or []
    tiers = (_parse_tier(one) for one in overrides if one.get("min_prompt_tokens") is not None)
    return Price(
        prompt=prompt,
        completion=completion,
        cache_read=parse_amount(pricing.get("input_cache_read")),
        cache_write=parse_amount(pricing.get("input_cache_write")),
        cache_write_1h=parse_amount(pricing.get("input_cache_write_1h")),
        # None makes reasoning follow the price of other output, including in the tiers
        reasoning=None if reasoning in (None, _ZERO, completion) else reasoning,
        request=parse_amount(pricing.get("request")) or _ZERO,
        audio=parse_amount(pricing.get("audio")),
        image_output=parse_amount(pricing.get("image_output")),
        audio_output=parse_amount(pricing.get("audio_output")),
        web_search=parse_amount(pricing.get("web_search")),
        tiers=tuple(sorted(tiers, key=lambda tier: tier.min_prompt_tokens)),
        version=version,
    )


def _parse_tier(override: Mapping[str, Any]) -> PriceTier:
    return PriceTier(
        min_prompt_tokens=int(override["min_prompt_tokens"]),
        prompt=parse_amount(override.get("prompt")),
        completion=parse_amount(override.get("completion")),
        cache_read=parse_amount(override.get("input_cache_read")),
        cache_write=parse_amount(override.get("input_cache_write")),
        cache_write_1h=parse_amount(override.get("input_cache_write_1h")),
    )
