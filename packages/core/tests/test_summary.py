from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import reduce

import pytest
from devflow_core.attribution import Attribution
from devflow_core.dimensions import GROUPINGS, GroupBy
from devflow_core.ledger import LedgerEntry
from devflow_core.summary import EntriesReader, Histogram, Summary, bucket_midpoint_s, bucket_of
from devflow_core.testing import EPOCH, an_attempt, an_entry
from devflow_core.usage import Usage, to_pico
from hypothesis import given
from hypothesis import strategies as st

durations_s = st.floats(min_value=0.001, max_value=3600)


@given(durations_s)
def test_a_bucket_stands_for_its_durations_to_five_percent(seconds: float) -> None:
    assert bucket_midpoint_s(bucket_of(seconds)) == pytest.approx(seconds, rel=0.05)


@given(durations_s, durations_s)
def test_buckets_keep_the_order(one: float, other: float) -> None:
    assert (one <= other) or bucket_of(one) >= bucket_of(other)


def test_what_is_too_short_or_too_long_has_a_bucket() -> None:
    assert bucket_of(0.0) == bucket_of(0.001) == 0
    assert bucket_of(1e300) == 255


def test_a_quantile_is_the_duration_that_so_many_did_not_exceed() -> None:
    histogram = Histogram(counts={bucket_of(0.1): 90, bucket_of(2.0): 10})
    assert histogram.count == 100
    assert histogram.quantile_s(0.5) == pytest.approx(0.1, rel=0.05)
    assert histogram.quantile_s(0.95) == pytest.approx(2.0, rel=0.05)
    assert Histogram().quantile_s(0.5) is None


def test_summaries_add_up() -> None:
    one = Summary(
        requests=2,
        attempts=3,
        errors={"rate_limited": 1},
        usage=Usage(input_tokens=5),
        cost_pico=7,
        total=Histogram(counts={3: 2}),
    )
    other = Summary(
        requests=1,
        attempts=1,
        errors={"rate_limited": 1},
        cache_hits=1,
        usage=Usage(input_tokens=1),
        cost_pico=1,
        estimated_pico=1,
        total=Histogram(counts={3: 1}),
    )
    both = one + other
    assert (both.requests, both.attempts, both.failed, both.cache_hits) == (3, 4, 2, 1)
    assert (both.usage.input_tokens, both.cost_pico, both.estimated_pico) == (6, 8, 1)
    assert both.total.counts == {3: 3}
    assert one + Summary() == one


labels = st.none() | st.sampled_from(["a", "b"])
counts = st.integers(min_value=0, max_value=10_000)
usages = st.builds(
    Usage,
    input_tokens=counts,
    cache_read_tokens=counts,
    cache_write_tokens=counts,
    output_tokens=counts,
    reasoning_tokens=counts,
)
attempts = st.builds(
    an_attempt,
    model=st.sampled_from(["x/one", "y/two"]),
    provider=labels,
    cost_usd=st.decimals(min_value=0, max_value=10, places=12),
    cost_status=st.sampled_from(["settled", "estimated", "void"]),
    usage=usages,
    started_at=st.integers(0, 3).map(lambda days: EPOCH + timedelta(days=days)),
)
entries = st.builds(
    an_entry,
    attempts=st.lists(attempts, max_size=3).map(tuple),
    outcome=st.sampled_from(["succeeded", "failed", "cancelled"]),
    error_code=labels,
    task_type=st.sampled_from(["coding", "math"]),
    ttft_s=st.none() | durations_s,
    total_s=durations_s,
    is_cache_hit=st.booleans(),
    attribution=st.builds(
        Attribution,
        session_id=labels,
        project=labels,
        branch=labels,
        agent=labels,
        client_key=labels,
        node=labels,
    ),
)


def _sum(parts: list[Summary]) -> Summary:
    return reduce(Summary.__add__, parts, Summary())


@given(st.lists(entries, max_size=8), st.lists(st.sampled_from(GROUPINGS), min_size=1, max_size=3))
def test_any_grouping_adds_up_to_the_whole(ledger: list[LedgerEntry], by: list[GroupBy]) -> None:
    whole = _sum(list(EntriesReader(lambda: ledger).aggregate(tuple(by)).values()))
    assert whole == _sum(list(EntriesReader(lambda: ledger).aggregate(GROUPINGS).values()))
    assert whole.requests == len(ledger)
    assert whole.attempts == sum(len(entry.attempts) for entry in ledger)
    assert whole.cost_pico == sum(to_pico(entry.cost_usd) for entry in ledger)
    assert whole.usage == reduce(Usage.__add__, (entry.usage for entry in ledger), Usage())
    assert whole.failed == sum(entry.outcome != "succeeded" for entry in ledger)


def test_a_fallback_costs_at_its_own_model_and_counts_once() -> None:
    first = an_attempt(
        model="x/one", cost_usd=Decimal("0.5"), cost_status="estimated", outcome="failed"
    )
    entry = an_entry(attempts=(first, an_attempt(model="y/two")))
    groups = EntriesReader(lambda: [entry]).aggregate(("model",))
    one, two = groups["x/one",], groups["y/two",]
    assert (one.requests, one.attempts, one.retry_pico) == (0, 1, 500_000_000_000)
    assert one.estimated_pico == one.cost_pico
    assert one.retry_usage == first.usage
    assert (two.requests, two.attempts, two.retry_pico) == (1, 1, 0)
    assert one.total.count == 0
    assert two.total.count == 1


def test_a_time_is_inclusive_at_its_start_and_exclusive_at_its_end() -> None:
    later = replace(an_attempt(), started_at=EPOCH + timedelta(days=1))
    reader = EntriesReader(lambda: [an_entry(), an_entry(attempts=(later,)), an_entry(attempts=())])
    assert set(reader.aggregate(("day",), since=later.started_at)) == {("2026-11-22",)}
    assert reader.aggregate(("day",), until=later.started_at)["2026-11-21",].requests == 2
