"""Keeps a book and a ledger in memory, for programs without a ledger file and for tests."""

from __future__ import annotations

from decimal import Decimal

from devflow_core.errors import BudgetExceeded, UnknownPrice
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.usage import from_pico, to_pico, usd_text


class MemoryLedger:
    """Keeps the newest entries that it receives.

    Args:
        max_entries: how many entries to keep; the oldest are dropped first.
    """

    def __init__(self, *, max_entries: int = 10_000) -> None:
        self._entries: dict[str, LedgerEntry] = {}
        self._max_entries = max_entries

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """The entries, oldest first."""
        return tuple(self._entries.values())

    def get(self, entry_id: str) -> LedgerEntry | None:
        """Return the entry of this id, or None if it is not kept."""
        return self._entries.get(entry_id)

    def record(self, entry: LedgerEntry, /) -> None:
        """Record an entry; one with the same id replaces the earlier one."""
        self._entries[entry.entry_id] = entry
        if len(self._entries) > self._max_entries:
            del self._entries[next(iter(self._entries))]


class MemoryBook:
    """A `Book` without durability, with at most one limit on all spending together.

    Its `ledger` keeps the newest entries.

    Args:
        limit_pico: the most that may be spent in the life of this object, in 10⁻¹² USD; None: no
            limit.
        allow_unknown_price: whether a call with an unknown worst case may start under a limit;
            such calls then run one at a time.
    """

    def __init__(self, *, limit_pico: int | None = None, allow_unknown_price: bool = False) -> None:
        self.ledger = MemoryLedger()
        self._limit_pico = limit_pico
        self._allow_unknown_price = allow_unknown_price
        self._spent_pico = 0
        self._open: dict[str, AttemptStart] = {}

    @property
    def spent_usd(self) -> Decimal:
        """The cost of all ended attempts."""
        return from_pico(self._spent_pico)

    @property
    def open_attempts(self) -> tuple[AttemptStart, ...]:
        """Attempts that have begun and not yet ended."""
        return tuple(self._open.values())

    async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
        for attempt in ended:
            self._end(attempt)
        self._check_limit(start)
        self._open[start.attempt_id] = start

    async def close(self, entry: LedgerEntry, /) -> None:
        for attempt in entry.attempts:
            self._end(attempt)
        self.ledger.record(entry)

    def _check_limit(self, start: AttemptStart) -> None:
        if self._limit_pico is None:
            return
        if start.reserved_usd is None:
            self._check_unpriced(start)
        reserved = sum(to_pico(one.reserved_usd or from_pico(0)) for one in self._open.values())
        requested = to_pico(start.reserved_usd or from_pico(0))
        if self._spent_pico + reserved + requested > self._limit_pico:
            remaining_usd = from_pico(max(0, self._limit_pico - self._spent_pico - reserved))
            raise BudgetExceeded(
                f"{start.model} may cost up to {usd_text(from_pico(requested))} USD, and "
                f"{usd_text(remaining_usd)} USD of the budget are left. Raise it or ask for less.",
                model=start.model,
            )

    def _check_unpriced(self, start: AttemptStart) -> None:
        if not self._allow_unknown_price:
            reason = start.unpriced_reason or f"the price of {start.model} is not known"
            raise UnknownPrice(
                f"Nothing can be reserved in the budget: {reason}. Change that, or set "
                "allow_unknown_price.",
                model=start.model,
            )
        if any(one.reserved_usd is None for one in self._open.values()):
            raise BudgetExceeded(
                "Another call of unknown price is in flight in the budget; they go one at a time.",
                retry_after_s=1.0,
                model=start.model,
            )
        if self._limit_pico is not None and self._spent_pico >= self._limit_pico:
            raise BudgetExceeded("Nothing is left of the budget. Raise it.", model=start.model)

    def _end(self, attempt: Attempt) -> None:
        if self._open.pop(attempt.attempt_id, None) is not None:
            self._spent_pico += to_pico(attempt.cost_usd)
