"""OpenRouter's `pricing` objects as prices."""

from decimal import Decimal

import pytest
from devflow_core.usage import Usage
from devflow_openrouter.pricing import parse_price

PRICING = {
    "prompt": "0.000003",
    "completion": "0.000015",
    "input_cache_read": "0.0000003",
    "input_cache_write": "0.00000375",
    "input_cache_write_1h": "0.000006",
    "internal_reasoning": "0",
    "request": "0.005",
    "overrides": [
        {"min_prompt_tokens": 200_000, "prompt": "0.000006", "completion": "0.0000225"},
        {"utc_start": "0900", "prompt": "0.1"},
        {
            "min_prompt_tokens": 100_000,
            "input_cache_read": "0.0000004",
            "input_cache_write": "0.000004",
            "input_cache_write_1h": "0.000008",
        },
    ],
}


def test_a_catalogue_price_with_tiers() -> None:
    price = parse_price(PRICING, version="v")
    assert price is not None
    assert price.reasoning is None
    assert [tier.min_prompt_tokens for tier in price.tiers] == [100_000, 200_000]
    assert price.cost_usd(Usage(input_tokens=200_000)) == Decimal("0.605")
    assert price.cost_usd(Usage(input_tokens=200_001)) == Decimal("1.205006")
    assert price.cost_usd(Usage(cache_read_tokens=150_000)) == Decimal("0.065")


@pytest.mark.parametrize(
    "pricing",
    [
        {},
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0.1"},
        {"prompt": "NaN", "completion": "0"},
        {"prompt": "cheap", "completion": "0"},
        {"prompt": True, "completion": "0"},
        {"prompt": None, "completion": "0"},
    ],
)
def test_what_is_not_known_is_unknown_and_not_free(pricing: dict[str, object]) -> None:
    assert parse_price(pricing) is None


def test_reasoning_at_the_price_of_output_follows_it_into_the_tiers() -> None:
    price = parse_price({**PRICING, "internal_reasoning": "0.000015"})
    assert price is not None
    assert price.reasoning is None
    long = Usage(input_tokens=200_001, reasoning_tokens=1)
    assert price.cost_usd(long) - price.cost_usd(Usage(input_tokens=200_001)) == Decimal(
        "0.0000225"
    )
    other = parse_price({**PRICING, "internal_reasoning": "0.00002"})
    assert other is not None
    assert other.reasoning == Decimal("0.00002")
