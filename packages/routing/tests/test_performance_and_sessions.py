"""What past requests say of models and sessions: folds over entries."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.testing import EPOCH, an_attempt, an_entry
from devflow_core.usage import Usage
from devflow_routing import PerformanceTracker, SessionTracker
from devflow_routing.trackers.performance import MAX_REST_S


def attempt(seconds: float = 0.0, **changes: Any) -> Attempt:
    known = {
        "model": "a/one",
        "started_at": EPOCH + timedelta(seconds=seconds),
        "usage": Usage(output_tokens=100),
        "ttft_s": 0.5,
        "total_s": 2.5,
    }
    return an_attempt(**{**known, **changes})


def entry(*attempts: Attempt, **changes: Any) -> LedgerEntry:
    return an_entry(**{"attempts": attempts, **changes})


def test_speed_and_success_are_drawn_from_attempts() -> None:
    tracker = PerformanceTracker()
    for _ in range(30):
        tracker.record(entry(attempt()))
    known = tracker.snapshot("a/one")
    assert known is not None
    assert known.success_rate == pytest.approx((30 + 49) / 80)
    assert known.ttft_p50_s == pytest.approx(0.5, rel=0.1)
    assert known.ttft_p95_s == known.ttft_p50_s
    assert known.output_tokens_per_s == pytest.approx(50)
    assert tracker.snapshot("a/two") is None
    assert tuple(tracker.view(as_of=EPOCH).known) == ("a/one",)
    assert tracker.version == "30"


def test_a_fallback_teaches_about_both_models() -> None:
    tracker = PerformanceTracker()
    failed = attempt(outcome="failed", error_code="rate_limited", model="a/busy")
    tracker.record(entry(failed, attempt()))
    busy, fine = tracker.snapshot("a/busy"), tracker.snapshot("a/one")
    assert busy is not None
    assert fine is not None
    assert busy.success_rate < fine.success_rate
    assert busy.ttft_p50_s is None


def test_what_is_not_the_models_fault_teaches_nothing() -> None:
    tracker = PerformanceTracker()
    tracker.record(entry(attempt(outcome="cancelled")))
    for code in (
        "circuit_open",
        "machine_exhausted",
        "upstream_disconnected",
        "upstream_key_refused",
        "upstream_keys_rest",
        "upstream_payment_required",
        "upstream_refused",
        "upstream_rejected",
        "upstream_unreachable",
        "context_length_exceeded",
    ):
        tracker.record(entry(attempt(outcome="failed", error_code=code)))
    assert tuple(tracker.view(as_of=EPOCH).known) == ()


def failure(seconds: float) -> LedgerEntry:
    return entry(attempt(seconds, outcome="failed", error_code="upstream_overloaded"))


def is_resting(tracker: PerformanceTracker, seconds: float) -> bool:
    known = tracker.snapshot("a/one", as_of=EPOCH + timedelta(seconds=seconds))
    assert known is not None
    return known.is_resting


def test_one_failure_is_forgiven_after_a_short_rest() -> None:
    tracker = PerformanceTracker()
    tracker.record(failure(0))
    assert is_resting(tracker, 29)
    assert not is_resting(tracker, 31)
    known = tracker.snapshot("a/one", as_of=EPOCH + timedelta(seconds=31))
    assert known is not None
    assert known.success_rate == pytest.approx(0.98)


def test_each_failed_probe_doubles_the_rest_and_a_good_one_ends_it() -> None:
    tracker = PerformanceTracker()
    for seconds in (0, 31, 92):
        tracker.record(failure(seconds))
    assert is_resting(tracker, 92 + 119)
    assert not is_resting(tracker, 92 + 121)
    for seconds in range(300, 4000, 100):
        tracker.record(failure(seconds))
    assert is_resting(tracker, 3900 + MAX_REST_S - 1)
    assert not is_resting(tracker, 3900 + MAX_REST_S + 1)
    tracker.record(entry(attempt(3950)))
    assert not is_resting(tracker, 3951)


def test_who_leaves_after_a_long_wait_says_that_the_model_is_slow() -> None:
    tracker = PerformanceTracker()
    tracker.record(entry(attempt(outcome="cancelled", ttft_s=None, total_s=300.0)))
    known = tracker.snapshot("a/one")
    assert known is not None
    assert known.ttft_p50_s == pytest.approx(300, rel=0.1)
    assert known.success_rate == pytest.approx(0.98)


def test_old_observations_fade() -> None:
    tracker = PerformanceTracker()
    for _ in range(100):
        tracker.record(entry(attempt(outcome="failed", error_code="upstream_unavailable")))
    now = tracker.snapshot("a/one")
    later = tracker.snapshot("a/one", as_of=EPOCH + timedelta(days=3))
    assert now is not None
    assert later is not None
    assert now.success_rate < 0.5 < later.success_rate
    tracker.record(entry(attempt(3600.0)))
    mixed = tracker.snapshot("a/one")
    assert mixed is not None
    assert mixed.weight == pytest.approx(51)
    tracker.record(entry(attempt(0.0)))
    late = tracker.snapshot("a/one")
    assert late is not None
    assert late.weight == pytest.approx(51.5)


def test_the_order_of_entries_does_not_matter() -> None:
    entries = [entry(attempt(hour * 1800.0, ttft_s=0.1 * (hour + 1))) for hour in range(8)]
    forward, backward = PerformanceTracker(), PerformanceTracker()
    for one in entries:
        forward.record(one)
    for one in reversed(entries):
        backward.record(one)
    left, right = forward.snapshot("a/one"), backward.snapshot("a/one")
    assert left is not None
    assert right is not None
    assert left.weight == pytest.approx(right.weight)
    assert left.ttft_p50_s == right.ttft_p50_s


def test_a_session_is_where_it_was_answered_last() -> None:
    tracker = SessionTracker()
    main = Attribution(session_id="s", agent="main")
    tracker.record(entry(attempt(usage=Usage(input_tokens=10, output_tokens=5)), attribution=main))
    assert tracker.find_affinity("s", "explorer") is None
    affinity = tracker.find_affinity("s", "main")
    assert affinity is not None
    assert (affinity.model, affinity.cached_tokens) == ("a/one", 15)
    assert affinity.warm_tokens(EPOCH + timedelta(seconds=299)) == 15
    assert affinity.warm_tokens(EPOCH + timedelta(seconds=301)) == 0
    own = replace(main, agent="explorer")
    tracker.record(entry(attempt(model="a/two"), attribution=own))
    found = tracker.find_affinity("s", "explorer")
    assert found is not None
    assert found.model == "a/two"
    tracker.record(entry(attempt(model="a/three"), attribution=main))
    assert tracker.find_first_model("s") == "a/one"
    assert tracker.find_first_model("other") is None
    assert tracker.find_first_model(None) is None
    assert tracker.find_affinity(None) is None
    assert tracker.find_affinity("other") is None


def test_a_failed_or_cached_answer_leaves_no_affinity() -> None:
    tracker = SessionTracker()
    where = Attribution(session_id="s")
    tracker.record(entry(attempt(), attribution=where, outcome="failed"))
    tracker.record(entry(attempt(), attribution=where, is_cache_hit=True))
    tracker.record(entry(attribution=where))
    title = entry(attempt(), attribution=where, task_type="background")
    tracker.record(title)
    assert tracker.find_affinity("s") is None


def test_the_oldest_sessions_are_forgotten() -> None:
    tracker = SessionTracker()
    done = attempt()
    for number in range(10_001):
        tracker.record(entry(done, attribution=Attribution(session_id=str(number))))
    assert tracker.find_affinity("0") is None
    assert tracker.find_affinity("10000") is not None
