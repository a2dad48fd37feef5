"""A reported cost is booked unless it is impossible; an estimate is at least what was used."""

from decimal import Decimal
from typing import Any

import pytest
from devflow_core.errors import Incomplete
from devflow_core.estimates import AssessedCost, Ending, SeenReply, assess_cost
from devflow_core.events import (
    Event,
    Finished,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.testing import a_candidate, a_cost, a_price, a_usage
from devflow_core.usage import ReportedUsage, Usage
from devflow_core.wire.openai_usage import usage_from_openai
from devflow_core.wire.usage import parse_cost
from hypothesis import given
from hypothesis import strategies as st

PRICE = a_price()
IN, OUT = PRICE.prompt, PRICE.completion


def assess(*events: Event, error: BaseException | None = None, **changes: Any) -> AssessedCost:
    bills_on = changes.pop("bills_on", False)
    candidate = a_candidate(input_tokens=700, **changes)
    seen = SeenReply()
    for event in events:
        seen.add(event)
    return assess_cost(
        Ending(
            candidate=candidate,
            model=candidate.model,
            price=candidate.price,
            reserved_usd=candidate.worst_case_usd,
            seen=seen,
            error=error,
            bills_on=lambda _provider: bills_on,
            provider="Anthropic",
        )
    )


def told(usage: Usage | None = None, cost: str | None = None) -> ReportedUsage:
    return ReportedUsage(usage=usage, cost=None if cost is None else a_cost(cost))


def test_a_cost_that_was_told_counts_although_the_reply_failed() -> None:
    end = Opaque(kind="usage", reported=told(a_usage(), "0.0003"))
    cost = assess(Started(), end, error=Incomplete("cut"), bills_on=True)
    assert (cost.status, cost.usd, cost.text) == ("settled", Decimal("0.0003"), "0.0003")


def test_counts_of_the_beginning_are_completed_by_what_came() -> None:
    begun = Started(reported=told(Usage(input_tokens=90, cache_read_tokens=10, output_tokens=1)))
    cost = assess(begun, TextDelta(text="x" * 36), error=Incomplete("cut"))
    assert cost.usage == Usage(input_tokens=90, cache_read_tokens=10, output_tokens=15)
    assert cost.usd == 90 * IN + 10 * Decimal("0.0000001") + 15 * OUT
    assert cost.is_usage_estimated


def test_counts_that_are_followed_by_more_are_not_those_of_the_whole() -> None:
    early = Opaque(kind="usage", reported=told(Usage(input_tokens=9, output_tokens=1)))
    more = TextDelta(text="x" * 360)
    end = Finished(finish_reason="stop", usage=early.reported.usage if early.reported else None)
    cost = assess(Started(), early, more, end)
    assert cost.usage == Usage(input_tokens=9, output_tokens=146)
    late = assess(Started(), more, early, end)
    assert late.usage.output_tokens == 146  # one token for 360 letters: no count of the whole


def test_counts_that_fit_the_text_are_believed() -> None:
    end = Finished(finish_reason="stop", usage=Usage(input_tokens=9, output_tokens=60))
    cost = assess(Started(), TextDelta(text="x" * 360), end, bills_on=True)
    assert (cost.status, cost.usd) == ("estimated", 9 * IN + 60 * OUT)
    assert not cost.is_usage_estimated


@pytest.mark.parametrize("bills_on", [True, False])
def test_a_whole_reply_without_counts_costs_its_text_wherever_it_came_from(bills_on: bool) -> None:
    end = Finished(finish_reason="stop")
    cost = assess(Started(), TextDelta(text="x" * 36), end, bills_on=bills_on)
    assert cost.usd == Decimal("0.005") + 15 * OUT  # the input's share of what was held
    assert cost.usd < Decimal("0.01")


def test_what_is_held_for_a_provider_that_charges_on_can_be_given_back_later() -> None:
    events = (Started(), TextDelta(text="x" * 36))
    cost = assess(*events, error=Incomplete("cut"), bills_on=True)
    assert cost.usd == Decimal("0.01")
    assert cost.observed_usd == assess(*events, error=Incomplete("cut")).usd < cost.usd
    nothing = assess(error=Incomplete("cut"), bills_on=True)
    assert nothing.observed_usd == Decimal("0.005")


@pytest.mark.parametrize(
    ("told_cost", "more", "doubt"),
    [
        ("0", {}, "zero"),
        ("0", {"upstream_usd": Decimal("0.0002")}, "zero"),
        ("0", {"is_byok": True, "upstream_usd": Decimal("0.0002")}, None),
        ("0.0001", {"upstream_usd": Decimal("0.0002")}, "below_upstream"),
        ("0.0002", {"upstream_usd": Decimal("0.0002")}, None),
        ("0.02", {}, "above_reserve"),
    ],
)
def test_costs_that_cannot_be(told_cost: str, more: dict[str, Any], doubt: str | None) -> None:
    end = Finished(finish_reason="stop", usage=a_usage(), cost=a_cost(told_cost, **more))
    cost = assess(Started(), TextDelta(text="Hi"), end)
    assert cost.doubt == doubt
    assert cost.status == ("estimated" if doubt else "settled")
    # never less than the counts say, or than was told
    assert cost.usd >= (Decimal(told_cost) if doubt == "above_reserve" else Decimal("0.0002"))


@pytest.mark.parametrize(
    "free",
    [
        {"usage": Usage(), "why": "given again by the provider's own cache"},
        {"usage": Usage(input_tokens=100), "why": "nothing came, so nothing is charged"},
        {"price": a_price(prompt=Decimal(0), completion=Decimal(0)), "why": "a free model"},
        {"price": None, "why": "nobody knows what it costs"},
    ],
    ids=lambda one: str(one["why"]),
)
def test_nothing_may_be_the_price(free: dict[str, Any]) -> None:
    end = Finished(finish_reason="stop", usage=free.get("usage", a_usage()), cost=a_cost("0"))
    price = {"price": free["price"]} if "price" in free else {}
    assert assess(Started(), end, **price).doubt is None


def test_no_recorded_reply_tells_a_cost_that_cannot_be(recordings: list[dict[str, Any]]) -> None:
    looked_at = 0
    for one in recordings:
        body: Any = one["body"]
        usage: dict[str, Any] = {} if isinstance(body, str) else body.get("usage") or {}
        counts = usage_from_openai(usage)
        if counts is None or "cost" not in usage:
            continue
        end = Finished(finish_reason="stop", usage=counts, cost=parse_cost(usage, b""))
        assert assess(Started(), end, worst_case_usd=None).doubt is None, one["source"]
        looked_at += 1
    assert looked_at > 10


texts = st.text(max_size=60)
events = st.one_of(
    texts.map(lambda text: TextDelta(text=text)),
    texts.map(lambda text: ReasoningDelta(text=text)),
    texts.map(lambda text: ReasoningDelta(encrypted=text)),
    texts.map(lambda text: ToolCallDelta(index=0, name="f", arguments=text)),
    st.just(Opaque(kind="image", is_content=True)),
    st.just(Opaque(kind="ping")),
    st.builds(Usage, output_tokens=st.integers(0, 50)).map(
        lambda usage: Opaque(kind="usage", reported=told(usage))
    ),
)


@given(st.lists(events, max_size=12), st.booleans(), st.booleans(), st.booleans())
def test_an_estimate_lies_between_what_is_known_and_what_was_held(
    given_events: list[Event], is_whole: bool, bills_on: bool, has_fees: bool
) -> None:
    came: list[Event] = [Started(), *given_events]
    came += [Finished(finish_reason="stop")] if is_whole else []
    error = None if is_whole else Incomplete("cut")
    cost = assess(*came, error=error, bills_on=bills_on, has_fees=has_fees)
    pieces = sum(
        bool(one.text) for one in given_events if isinstance(one, TextDelta | ReasoningDelta)
    )
    known = 700 * IN + pieces * OUT
    assert cost.status == "estimated"
    assert cost.observed_usd is not None
    assert min(known, Decimal("0.01")) <= cost.observed_usd <= cost.usd <= Decimal("0.01")
    assert cost.usage.input_tokens == 700
    assert cost.usage.completion_tokens >= pieces
