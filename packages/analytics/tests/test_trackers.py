from decimal import Decimal

from devflow_analytics import CostTracker, UsageTracker
from devflow_analytics.trackers import cost as cost_tracker
from devflow_analytics.trackers import usage as usage_tracker
from devflow_core.ledger import LedgerEntry, replay
from devflow_core.summary import EntriesReader, Summary
from devflow_core.testing import an_attempt, an_entry
from devflow_core.usage import to_pico
from hypothesis import given
from hypothesis import strategies as st

costs = st.decimals(min_value=0, max_value=10, places=12)
attempts = st.builds(
    an_attempt,
    model=st.sampled_from(["x/one", "y/two", "z/three"]),
    cost_usd=costs,
    cost_status=st.sampled_from(["settled", "estimated"]),
)
entries = st.builds(
    an_entry,
    attempts=st.lists(attempts, max_size=3).map(tuple),
    task_type=st.sampled_from(["coding", "math"]),
)


@given(st.lists(entries, max_size=10))
def test_costs_add_up_however_they_are_grouped(given_: list[LedgerEntry]) -> None:
    tracker = CostTracker()
    replay(given_, tracker)
    total_usd = sum((entry.cost_usd for entry in given_), Decimal(0))
    assert tracker.total_usd == total_usd
    for dimension in cost_tracker.TRACKED_DIMENSIONS:
        assert sum(tracker.totals_by(dimension).values(), Decimal(0)) == total_usd


@given(st.lists(entries, max_size=10))
def test_usage_of_the_models_adds_up_to_what_a_report_says(given_: list[LedgerEntry]) -> None:
    tracker = UsageTracker()
    replay(given_, tracker)
    groups = EntriesReader(lambda: given_).aggregate(("model",))
    assert tracker.by_model() == {key[0]: summary for key, summary in groups.items()}
    assert tracker.total == sum(groups.values(), Summary())


def test_an_unconfirmed_cost_is_known_as_such() -> None:
    tracker = CostTracker()
    tracker.record(an_entry(attempts=(an_attempt(cost_status="estimated"), an_attempt())))
    assert tracker.estimated_usd == Decimal("0.0002")
    assert tracker.total_usd == Decimal("0.0004")


def test_invented_model_names_cannot_fill_the_memory() -> None:
    cost, usage = CostTracker(), UsageTracker()
    for number in range(1_500):
        entry = an_entry(attempts=(an_attempt(model=f"made/up-{number}"),))
        cost.record(entry)
        usage.record(entry)
    assert len(cost.totals_by("model")) == cost_tracker.MAX_KEYS + 1
    assert cost.totals_by("model")[cost_tracker.OTHER] == Decimal("0.0002") * 500
    assert len(usage.by_model()) == usage_tracker.MAX_MODELS + 1
    assert usage.total.cost_pico == to_pico(cost.total_usd)
