import pytest
from devflow_core.summary import Histogram, Summary, bucket, bucket_s
from devflow_core.usage import Usage
from hypothesis import given
from hypothesis import strategies as st

durations_s = st.floats(min_value=0.001, max_value=3600)


@given(durations_s)
def test_a_bucket_stands_for_its_durations_to_five_percent(seconds: float) -> None:
    assert bucket_s(bucket(seconds)) == pytest.approx(seconds, rel=0.05)


@given(durations_s, durations_s)
def test_buckets_keep_the_order(one: float, other: float) -> None:
    assert (one <= other) or bucket(one) >= bucket(other)


def test_what_is_too_short_or_too_long_has_a_bucket() -> None:
    assert bucket(0.0) == bucket(0.001) == 0
    assert bucket(1e300) == 255


def test_a_quantile_is_the_duration_that_so_many_did_not_exceed() -> None:
    histogram = Histogram(counts={bucket(0.1): 90, bucket(2.0): 10})
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
