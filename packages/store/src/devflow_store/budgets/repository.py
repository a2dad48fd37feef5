"""Sets, removes and lists budgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime

import orjson
from devflow_core.close_names import offer_close_names
from devflow_core.dimensions import BUDGET_SCOPES, DIMENSION_BY_NAME
from devflow_core.errors import NotFound
from devflow_core.usage import from_pico

from devflow_store.budgets.budget import WILDCARD, Budget, BudgetState, window_bounds
from devflow_store.budgets.reservations import BUDGET_ADAPTER, BudgetReservations
from devflow_store.chain.records import RowKind
from devflow_store.chain.times import from_us, to_us
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.database.engine import SqlValue
from devflow_store.entries.queries import Source

_SCOPE_COLUMNS = {name: f"l.{DIMENSION_BY_NAME[name].column}" for name in BUDGET_SCOPES}


class BudgetRepository:
    """The budgets of the ledger; a change applies to every process from its next call on.

    Args:
        submit: runs a job and waits until it is durable.
        reservations: invalidated by every change.
    """

    def __init__(
        self, submit: Callable[[WriteJob[None]], Awaitable[None]], reservations: BudgetReservations
    ) -> None:
        self._submit = submit
        self._reservations = reservations

    async def set(self, budget: Budget) -> Budget:
        """Add a budget, or change the one with its id; return the budget as given.

        What was already spent in the current window counts from the start.

        Raises:
            StoreError: the change could not be written.
        """
        body = BUDGET_ADAPTER.dump_json(budget).decode()

        def run(tx: Transaction) -> None:
            tx.flush()
            if tx.execute("SELECT 1 FROM budgets WHERE id = ? AND body = ?", (budget.id, body)):
                return
            tx.execute(
                "INSERT INTO budgets (id, body) VALUES (?, ?) "
                "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (budget.id, body),
            )
            _log_change(tx, {"budget": budget.id, "set": body})
            _open_accounts(tx, budget, from_us(tx.now_us))
            self._reservations.invalidate()

        await self._submit(WriteJob(run))
        return budget

    async def remove(self, budget_id: str) -> None:
        """Remove a budget with its accounts and holds.

        Raises:
            NotFound: there is no budget with this id.
            StoreError: the change could not be written.
        """

        def run(tx: Transaction) -> None:
            tx.flush()
            if not tx.execute("SELECT 1 FROM budgets WHERE id = ?", (budget_id,)):
                known = [str(one) for (one,) in tx.execute("SELECT id FROM budgets")]
                close = offer_close_names(budget_id, known)
                message = f"There is no budget `{budget_id}`; see `devflow budget list`."
                raise NotFound(f"{message}{close}")
            for table, column in (("budgets", "id"), ("accounts", "budget"), ("holds", "budget")):
                tx.delete(table, column, budget_id)
            _log_change(tx, {"budget": budget_id, "removed": True})
            self._reservations.invalidate()

        await self._submit(WriteJob(run))


def read_budget_states(source: Source, now: datetime) -> Iterator[BudgetState]:
    """Yield the states of all budgets in the window of `now`: one for each subject with an account.

    A budget without an account gives one state with nothing spent. Its subject is empty if the
    budget is global, limits each subject separately (`*`), or limits single requests.
    """
    for (body,) in source.execute("SELECT body FROM budgets ORDER BY id"):
        budget = BUDGET_ADAPTER.validate_json(body)
        start, end = window_bounds(budget.window, now, budget.timezone)
        rows = source.execute(
            "SELECT subject, spent_pico, reserved_pico FROM accounts "
            "WHERE budget = ? AND start_us = ? ORDER BY subject",
            (budget.id, to_us(start)),
        )
        unused = (
            []
            if budget.value == WILDCARD or budget.window == "request"
            else [(budget.value or "", 0, 0)]
        )
        for subject, spent_pico, reserved_pico in rows or unused or [("", 0, 0)]:
            yield BudgetState(
                budget=budget,
                subject=subject,
                spent_usd=from_pico(spent_pico),
                reserved_usd=from_pico(reserved_pico),
                window_start=start,
                window_end=end,
            )


def _log_change(tx: Transaction, change: dict[str, object]) -> None:
    tx.append(RowKind.CHANGE, f"change/{tx.seq + 1}", orjson.dumps(change))


def count_spent(source: Source, now: datetime) -> None:
    """Open the accounts of every budget with what its window at `now` has already cost.

    Existing accounts are left unchanged; budgets per request are skipped.
    """
    for (body,) in source.execute("SELECT body FROM budgets ORDER BY id"):
        _open_accounts(source, BUDGET_ADAPTER.validate_json(body), now)


def _open_accounts(source: Source, budget: Budget, now: datetime) -> None:
    """Count for one budget what its current window has already cost."""
    if budget.window == "request":
        return
    start, end = window_bounds(budget.window, now, budget.timezone)
    column = _SCOPE_COLUMNS.get(budget.scope, "''")
    values: list[SqlValue] = [to_us(start), to_us(end)]
    condition = f"{column} <> ''" if budget.scope != "global" else "1 = 1"
    if budget.value not in (None, WILDCARD):
        condition = f"{column} = ?"
        values.append(budget.value)
    # names of columns are constants of this module
    spent = source.execute(
        f"SELECT {column}, SUM(c.cost_pico) FROM calls c JOIN labels l ON l.id = c.labels "  # noqa: S608
        f"WHERE c.at_us >= ? AND c.at_us < ? AND {condition} GROUP BY 1",
        values,
    )
    for subject, spent_pico in spent:
        source.execute(
            "INSERT INTO accounts (budget, subject, start_us, spent_pico, reserved_pico, unpriced, "
            "alerted) VALUES (?, ?, ?, ?, 0, 0, 0) ON CONFLICT (budget, subject, start_us) "
            "DO NOTHING",
            (budget.id, subject, to_us(start), int(spent_pico)),
        )
