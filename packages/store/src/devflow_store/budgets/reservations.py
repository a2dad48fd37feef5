"""Reserves budgets before a call and settles them after it, within the writer's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from devflow_core.attribution import Attribution
from devflow_core.dimensions import DIMENSION_BY_NAME
from devflow_core.errors import BudgetExceeded, StoreError, UnknownPrice
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.usage import from_pico, to_pico, usd_text
from pydantic import TypeAdapter, ValidationError

from devflow_store.budgets.budget import WILDCARD, Budget, BudgetAlert, alert_level, window_bounds
from devflow_store.chain.times import from_us, to_us
from devflow_store.chain.transaction import Transaction
from devflow_store.database.insert import Insert

BUDGET_ADAPTER = TypeAdapter(Budget)
_ACCOUNT_KEY = ("budget", "subject", "start_us")
_ACCOUNT_NUMBERS = ("spent_pico", "reserved_pico", "unpriced", "alerted")
_ACCOUNTS = Insert(
    "accounts", _ACCOUNT_KEY + _ACCOUNT_NUMBERS, key=_ACCOUNT_KEY, replaced=_ACCOUNT_NUMBERS
)
_HOLDS = Insert(
    "holds",
    ("entry_id", "attempt_id", "budget", "subject", "start_us", "pico", "unpriced"),
    key=("entry_id", "attempt_id", "budget"),
    replaced=("pico", "unpriced"),
)

_MAX_ACCOUNTS = 10_000
"""The most accounts kept in memory; beyond it, all are dropped and read again when needed."""

_AccountKey = tuple[str, str, int]
"""The budget's id, the subject, and the start of the window in microseconds since 1970."""


@dataclass(slots=True)
class _Account:
    budget: Budget
    spent_pico: int = 0
    reserved_pico: int = 0
    unpriced: int = 0
    alerted: int = 0


@dataclass(slots=True)
class _Hold:
    attempt_id: str
    key: _AccountKey
    pico: int
    unpriced: int


class BudgetReservations:
    """The budgets with their accounts, cached between transactions.

    The cache stays valid as long as no other process has written: every change of money or of a
    budget adds a row to the chain, so an unchanged head of the chain proves it.
    """

    def __init__(self) -> None:
        self._head_hash: bytes | None = None
        self._tx: Transaction | None = None
        self._budgets: tuple[Budget, ...] = ()
        self._windows: dict[str, tuple[int, int]] = {}
        self._accounts: dict[_AccountKey, _Account] = {}
        self._dirty: set[_AccountKey] = set()
        self._holds: dict[str, list[_Hold]] = {}

    def reserve(self, tx: Transaction, start: AttemptStart, at_us: int) -> None:
        """Reserve the worst case in every budget that applies, or in none.

        Args:
            tx: the group in which the attempt's row is written.
            start: the attempt.
            at_us: when it starts, in microseconds since 1970; decides the windows.

        Raises:
            BudgetExceeded: a budget has less left than the worst case, or the worst case is unknown
                and another such call is in flight; nothing is reserved.
            UnknownPrice: the worst case is unknown, which a budget does not allow; nothing is
                reserved.
            StoreError: the budgets cannot be read.
        """
        self.sync(tx)
        if not self._budgets:
            return
        shares = list(self._shares(tx, start, at_us))
        for _key, account, share_pico in shares:
            _check_available(account, share_pico, start)
        if start.number == 1:
            self._holds[start.entry_id] = []
        holds = self._load_holds(tx, start.entry_id)
        for key, account, share_pico in shares:
            account.reserved_pico += share_pico or 0
            account.unpriced += share_pico is None
            self._dirty.add(key)
            hold = _Hold(start.attempt_id, key, share_pico or 0, int(share_pico is None))
            holds.append(hold)
            self._write_hold(tx, start.entry_id, hold)

    def release_unused(self, tx: Transaction, entry_id: str, ended: tuple[Attempt, ...]) -> None:
        """Set the holds of ended attempts to their cost, while their request continues."""
        self.sync(tx)
        if not self._budgets:
            return
        by_id = {attempt.attempt_id: attempt for attempt in ended}
        for hold in self._load_holds(tx, entry_id):
            attempt = by_id.get(hold.attempt_id)
            if attempt is None:
                continue
            account = self._account_of_hold(tx, hold)
            is_others = (
                account is not None
                and account.budget.scope == "model"
                and account.budget.window != "request"
                and hold.key[1] != attempt.model
            )
            cost_pico = 0 if is_others else to_pico(attempt.cost_usd)
            if account is not None:
                account.reserved_pico += cost_pico - hold.pico
                account.unpriced -= hold.unpriced
                self._dirty.add(hold.key)
            hold.pico, hold.unpriced = cost_pico, 0
            self._write_hold(tx, entry_id, hold)

    def settle(self, tx: Transaction, entry: LedgerEntry) -> tuple[BudgetAlert, ...]:
        """Charge what the attempts have cost, release their holds, and return the alerts due."""
        self.sync(tx)
        if not self._budgets:
            return ()
        touched: set[_AccountKey] = set()
        for attempt in entry.attempts:
            touched |= self.charge(tx, entry, attempt, to_pico(attempt.cost_usd))
        for hold in self._load_holds(tx, entry.entry_id):
            if account := self._account_of_hold(tx, hold):
                account.reserved_pico -= hold.pico
                account.unpriced -= hold.unpriced
                self._dirty.add(hold.key)
        self._holds.pop(entry.entry_id, None)
        tx.delete("holds", "entry_id", entry.entry_id)
        alerts = self.collect_alerts(touched)
        self._drop_request_accounts(tx, entry.entry_id)
        return alerts

    def charge(
        self, tx: Transaction, entry: LedgerEntry, attempt: Attempt, pico: int
    ) -> set[_AccountKey]:
        """Add an amount to the spending of an attempt's budgets.

        Args:
            tx: the group in which the cause of the change is written.
            entry: the request, whose labels decide the budgets.
            attempt: the attempt, whose start decides the windows.
            pico: the amount in 10⁻¹² USD; may be negative.

        Returns:
            The accounts that have changed, for `collect_alerts`.
        """
        self.sync(tx)
        touched: set[_AccountKey] = set()
        for budget in self._budgets if pico else ():
            key = self._attempt_key(budget, entry, attempt)
            if key is not None:
                self._load_account(tx, budget, key).spent_pico += pico
                touched.add(key)
        self._dirty |= touched
        return touched

    def collect_alerts(self, keys: set[_AccountKey]) -> tuple[BudgetAlert, ...]:
        """Return alerts of the accounts that have passed a further threshold, each once."""
        return tuple(
            alert
            for key in sorted(keys)
            if (alert := _advance_alert_level(key, self._accounts[key]))
        )

    def invalidate(self) -> None:
        """Drop the cache, because a budget itself has changed."""
        self._head_hash = None
        self._tx = None

    def sync(self, tx: Transaction) -> None:
        """Join a transaction; drop the cache if another process has written meanwhile."""
        if self._tx is tx:
            return
        if self._head_hash != tx.base_hash or len(self._accounts) > _MAX_ACCOUNTS:
            self._reload(tx)
        self._tx = tx
        self._head_hash = (
            None  # until this group is committed, the cache may be ahead of the database
        )
        tx.before_flush.append(self._write_back)

    def _reload(self, tx: Transaction) -> None:
        rows = tx.execute("SELECT body FROM budgets ORDER BY id")
        try:
            self._budgets = tuple(BUDGET_ADAPTER.validate_json(body) for (body,) in rows)
        except ValidationError as error:
            raise StoreError(
                "A budget in the ledger cannot be read; it was written by another version."
            ) from error
        for known in (self._windows, self._accounts, self._dirty, self._holds):
            known.clear()

    def _write_back(self) -> None:
        tx = self._tx
        if tx is None:
            return
        for key in self._dirty:
            account = self._accounts[key]
            numbers = (
                account.spent_pico,
                account.reserved_pico,
                account.unpriced,
                account.alerted,
            )
            tx.insert(_ACCOUNTS, (*key, *numbers))
        self._dirty.clear()
        self._head_hash = tx.hash

    def _shares(
        self, tx: Transaction, start: AttemptStart, at_us: int
    ) -> Iterator[tuple[_AccountKey, _Account, int | None]]:
        """Yield every account that may be charged, with the most that it may be charged."""
        for budget in self._budgets:
            merged: dict[_AccountKey, int | None] = {}
            for subject, usd in _shares_of(budget, start).items():
                key = self._window_key(budget, subject, start.entry_id, at_us)
                if key is None:
                    continue
                pico = None if usd is None else to_pico(usd)
                known = merged.get(key, pico)
                merged[key] = None if pico is None or known is None else max(known, pico)
            for key, pico in merged.items():
                yield key, self._load_account(tx, budget, key), pico

    def _attempt_key(
        self, budget: Budget, entry: LedgerEntry, attempt: Attempt
    ) -> _AccountKey | None:
        subject = _subject_of(budget, entry.attribution, attempt.model, entry.task_type)
        return self._window_key(budget, subject, entry.entry_id, to_us(attempt.started_at))

    def _window_key(
        self, budget: Budget, subject: str | None, entry_id: str, at_us: int
    ) -> _AccountKey | None:
        if subject is None:
            return None
        if budget.window == "request":
            return (budget.id, entry_id, 0)
        start_us, end_us = self._windows.get(budget.id, (0, 0))
        if not start_us <= at_us < end_us:
            start, end = window_bounds(budget.window, from_us(at_us), budget.timezone)
            start_us, end_us = self._windows[budget.id] = to_us(start), to_us(end)
        return (budget.id, subject, start_us)

    def _load_account(self, tx: Transaction, budget: Budget, key: _AccountKey) -> _Account:
        account = self._accounts.get(key)
        if account is None:
            rows = tx.execute(
                "SELECT spent_pico, reserved_pico, unpriced, alerted FROM accounts "
                "WHERE budget = ? AND subject = ? AND start_us = ?",
                key,
            )
            account = self._accounts[key] = _Account(budget, *(rows[0] if rows else ()))
        return account

    def _account_of_hold(self, tx: Transaction, hold: _Hold) -> _Account | None:
        """Return the account of a hold; None if its budget was removed meanwhile."""
        for budget in self._budgets:
            if budget.id == hold.key[0]:
                return self._load_account(tx, budget, hold.key)
        return None

    def _load_holds(self, tx: Transaction, entry_id: str) -> list[_Hold]:
        holds = self._holds.get(entry_id)
        if holds is None:
            rows = tx.execute(
                "SELECT attempt_id, budget, subject, start_us, pico, unpriced FROM holds "
                "WHERE entry_id = ?",
                (entry_id,),
            )
            holds = [_Hold(row[0], row[1:4], row[4], row[5]) for row in rows]
            self._holds[entry_id] = holds
        return holds

    def _write_hold(self, tx: Transaction, entry_id: str, hold: _Hold) -> None:
        row = (entry_id, hold.attempt_id, *hold.key, hold.pico, hold.unpriced)
        tx.insert(_HOLDS, row)

    def _drop_request_accounts(self, tx: Transaction, entry_id: str) -> None:
        for budget in self._request_budgets():
            key = (budget.id, entry_id, 0)
            self._accounts.pop(key, None)
            self._dirty.discard(key)
            tx.delete("accounts", "subject", entry_id)

    def _request_budgets(self) -> Iterator[Budget]:
        return (budget for budget in self._budgets if budget.window == "request")


def _subject_of(budget: Budget, attribution: Attribution, model: str, task_type: str) -> str | None:
    """Return the subject of a budget that a call spends from; None if the budget does not apply."""
    if budget.scope == "global":
        return ""
    before = DIMENSION_BY_NAME[budget.scope].before
    label = before(attribution, model, task_type) if before else None
    return label if label and budget.value in (WILDCARD, label) else None


def _shares_of(budget: Budget, start: AttemptStart) -> dict[str, Decimal | None]:
    """Return the subjects of a budget that a call may spend from, with the maximum; None: unknown.

    A budget for models applies to every model that may answer, at that model's own worst case.
    """
    subject = _subject_of(budget, start.attribution, start.model, start.task_type)
    if budget.scope != "model":
        return {} if subject is None else {subject: start.reserved_usd}
    shares: dict[str, Decimal | None] = {}
    if subject is not None:
        has_others = bool(start.may_serve)
        shares[subject] = start.own_reserved_usd if has_others else start.reserved_usd
    for one in start.may_serve:
        if budget.value not in (WILDCARD, one.model):
            continue
        known_usd, usd = shares.get(one.model, one.reserved_usd), one.reserved_usd
        shares[one.model] = None if known_usd is None or usd is None else max(known_usd, usd)
    if start.may_be_any and budget.value not in (None, WILDCARD):
        shares.setdefault(budget.value, start.reserved_usd)
    return shares


def _check_available(account: _Account, reserved_pico: int | None, start: AttemptStart) -> None:
    budget, model = account.budget, start.model
    if reserved_pico is None and not budget.allow_unknown_price:
        raise UnknownPrice(
            f"{_reason(start)}, so nothing can be reserved in the budget `{budget.id}`. Change "
            "that, or allow unknown prices for it.",
            model=model,
        )
    if reserved_pico is None and account.unpriced:
        raise BudgetExceeded(
            f"Another call of unknown price is in flight in the budget `{budget.id}`; "
            "they go one at a time.",
            retry_after_s=1.0,
            model=model,
        )
    left_pico = to_pico(budget.limit_usd) - account.spent_pico - account.reserved_pico
    if left_pico < (reserved_pico or 0) or (reserved_pico is None and left_pico == 0):
        raise BudgetExceeded(
            f"{model} may cost up to {usd_text(from_pico(reserved_pico or 0))} USD, and "
            f"{usd_text(max(Decimal(0), from_pico(left_pico)))} of "
            f"{usd_text(budget.limit_usd)} USD are left in the budget `{budget.id}`. "
            "Raise it with `devflow budget set`, or ask for less.",
            model=model,
        )


def _reason(start: AttemptStart) -> str:
    """Return why the worst case of a call is unknown."""
    reason = start.unpriced_reason or f"the price of {start.model} is not known"
    return reason[:1].upper() + reason[1:] if reason.startswith("the ") else reason


def _advance_alert_level(key: _AccountKey, account: _Account) -> BudgetAlert | None:
    budget, spent_usd = account.budget, from_pico(account.spent_pico)
    level = alert_level(budget, spent_usd)
    if level <= account.alerted:
        return None
    account.alerted = level
    passed = sorted(budget.thresholds)[: min(level, len(budget.thresholds))]
    return BudgetAlert(
        budget=budget,
        subject=key[1],
        threshold=passed[-1] if passed else 1.0,
        is_overrun=spent_usd > budget.limit_usd,
        spent_usd=spent_usd,
        window_start=from_us(key[2]),
    )
