"""In any order of events, the reservations agree with a reference of about thirty lines."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import BudgetExceeded
from devflow_core.ledger import AttemptStart
from devflow_core.testing import an_attempt, an_entry
from devflow_core.usage import from_pico
from devflow_store import Budget, Store
from devflow_store.engines.sqlite import SqliteEngine
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

NOW = datetime.now(UTC)
BUDGETS = (
    Budget(scope="global", window="month", limit_usd=from_pico(50)),
    Budget(scope="session", value="*", window="lifetime", limit_usd=from_pico(30)),
    Budget(scope="key", value="ci", window="day", limit_usd=from_pico(20)),
)
pico = st.integers(min_value=0, max_value=25)


@dataclass
class Reference:
    """The rule: a call is admitted only if spending, holds and its worst case fit every limit."""

    limits: dict[str, int] = field(default_factory=dict[str, int])
    spent: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    open: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict[str, Any])

    def subjects(self, session: str, key: str) -> list[tuple[str, str]]:
        all_of = {"global:month": "", "session:*:lifetime": session}
        if key == "ci":
            all_of["key:ci:day"] = "ci"
        return [(budget, subject) for budget, subject in all_of.items() if budget in self.limits]

    def held(self, account: tuple[str, str]) -> int:
        return sum(one[2] for all_of in self.open.values() for one in all_of if one[:2] == account)

    def begin(self, request: str, session: str, key: str, reserved: int) -> bool:
        accounts = self.subjects(session, key)
        for account in accounts:
            if self.spent.get(account, 0) + self.held(account) + reserved > self.limits[account[0]]:
                return False
        self.open[request] = [(*account, reserved) for account in accounts]
        return True

    def end(self, request: str, session: str, key: str, cost: int) -> None:
        del self.open[request]
        for account in self.subjects(session, key):
            self.spent[account] = self.spent.get(account, 0) + cost


class BudgetMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.reference = Reference()
        self.live: list[AttemptStart] = []
        self.count = 0
        file = Path(self.folder.name) / "ledger.db"
        # what a power cut leaves is another test's; here nothing waits for the disk
        self.stores = [Store(SqliteEngine(file, synchronous="OFF"), lease_s=3600) for _ in range(2)]
        for store in self.stores:
            self.run(store.__aenter__())
        for budget in BUDGETS[:2]:
            self.set_budget(0, budget)

    def run(self, action: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(action)

    def set_budget(self, through: int, budget: Budget) -> None:
        self.run(self.stores[through].budgets.set(budget))
        self.reference.limits[budget.id] = int(budget.limit_usd.scaleb(12))

    @rule(
        through=st.integers(0, 1),
        session=st.sampled_from(["a", "b"]),
        key=st.sampled_from(["ci", "dev"]),
        reserved=pico,
    )
    def begin(self, through: int, session: str, key: str, reserved: int) -> None:
        self.count += 1
        start = AttemptStart(
            attempt_id=f"att_{self.count}",
            entry_id=f"req_{self.count}",
            number=1,
            model="x/y",
            started_at=NOW,
            reserved_usd=from_pico(reserved),
            task_type="coding",
            attribution=Attribution(session_id=session, client_key=key),
        )
        try:
            self.run(self.stores[through].begin(start))
            is_admitted = True
            self.live.append(start)
        except BudgetExceeded:
            is_admitted = False
        assert is_admitted == self.reference.begin(start.entry_id, session, key, reserved)

    @rule(through=st.integers(0, 1), which=st.integers(0, 10), cost=pico)
    def close(self, through: int, which: int, cost: int) -> None:
        if not self.live:
            return
        start = self.live.pop(which % len(self.live))
        attribution = start.attribution
        attempt = an_attempt(
            attempt_id=start.attempt_id, started_at=NOW, cost_usd=from_pico(cost), cost_text=None
        )
        entry = an_entry(
            entry_id=start.entry_id, started_at=NOW, attempts=(attempt,), attribution=attribution
        )
        self.run(self.stores[through].close(entry))
        self.reference.end(
            start.entry_id, attribution.session_id or "", attribution.client_key or "", cost
        )

    @rule(through=st.integers(0, 1), limit=pico, which=st.integers(0, 1))
    def change_a_limit(self, through: int, limit: int, which: int) -> None:
        self.set_budget(through, replace(BUDGETS[which], limit_usd=from_pico(limit)))

    @invariant()
    def amounts_agree(self) -> None:
        for state in self.stores[0].budget_states():
            account = (state.budget.id, state.subject)
            assert state.spent_usd == from_pico(self.reference.spent.get(account, 0))
            assert state.reserved_usd == from_pico(self.reference.held(account))

    def teardown(self) -> None:
        try:
            total = sum((entry.cost_usd for entry in self.stores[0].entries()), Decimal(0))
            assert total == from_pico(self.reference.spent.get(("global:month", ""), 0))
        finally:
            for store in self.stores:
                self.run(store.__aexit__(None, None, None))
            self.runner.close()
            self.folder.cleanup()


TestBudgets = pytest.mark.laws(1_000)(BudgetMachine.TestCase)  # each opens a ledger twice
TestBudgets.settings = settings(stateful_step_count=25, deadline=None)
