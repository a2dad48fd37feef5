from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from devflow_analytics import Reconciler, Reconciliation
from devflow_analytics.reconciliation.settlement import BillingWindow, OpenRow, settle_window
from devflow_core.errors import ProviderUnavailable
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.testing import EPOCH, FakeClock, an_attempt, an_entry
from devflow_core.usage import Usage, to_pico
from hypothesis import given
from hypothesis import strategies as st

OLD = EPOCH - timedelta(hours=1)


class FakeBooks:
    """A store in memory: entries, and the corrections that were made to them."""

    def __init__(self, *attempts: Attempt) -> None:
        self.rows = {attempt.attempt_id: attempt for attempt in attempts}
        self.sources: dict[str, str] = {}

    def entries(self, _since: datetime, _until: datetime, /) -> Iterable[LedgerEntry]:
        return [an_entry(attempts=(attempt,)) for attempt in self.rows.values()]

    def unconfirmed(self, limit: int, /) -> Sequence[tuple[LedgerEntry, Attempt]]:
        rows = [row for row in self.rows.values() if row.cost_status == "estimated"]
        return [(an_entry(attempts=(row,)), row) for row in rows][:limit]

    async def confirm(
        self,
        attempt_id: str,
        cost_usd: Decimal,
        text: str | None,
        /,
        *,
        usage: Usage | None = None,
        provider: str | None = None,
        source: str,
    ) -> None:
        self.rows[attempt_id] = replace(
            self.rows[attempt_id],
            cost_status="settled",
            cost_usd=cost_usd,
            cost_text=text,
            usage=usage or self.rows[attempt_id].usage,
            provider=provider or self.rows[attempt_id].provider,
        )
        self.sources[attempt_id] = source


class FakeAccount:
    """OpenRouter's side: what is booked, and from which question on it is found."""

    def __init__(self, *, today: str = "0", month: str = "0") -> None:
        self.booked: dict[str, dict[str, Any]] = {}
        self.not_before: dict[str, int] = {}
        self.lookups: list[str] = []
        self.days: dict[date, Decimal] | None = {}
        self.usage = {"daily": Decimal(today), "monthly": Decimal(month)}

    def has_key(self, key_id: str | None, /) -> bool:
        return key_id is None

    async def fetch_generation(
        self, generation_id: str, _key: str | None, /
    ) -> dict[str, Any] | None:
        self.lookups.append(generation_id)
        if generation_id == "gen-broken":
            raise ProviderUnavailable("OpenRouter answered 502. Try again.")
        if self.lookups.count(generation_id) < self.not_before.get(generation_id, 1):
            return None
        return self.booked.get(generation_id)

    async def fetch_day_usd(self, day: date, /) -> Decimal | None:
        return None if self.days is None else self.days.get(day, Decimal(0))

    async def fetch_usage_usd(self, period: str, /) -> Decimal:
        return self.usage[period]


def an_open(attempt_id: str, generation_id: str | None = None, **changes: Any) -> Attempt:
    fields: dict[str, Any] = {
        "attempt_id": attempt_id,
        "generation_id": generation_id,
        "cost_status": "estimated",
        "cost_usd": Decimal("0.01"),
        "started_at": OLD,
        "cost_text": None,
    }
    return an_attempt(**{**fields, **changes})


async def reconciled(
    books: FakeBooks, account: FakeAccount, *, clock: FakeClock | None = None, days: int = 0
) -> Reconciliation:
    clock = clock or FakeClock()
    reconciler = Reconciler(books, account, patience_s=600, now=clock.now, sleep=clock.sleep)
    return await reconciler.reconcile(days)


async def test_a_row_is_settled_at_what_the_provider_has_booked() -> None:
    books, account = FakeBooks(an_open("a", "gen-1")), FakeAccount(today="0.000064")
    account.booked["gen-1"] = {"total_cost": 0.000064, "provider_name": "Amazon Bedrock"}
    result = await reconciled(books, account)
    assert books.rows["a"].cost_text == "0.000064"
    assert books.rows["a"].provider == "Amazon Bedrock"
    assert result.confirmed == ("a",)
    document = result.as_json()
    assert document["ours_usd"] == document["theirs_usd"] == "0.000064"
    assert document["difference_usd"] == "0"
    assert (document["orphans"], document["ghosts"], document["pending"]) == ([], [], 0)


async def test_a_key_of_ones_own_pays_the_provider_on_top() -> None:
    books, account = FakeBooks(an_open("a", "gen-1")), FakeAccount()
    account.booked["gen-1"] = {
        "total_cost": 0.01,
        "is_byok": True,
        "upstream_inference_cost": 0.2,
    }
    await reconciled(books, account)
    assert books.rows["a"].cost_usd == Decimal("0.21")
    assert books.rows["a"].cost_text is None


async def test_counts_that_never_came_are_taken_from_the_provider() -> None:
    cut = an_open("a", "gen-1", usage=Usage(output_tokens=3))
    books, account = FakeBooks(cut, an_open("b", "gen-2", usage=Usage())), FakeAccount()
    account.booked["gen-1"] = {
        "total_cost": 0.01,
        "native_tokens_prompt": 100,
        "native_tokens_cached": 60,
        "native_tokens_completion": 9,
        "native_tokens_reasoning": 4,
    }
    account.booked["gen-2"] = {"total_cost": 0, "native_tokens_prompt": -1}
    await reconciled(books, account)
    assert books.rows["a"].usage == Usage(
        input_tokens=40, cache_read_tokens=60, output_tokens=5, reasoning_tokens=4
    )
    assert books.rows["b"].usage == Usage()


async def test_a_call_that_is_not_booked_yet_is_asked_for_again_with_longer_pauses() -> None:
    clock = FakeClock()
    books = FakeBooks(an_open("a", "gen-1", started_at=clock.now()))
    account = FakeAccount(today="0.5")
    account.booked["gen-1"] = {"total_cost": "0.5"}
    account.not_before["gen-1"] = 4
    result = await reconciled(books, account, clock=clock)
    assert clock.slept_s == [1, 2, 4]
    assert result.confirmed == ("a",)


async def test_a_row_that_nobody_billed_is_a_ghost_and_costs_nothing() -> None:
    books = FakeBooks(an_open("a", "gen-1"), an_attempt(attempt_id="b", started_at=OLD))
    result = await reconciled(books, FakeAccount(today="0.0002"))
    assert books.rows["a"].cost_usd == 0
    assert books.sources["a"] == "total of 2026-11-21"
    (ghost,) = result.as_json()["ghosts"]
    assert ghost["attempt_id"] == "a"
    assert ghost["generation_id"] == "gen-1"
    assert ghost["estimated_usd"] == "0.01"
    assert result.as_json()["difference_usd"] == "0"


async def test_what_was_billed_beyond_our_rows_goes_to_the_lost_ones() -> None:
    books = FakeBooks(an_open("a"), an_attempt(attempt_id="b", started_at=OLD))
    result = await reconciled(books, FakeAccount(today="0.0032"))
    assert books.rows["a"].cost_usd == Decimal("0.003")
    assert result.as_json()["difference_usd"] == "0"
    assert result.as_json()["settled_by_total"] == 1


async def test_what_no_row_of_ours_can_have_cost_is_an_orphan() -> None:
    books = FakeBooks(an_open("a"))
    result = await reconciled(books, FakeAccount(today="0.5"))
    (orphan,) = result.as_json()["orphans"]
    assert orphan["cost_usd"] == "0.49"
    assert orphan["window"] == "2026-11-21"
    assert result.as_json()["difference_usd"] == "-0.49"
    # a stranger used the key, so the total tells nothing of the lost row
    assert books.rows["a"].cost_status == "estimated"
    assert result.as_json()["pending"] == 1


async def test_a_total_that_lags_behind_our_settled_rows_settles_nothing() -> None:
    books = FakeBooks(an_open("a"), an_attempt(attempt_id="b", started_at=OLD))
    result = await reconciled(books, FakeAccount(today="0.0001"))
    assert books.rows["a"].cost_status == "estimated"
    assert result.as_json()["ghosts"] == []
    assert result.as_json()["difference_usd"] == "0.0101"


async def test_completed_days_are_closed_each_for_itself() -> None:
    yesterday = EPOCH - timedelta(days=1)
    books = FakeBooks(an_open("a", started_at=yesterday), an_open("b"))
    account = FakeAccount(today="0.002")
    account.days = {yesterday.date(): Decimal("0.001")}
    result = await reconciled(books, account, days=2)
    names = [one["window"] for one in result.as_json()["windows"]]
    assert names == ["2026-11-19", "2026-11-20", "2026-11-21"]
    assert books.rows["a"].cost_usd == Decimal("0.001")
    assert books.rows["b"].cost_usd == Decimal("0.002")


async def test_without_a_management_key_the_month_is_closed() -> None:
    books, account = FakeBooks(an_open("a")), FakeAccount(month="0.004")
    account.days = None
    result = await reconciled(books, account, days=7)
    assert [one.window.name for one in result.settlements] == ["2026-11"]
    assert books.rows["a"].cost_usd == Decimal("0.004")
    assert "management key" in result.as_json()["notes"][0]


async def test_nothing_is_closed_while_a_row_is_too_young_to_tell() -> None:
    clock = FakeClock()
    begun_later = an_open("a", started_at=clock.now() + timedelta(seconds=0.5))
    books = FakeBooks(begun_later, an_open("b"))
    result = await reconciled(books, FakeAccount(today="0.5"), clock=clock)
    assert len(result.pending) == 2
    assert result.as_json()["pending_rows"][0]["attempt_id"] == "a"
    assert books.sources == {}


async def test_a_failing_question_leaves_the_row_and_is_told() -> None:
    clock = FakeClock()
    books = FakeBooks(an_open("a", "gen-broken", started_at=clock.now()))
    result = await reconciled(books, FakeAccount(today="0.003"), clock=clock)
    assert "OpenRouter answered 502. Try again." in result.notes
    assert max(clock.slept_s) <= 60
    assert books.rows["a"].cost_usd == Decimal("0.003")


async def test_rows_of_a_callers_own_key_are_not_in_these_books() -> None:
    books = FakeBooks(an_attempt(attempt_id="a", key_id="caller", started_at=OLD))
    result = await reconciled(books, FakeAccount())
    assert result.ours_usd == 0


@pytest.mark.parametrize("nonsense", [None, "NaN", -1, True, "x", [], 1e400])
async def test_an_impossible_amount_settles_nothing(nonsense: object) -> None:
    books, account = FakeBooks(an_open("a", "gen-1")), FakeAccount(today="0.003")
    account.booked["gen-1"] = {"total_cost": nonsense}
    result = await reconciled(books, account)
    assert result.confirmed == ()


amounts = st.decimals(min_value=0, max_value=5, places=12)


@given(st.lists(st.tuples(amounts, amounts), max_size=6), amounts, st.lists(amounts, max_size=3))
def test_a_closed_window_agrees_or_is_left_alone(
    opened: list[tuple[Decimal, Decimal]], theirs: Decimal, settled: list[Decimal]
) -> None:
    rows = [
        OpenRow(entry=an_entry(), attempt=an_open(f"o{n}", cost_usd=cost, reserved_usd=most))
        for n, (cost, most) in enumerate(opened)
    ]
    rows += [OpenRow(entry=an_entry(), attempt=an_attempt(cost_usd=cost)) for cost in settled]
    window = BillingWindow(name="w", since=OLD, until=EPOCH, theirs_usd=theirs)
    settlement = settle_window(window, rows, is_final=True)
    most = [max(cost, reserved) for cost, reserved in opened]
    known = sum(settled, Decimal(0))
    if known <= theirs <= known + sum(most, Decimal(0)):
        assert to_pico(settlement.difference_usd) == 0
        assert sum(settlement.settled.values(), known) == theirs
        for n, limit in enumerate(most):
            assert 0 <= settlement.settled[f"o{n}"] <= limit
    else:
        assert settlement.settled == {}
        assert settlement.ghosts == ()
        assert settlement.ours_usd == known + sum((cost for cost, _ in opened), Decimal(0))
