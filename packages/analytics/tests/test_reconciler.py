from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from devflow_analytics import Reconciler, Reconciliation
from devflow_analytics.reconciliation.reconciler import MAX_OPEN
from devflow_analytics.reconciliation.settlement import (
    BillingWindow,
    OpenRow,
    WindowRows,
    settle_window,
)
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
        self.under_way: datetime | None = None
        self.added_up = 0

    def entries(self, _since: datetime, _until: datetime, /) -> Iterable[LedgerEntry]:
        self.added_up += 1
        return [an_entry(attempts=(attempt,)) for attempt in self.rows.values()]

    def unconfirmed(self, limit: int, /) -> Sequence[tuple[LedgerEntry, Attempt]]:
        rows = [row for row in self.rows.values() if row.cost_status == "estimated"]
        return [(an_entry(attempts=(row,)), row) for row in rows][:limit]

    def latest_start(self) -> datetime | None:
        return max((row.started_at for row in self.rows.values()), default=None)

    def under_way_since(self) -> datetime | None:
        return self.under_way

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
            cost_status="observed" if source in ("observed", "reserved") else "settled",
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


async def test_an_unbilled_row_is_a_ghost_and_costs_nothing() -> None:
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


async def test_a_bill_beyond_all_our_rows_is_an_orphan() -> None:
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


async def test_a_failing_look_up_leaves_the_row_and_is_noted() -> None:
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


# what nobody can tell, and what goes on beside the requests


def background(books: FakeBooks, account: FakeAccount, clock: FakeClock) -> Reconciler:
    return Reconciler(books, account, patience_s=600, now=clock.now, sleep=clock.sleep)


async def test_a_callers_own_key_cannot_be_asked_for_so_what_was_seen_stands() -> None:
    seen = an_open("a", "gen-1", key_id="caller", observed_usd=Decimal("0.0004"))
    books = FakeBooks(seen, an_open("b", key_id="caller", started_at=EPOCH))
    assert await background(books, FakeAccount(), FakeClock()).settle_old() == {"observed": 1}
    assert books.rows["a"].cost_usd == Decimal("0.0004")
    assert books.sources == {"a": "observed"}  # the other is too young


async def test_after_some_days_what_was_seen_stands() -> None:
    clock = FakeClock()
    books = FakeBooks(
        an_open("seen", "gen-1", observed_usd=Decimal("0.0004")),
        an_open("unseen"),
        an_open("young", started_at=EPOCH + MAX_OPEN, observed_usd=Decimal("0.0004")),
    )
    account = FakeAccount(today="5", month="5")  # somebody else uses the keys
    account.days = None
    reconciler = background(books, account, clock)
    assert await reconciler.settle_old() == {}
    clock.advance(MAX_OPEN.total_seconds())
    assert await reconciler.settle_old() == {"observed": 2}
    assert books.sources == {"seen": "observed", "unseen": "reserved"}
    assert [books.rows[one].cost_usd for one in ("seen", "unseen")] == [
        Decimal("0.0004"),
        Decimal("0.01"),
    ]


async def test_an_old_row_is_looked_up_when_its_server_was_down_while_it_was_young() -> None:
    books, account = FakeBooks(an_open("a", "gen-1")), FakeAccount()
    account.booked["gen-1"] = {"total_cost": "0.5"}
    assert await background(books, account, FakeClock()).settle_old() == {"generation": 1}


async def test_the_current_day_settles_a_row_without_a_look_up() -> None:
    books = FakeBooks(an_open("a"), an_attempt(attempt_id="b", started_at=OLD))
    account = FakeAccount(today="0.0032")
    assert await background(books, account, FakeClock()).settle_old() == {"total": 1}
    assert books.rows["a"].cost_usd == Decimal("0.003")
    assert books.sources == {"a": "total of 2026-11-21"}


async def test_a_completed_day_tells_where_it_may_be_asked_for() -> None:
    yesterday = OLD - timedelta(days=1)
    books = FakeBooks(an_open("a", started_at=yesterday))
    account = FakeAccount()
    account.days = {yesterday.date(): Decimal("0.002")}
    # a call of just now does not matter to yesterday
    books.rows["b"] = an_attempt(attempt_id="b", started_at=EPOCH)
    assert await background(books, account, FakeClock()).settle_old() == {"total": 1}
    assert books.sources == {"a": "total of 2026-11-20"}


async def test_without_completed_days_the_week_tells_of_yesterday() -> None:
    books = FakeBooks(an_open("a", started_at=OLD - timedelta(days=1)))
    account = FakeAccount(month="0.003")
    account.days, account.usage["weekly"] = None, Decimal("0.003")
    assert await background(books, account, FakeClock()).settle_old() == {"total": 1}
    assert books.sources == {"a": "total of week of 2026-11-16"}


@pytest.mark.parametrize("disturbed", ["a young call", "a call under way", "a stranger", "a lag"])
async def test_a_total_that_may_not_be_ours_alone_and_whole_tells_nothing(disturbed: str) -> None:
    books, account = FakeBooks(an_open("a"), an_attempt(started_at=OLD)), FakeAccount(today="0.003")
    account.days = None
    account.usage["weekly"] = account.usage["monthly"] = Decimal("0.003")
    if disturbed == "a young call":
        books.rows["y"] = an_attempt(attempt_id="y", started_at=EPOCH)
    elif disturbed == "a call under way":
        books.under_way = OLD
    else:
        theirs_usd = Decimal(5) if disturbed == "a stranger" else Decimal("0.0001")
        account.usage = dict.fromkeys(account.usage, theirs_usd)
    assert await background(books, account, FakeClock()).settle_old() == {}
    assert books.sources == {}


async def test_a_call_over_midnight_may_be_in_either_days_total() -> None:
    midnight = EPOCH.replace(hour=0)
    books = FakeBooks(
        an_open("a", started_at=midnight - timedelta(hours=3)),
        an_attempt(attempt_id="b", started_at=midnight - timedelta(seconds=1), total_s=2.0),
    )
    account = FakeAccount()
    account.days = {midnight.date() - timedelta(days=1): Decimal("0.0032")}
    assert await background(books, account, FakeClock()).settle_old() == {}


async def test_an_inconclusive_total_is_not_added_up_again_until_it_changes() -> None:
    books, account = FakeBooks(an_open("a")), FakeAccount(today="5")
    reconciler = background(books, account, FakeClock())
    for _ in range(3):
        await reconciler.settle_old()
    assert books.added_up == 1
    account.usage["daily"] = Decimal("0.001")
    assert await reconciler.settle_old() == {"total": 1}


async def test_evidence_that_comes_late_takes_the_place_of_what_was_seen() -> None:
    books = FakeBooks(an_open("a", cost_status="observed"))
    await reconciled(books, FakeAccount(today="0.003"))
    assert books.sources == {"a": "total of 2026-11-21"}


async def test_costs_that_cannot_be_are_listed() -> None:
    doubted = an_attempt(attempt_id="a", started_at=OLD, cost_doubt="above_reserve")
    result = await reconciled(FakeBooks(doubted), FakeAccount(today="0.0002"))
    (row,) = result.as_json()["doubts"]
    assert (row["doubt"], row["cost_usd"], row["reserved_usd"]) == (
        "above_reserve",
        "0.0002",
        "0.01",
    )


async def test_a_total_is_waited_for_until_it_must_hold_what_has_ended() -> None:
    clock = FakeClock()
    begun = EPOCH - timedelta(seconds=1)
    books = FakeBooks(an_open("a"), an_attempt(attempt_id="b", started_at=begun, total_s=1.0))
    await reconciled(books, FakeAccount(today="0.0032"), clock=clock)
    assert 600 < sum(clock.slept_s) < 601
    assert books.rows["a"].cost_usd == Decimal("0.003")


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
    window = BillingWindow(name="w", since=OLD, until=EPOCH, theirs_usd=theirs)
    rows = WindowRows(window=window, cutoff=EPOCH)
    for n, (cost, held) in enumerate(opened):
        attempt = an_open(f"o{n}", cost_usd=cost, reserved_usd=held)
        rows.add(OpenRow(entry=an_entry(), attempt=attempt))
    for cost in settled:
        attempt = an_attempt(cost_usd=cost, started_at=OLD)
        rows.add(OpenRow(entry=an_entry(), attempt=attempt))
    settlement = settle_window(window, rows)
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
