from collections.abc import Iterable
from decimal import Decimal

from devflow_analytics.recommendations import SESSION_GROUPING, TASK_GROUPING, recommend
from devflow_analytics.report import Recommendation
from devflow_core.attribution import Attribution
from devflow_core.ledger import LedgerEntry, Outcome
from devflow_core.summary import EntriesReader
from devflow_core.testing import a_price, an_attempt, an_entry
from devflow_core.usage import Price, Usage

PRICES = {
    "w/dearer": a_price(prompt=Decimal("0.00001")),
    "x/dear": a_price(),
    "y/cheap": a_price(prompt=Decimal("0.0000002"), completion=Decimal("0.000001")),
    "z/uncached": a_price(cache_read=None),
}
TOKENS = Usage(input_tokens=1_000, output_tokens=500)


def advice(*groups: Iterable[LedgerEntry]) -> tuple[Recommendation, ...]:
    entries = [entry for group in groups for entry in group]
    price_of: dict[str, Price] = PRICES
    ledger = EntriesReader(lambda: entries)
    by_task, by_session = ledger.aggregate(TASK_GROUPING), ledger.aggregate(SESSION_GROUPING)
    return recommend(by_task, by_session, price_of.get)


def requests(
    number: int,
    model: str,
    *,
    usage: Usage = TOKENS,
    error: str | None = None,
    task: str = "coding",
    session: str | None = None,
) -> list[LedgerEntry]:
    price = PRICES.get(model, a_price())
    outcome: Outcome = "failed" if error else "succeeded"
    attempt = an_attempt(model=model, usage=usage, cost_usd=price.cost_usd(usage), outcome=outcome)
    entry = an_entry(
        attempts=(attempt,),
        outcome=outcome,
        error_code=error,
        task_type=task,
        attribution=Attribution(session_id=session),
    )
    return [entry] * number


def test_a_cheaper_model_that_succeeds_as_often_is_named_with_the_money() -> None:
    (one,) = advice(requests(100, "x/dear"), requests(100, "y/cheap"))
    # 100 times 1000 · (1e-6 - 2e-7) + 500 · (5e-6 - 1e-6)
    assert one.saves_usd == Decimal("0.28")
    assert "Try y/cheap for coding" in one.text
    assert "x/dear (100 % of 100)" in one.text


def test_one_line_names_every_model_that_is_to_be_replaced() -> None:
    (one,) = advice(*(requests(100, model) for model in ("x/dear", "w/dearer", "y/cheap")))
    assert "w/dearer" in one.text
    assert "x/dear" in one.text


def test_few_requests_prove_nothing() -> None:
    assert advice(requests(100, "x/dear"), requests(29, "y/cheap")) == ()
    assert advice(requests(29, "x/dear"), requests(100, "y/cheap")) == ()


def test_a_cheaper_model_that_fails_more_often_is_not_recommended() -> None:
    failing = requests(20, "y/cheap", error="upstream_incomplete", usage=Usage())
    assert advice(requests(100, "x/dear"), requests(80, "y/cheap"), failing) == ()


def test_what_the_caller_did_is_not_held_against_a_model() -> None:
    cancelled = requests(40, "y/cheap", error="CancelledError", usage=Usage())
    (one,) = advice(requests(100, "x/dear"), requests(100, "y/cheap"), cancelled)
    assert "Try y/cheap" in one.text


def test_models_are_compared_on_the_same_task_only() -> None:
    assert advice(requests(100, "x/dear"), requests(100, "y/cheap", task="math")) == ()


LONG = Usage(input_tokens=20_000, output_tokens=10)


def test_a_prompt_cache_that_never_hits_is_priced() -> None:
    (one,) = advice(requests(10, "x/dear", usage=LONG, session="s1", task=""))
    # of 200000 input tokens 160000 repeat: 0.2 - (160000 · 1e-7 + 40000 · 1e-6)
    assert one.saves_usd == Decimal("0.144")
    assert "session s1" in one.text
    assert "1 session at x/dear" in one.text


def test_a_cache_that_is_written_each_turn_costs_more_than_none() -> None:
    written = Usage(cache_write_tokens=20_000, output_tokens=10)
    (one,) = advice(requests(10, "x/dear", usage=written, session="s1"))
    assert one.saves_usd == Decimal("0.25") - Decimal("0.016") - 40_000 * Decimal("0.00000125")


def test_a_working_cache_is_left_alone() -> None:
    read = Usage(input_tokens=2_000, cache_read_tokens=18_000, output_tokens=10)
    assert advice(requests(10, "x/dear", usage=read, session="s1")) == ()


def test_without_a_cached_price_a_session_or_enough_turns_no_cache_is_reported() -> None:
    assert advice(requests(10, "z/uncached", usage=LONG, session="s1")) == ()
    assert advice(requests(10, "nobody/knows", usage=LONG, session="s1")) == ()
    assert advice(requests(10, "x/dear", usage=LONG)) == ()
    assert advice(requests(3, "x/dear", usage=LONG, session="s1")) == ()
    assert advice(requests(10, "x/dear", session="s1")) == ()


def test_a_loop_of_retries_is_named_with_its_price_and_its_session() -> None:
    retried = an_attempt(model="x/dear", outcome="failed", cost_usd=Decimal("0.02"))
    entry = an_entry(
        attempts=(retried, retried, an_attempt(model="x/dear", cost_usd=Decimal("0.02"))),
        attribution=Attribution(session_id="s9"),
    )
    (one,) = advice([entry])
    assert one.saves_usd == Decimal("0.04")
    assert "66.7 %" in one.text
    assert "session s9 ($0.0400)" in one.text


def test_failures_that_were_billed_are_waste_and_cancelled_ones_are_not() -> None:
    (one,) = advice(requests(10, "x/dear", error="upstream_incomplete", task=""))
    assert one.saves_usd == Decimal("0.035")
    assert "session" not in one.text
    assert advice(requests(10, "x/dear", error="CancelledError")) == ()


def test_the_most_money_comes_first() -> None:
    found = advice(
        requests(10, "x/dear", usage=LONG, session="s1"),
        requests(100, "x/dear"),
        requests(100, "y/cheap"),
        requests(10, "x/dear", error="upstream_timeout"),
    )
    assert len(found) >= 2
    assert [one.saves_usd for one in found] == sorted((o.saves_usd for o in found), reverse=True)
