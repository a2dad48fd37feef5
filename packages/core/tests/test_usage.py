"""Tokens add up, prices are exact, and an unknown cost never counts as 0."""

from decimal import Decimal

import pytest
from devflow_core.testing import a_price
from devflow_core.usage import (
    Price,
    ReportedCost,
    Usage,
    from_pico,
    to_pico,
    usd_text,
)
from hypothesis import given
from hypothesis import strategies as st

counts = st.integers(min_value=0, max_value=2_000_000)
usages = st.builds(
    Usage,
    input_tokens=counts,
    cache_read_tokens=counts,
    cache_write_tokens=counts,
    output_tokens=counts,
    reasoning_tokens=counts,
)


@given(st.lists(usages, max_size=5))
def test_totals_add_up_however_usage_is_grouped(many: list[Usage]) -> None:
    total = sum(many, Usage())
    assert total.total_tokens == sum(one.total_tokens for one in many)
    assert total.total_tokens == total.prompt_tokens + total.completion_tokens


@given(usages, usages)
def test_cost_is_linear_below_the_tiers(one: Usage, other: Usage) -> None:
    price = a_price()
    assert price.cost_usd(one + other) == price.cost_usd(one) + price.cost_usd(other)


@given(usages)
def test_no_usage_costs_more_than_its_worst_case(usage: Usage) -> None:
    price = a_price()
    assert price.cost_usd(usage) <= price.worst_case_usd(
        usage.prompt_tokens, usage.completion_tokens
    )


def test_sound_that_goes_in_is_reserved_at_its_price_where_that_is_dearer() -> None:
    price = a_price(audio=Decimal("0.00003"))
    assert price.worst_case_usd(1_000, 0, has_audio=True) == Decimal("0.03")
    assert price.worst_case_usd(1_000, 0) == Decimal("0.00125")
    for audio in (None, Decimal("0.0000005")):  # priced as other input, and cheaper than it
        other = a_price(audio=audio)
        assert other.worst_case_usd(1_000, 0, has_audio=True) == Decimal("0.00125")


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_pico_usd_round_trips(pico: int) -> None:
    assert to_pico(from_pico(pico)) == pico


def test_a_single_token_of_the_cheapest_model_is_not_lost() -> None:
    assert to_pico(3 * Decimal("0.0000001")) == 300_000
    assert usd_text(from_pico(300_000)) == "0.0000003"


@pytest.mark.parametrize(
    ("usd", "text"), [("1E-7", "0.0000001"), ("100", "100"), ("0.10", "0.1"), ("0.000", "0")]
)
def test_money_is_written_as_plain_decimals(usd: str, text: str) -> None:
    assert usd_text(Decimal(usd)) == text


def test_cached_and_written_tokens_have_their_own_prices() -> None:
    price = a_price(cache_write_1h=Decimal("0.000002"), request=Decimal("0.001"))
    usage = Usage(
        input_tokens=10,
        cache_read_tokens=100,
        cache_write_tokens=30,
        cache_write_1h_tokens=10,
        output_tokens=5,
        reasoning_tokens=1,
    )
    assert price.cost_usd(usage) == (
        10 * Decimal("0.000001")
        + 100 * Decimal("0.0000001")
        + 20 * Decimal("0.00000125")
        + 10 * Decimal("0.000002")
        + 6 * Decimal("0.000005")
        + Decimal("0.001")
    )


def test_missing_cache_and_reasoning_prices_fall_back() -> None:
    price = Price(prompt=Decimal(1), completion=Decimal(2), reasoning=Decimal(3))
    usage = Usage(cache_read_tokens=1, cache_write_tokens=1, reasoning_tokens=1)
    assert price.cost_usd(usage) == 5


def test_upstream_cost_counts_only_with_a_key_of_ones_own() -> None:
    cost = ReportedCost(usd=Decimal("0.1"), text="0.1", upstream_usd=Decimal("0.5"))
    assert cost.total_usd == Decimal("0.1")
    assert ReportedCost(
        usd=Decimal("0.1"), text="0.1", upstream_usd=Decimal("0.5"), is_byok=True
    ).total_usd == Decimal("0.6")
    assert ReportedCost(usd=Decimal(0), text="0", is_byok=True).total_usd == 0
