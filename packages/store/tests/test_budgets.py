"""Budgets are reserved before a call and settled after it; admitted calls never overrun them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.dimensions import BUDGET_SCOPES, DIMENSION_BY_NAME
from devflow_core.errors import BudgetExceeded, InvalidRequest, NotFound, UnknownPrice
from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_store import Alert, Budget, BudgetAlert, BudgetState, Store
from devflow_store.budgets.budget import window_bounds

Build = Callable[..., tuple[AttemptStart, LedgerEntry]]
NOW = datetime.now(UTC)
GLOBAL = Budget(scope="global", window="month", limit_usd=Decimal(1))


def _in_store(database: Any, act: Callable[[Store], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with Store(database, **options) as store:
            await act(store)

    asyncio.run(main())


def _state(store: Store, budget: Budget, subject: str = "") -> BudgetState:
    return next(
        one for one in store.budget_states() if (one.budget.id, one.subject) == (budget.id, subject)
    )


def _amounts(store: Store, budget: Budget, subject: str = "") -> tuple[Decimal, Decimal]:
    state = _state(store, budget, subject)
    return state.spent_usd, state.reserved_usd


def test_the_worst_case_is_held_until_the_cost_is_known(database: Any, request_of: Build) -> None:
    async def act(store: Store) -> None:
        await store.budgets.set(GLOBAL)
        start, entry = request_of(at=NOW, reserved_usd="0.6", cost_usd="0.25")
        await store.begin(start)
        assert _amounts(store, GLOBAL) == (Decimal(0), Decimal("0.6"))
        with pytest.raises(BudgetExceeded, match=r"0\.4 of 1 USD are left"):
            await store.begin(request_of(at=NOW, reserved_usd="0.6")[0])
        await store.close(entry)
        assert _amounts(store, GLOBAL) == (Decimal("0.25"), Decimal(0))
        await store.begin(request_of(at=NOW, reserved_usd="0.6")[0])

    _in_store(database, act)


def test_a_refused_call_leaves_nothing_behind(database: Any, request_of: Build) -> None:
    async def act(store: Store) -> None:
        await store.budgets.set(GLOBAL)
        session = Budget(scope="session", value="s1", window="day", limit_usd=Decimal("0.1"))
        await store.budgets.set(session)
        with pytest.raises(BudgetExceeded, match="session:s1:day"):
            await store.begin(request_of(at=NOW, reserved_usd="0.6")[0])
        assert _amounts(store, GLOBAL) == (Decimal(0), Decimal(0))
        assert store.verify().rows == 2  # the two budgets

    _in_store(database, act)


OURS = Attribution(
    session_id="s1", project="shop", branch="fix", agent="a1", client_key="ci", node="plan"
)


@pytest.mark.parametrize("scope", BUDGET_SCOPES)
@pytest.mark.parametrize("is_each", [False, True])
def test_a_scope_limits_its_own_and_nobody_else(
    database: Any, request_of: Build, scope: str, is_each: bool
) -> None:
    before = DIMENSION_BY_NAME[scope].before
    assert before is not None
    value = before(OURS, "anthropic/claude-haiku-4.5", "coding") or ""
    budget = Budget(
        scope=scope, value="*" if is_each else value, window="day", limit_usd=Decimal(1)
    )

    async def act(store: Store) -> None:
        await store.budgets.set(budget)
        start, entry = request_of(at=NOW, reserved_usd="0.9", cost_usd="0.9", attribution=OURS)
        await store.begin(start)
        await store.close(entry)
        with pytest.raises(BudgetExceeded):
            await store.begin(request_of(at=NOW, reserved_usd="0.9", attribution=OURS)[0])
        stranger = request_of(at=NOW, reserved_usd="0.9", attribution=Attribution())[0]
        stranger = replace(stranger, model="x/y", task_type="math")
        await store.begin(stranger)
        assert _amounts(store, budget, value)[0] == Decimal("0.9")

    _in_store(database, act)


def test_a_limit_per_request_counts_its_attempts_together(database: Any, request_of: Build) -> None:
    budget = Budget(scope="global", window="request", limit_usd=Decimal("0.5"))

    async def act(store: Store) -> None:
        await store.budgets.set(budget)
        start, entry = request_of(at=NOW, reserved_usd="0.4", cost_usd="0.3")
        await store.begin(start)
        second = replace(start, attempt_id="att_2", number=2, reserved_usd=Decimal("0.3"))
        with pytest.raises(BudgetExceeded):
            await store.begin(second, ended=entry.attempts)
        second = replace(second, reserved_usd=Decimal("0.2"))
        await store.begin(second, ended=entry.attempts)
        await store.close(entry)
        await store.begin(request_of(at=NOW, reserved_usd="0.5")[0])

    _in_store(database, act)


def test_a_fallback_is_reserved_anew_and_its_predecessor_settled(
    database: Any, request_of: Build
) -> None:
    async def act(store: Store) -> None:
        await store.budgets.set(GLOBAL)
        start, entry = request_of(at=NOW, reserved_usd="0.9", cost_usd="0.1")
        await store.begin(start)
        second = replace(start, attempt_id="att_2", number=2, reserved_usd=Decimal("0.8"))
        await store.begin(second, ended=entry.attempts)
        assert _amounts(store, GLOBAL) == (Decimal(0), Decimal("0.9"))
        last = replace(entry.attempts[0], attempt_id="att_2", number=2, cost_usd=Decimal("0.5"))
        await store.close(replace(entry, attempts=(*entry.attempts, last)))
        assert _amounts(store, GLOBAL) == (Decimal("0.6"), Decimal(0))

    _in_store(database, act)


def test_more_than_was_reserved_is_booked_in_full_and_announced(
    database: Any, request_of: Build
) -> None:
    alerts: list[BudgetAlert] = []

    async def hook(alert: Alert) -> None:
        assert isinstance(alert, BudgetAlert)
        alerts.append(alert)

    async def act(store: Store) -> None:
        await store.budgets.set(GLOBAL)
        for cost_usd in ("0.5", "0.35", "0.3"):
            start, entry = request_of(at=NOW, reserved_usd="0.05", cost_usd=cost_usd)
            await store.begin(start)
            await store.close(entry)
        assert _amounts(store, GLOBAL) == (Decimal("1.15"), Decimal(0))
        with pytest.raises(BudgetExceeded):
            await store.begin(request_of(at=NOW, reserved_usd="0")[0])

    _in_store(database, act, on_alert=(hook,))
    assert [(one.threshold, one.is_overrun) for one in alerts] == [(0.8, False), (1.0, True)]


def test_an_unknown_price_is_refused_unless_allowed_one_at_a_time(
    database: Any, request_of: Build
) -> None:
    async def act(store: Store) -> None:
        await store.budgets.set(GLOBAL)
        start, entry = request_of(at=NOW, reserved_usd=None, cost_usd="0.2")
        with pytest.raises(UnknownPrice, match="not known"):
            await store.begin(start)
        await store.budgets.set(replace(GLOBAL, allow_unknown_price=True))
        await store.begin(start)
        with pytest.raises(BudgetExceeded, match="one at a time"):
            await store.begin(request_of(at=NOW, reserved_usd=None)[0])
        await store.close(entry)
        await store.begin(request_of(at=NOW, reserved_usd=None)[0])

    _in_store(database, act)


def test_a_budget_knows_what_was_spent_before_it_was_set(database: Any, request_of: Build) -> None:
    async def act(store: Store) -> None:
        start, entry = request_of(at=NOW, cost_usd="0.7")
        await store.begin(start)
        await store.close(entry)
        each = Budget(scope="session", value="*", window="lifetime", limit_usd=Decimal(2))
        for budget in (GLOBAL, each):
            await store.budgets.set(budget)
        assert _amounts(store, GLOBAL) == (Decimal("0.7"), Decimal(0))
        assert _amounts(store, each, "s1") == (Decimal("0.7"), Decimal(0))
        with pytest.raises(BudgetExceeded):
            await store.begin(request_of(at=NOW, reserved_usd="0.4")[0])

    _in_store(database, act)


def test_changing_and_removing_a_budget_holds_at_once(database: Any, request_of: Build) -> None:
    async def act(store: Store) -> None:
        await store.budgets.set(GLOBAL)
        start, entry = request_of(at=NOW, reserved_usd="0.9", cost_usd="0.9")
        await store.begin(start)
        await store.budgets.set(replace(GLOBAL, limit_usd=Decimal(5)))
        await store.begin(request_of(at=NOW, reserved_usd="3")[0])
        await store.budgets.remove(GLOBAL.id)
        await store.begin(request_of(at=NOW, reserved_usd="300")[0])
        await store.close(entry)
        assert store.budget_states() == []
        with pytest.raises(NotFound):
            await store.budgets.remove(GLOBAL.id)

    _in_store(database, act)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit_usd": Decimal(-1)},
        {"limit_usd": Decimal("NaN")},
        {"value": "x"},
        {"scope": "key"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
    ],
)
def test_an_impossible_budget_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        replace(GLOBAL, id="", **wrong)


@pytest.mark.parametrize(
    ("window", "zone", "start", "hours"),
    [
        ("hour", "Asia/Kolkata", "2026-03-29T00:30:00+00:00", 1),
        ("day", "UTC", "2026-03-29T00:00:00+00:00", 24),
        ("day", "Europe/Berlin", "2026-03-28T23:00:00+00:00", 23),
        ("week", "UTC", "2026-03-23T00:00:00+00:00", 168),
        ("month", "America/New_York", "2026-03-01T05:00:00+00:00", 743),
    ],
)
def test_windows_begin_where_the_zone_says(window: Any, zone: str, start: str, hours: int) -> None:
    at = datetime(2026, 3, 29, 1, 15, 30, tzinfo=UTC)
    found = window_bounds(window, at, zone)
    assert found[0].isoformat() == start
    assert found[1] - found[0] == timedelta(hours=hours)
    assert found[0] <= at < found[1]


def test_a_window_that_is_over_leaves_room_again(database: Any, request_of: Build) -> None:
    budget = Budget(scope="global", window="day", limit_usd=Decimal(1))

    async def act(store: Store) -> None:
        await store.budgets.set(budget)
        for days in (0, 1, 2):
            at = NOW + timedelta(days=days)
            start, entry = request_of(at=at, reserved_usd="1", cost_usd="1")
            await store.begin(start)
            await store.close(entry)
        with pytest.raises(BudgetExceeded):
            await store.begin(request_of(at=NOW, reserved_usd="1")[0])

    _in_store(database, act)
