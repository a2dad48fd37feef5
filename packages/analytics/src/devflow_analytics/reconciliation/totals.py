"""Settles open rows by what the provider billed in total for a period."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from devflow_analytics.reconciliation.settlement import (
    BillingWindow,
    OpenRow,
    WindowRows,
    WindowSettlement,
    settle_window,
)
from devflow_analytics.reconciliation.sides import (
    ProviderAccount,
    ReconciliationStore,
    UsagePeriod,
)

MAX_DAYS = 30
"""The most days that the provider's totals by day go back (its API description of 2026-08-22)."""
NO_DAYS = (
    "Completed days need a management key (DEVFLOW_MANAGEMENT_KEY); the current month was closed "
    "against the keys' own totals."
)
MAX_REQUEST = timedelta(days=1)
"""The longest time before a window at which an entry may begin and have attempts in it."""
MAX_RECENT = timedelta(hours=1)
"""The age beyond which requests have ended, or are no longer waited for."""


class Totals:
    """Closes periods against the provider's totals.

    Args:
        store: our side.
        account: the provider's side.
        patience_s: how long a total may lag behind its calls.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        store: ReconciliationStore,
        account: ProviderAccount,
        *,
        patience_s: float,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._account = account
        self._patience = timedelta(seconds=patience_s)
        self._now = now
        self._inconclusive: dict[str, tuple[Decimal, frozenset[str]]] = {}
        """Inconclusive windows, remembered so that they are not added up again without news."""

    async def complete_from(self) -> datetime:
        """Return the time in UTC from which the totals include everything that has ended so far."""
        # the store blocks, and must not hold up the event loop
        latest_end = await asyncio.to_thread(self._read_latest_end)
        return latest_end + self._patience + timedelta(milliseconds=1)

    async def fetch_windows(self, days: int) -> tuple[list[BillingWindow], str]:
        """Return the windows to close, oldest first, and a note of what was left out.

        They are the last `days` completed days, at most 30, and the current one. If the keys may
        not ask for completed days, it is the current month alone, and the note says so; otherwise
        the note is empty.

        Raises:
            UpstreamError: the totals are not available.
        """
        today = self._now().date()
        windows: list[BillingWindow] = []
        for back in range(max(0, min(days, MAX_DAYS)), 0, -1):
            window = await self._fetch_day(today - timedelta(days=back))
            if window is None:
                return [await self._fetch_running(today.replace(day=1), "monthly")], NO_DAYS
            windows.append(window)
        return [*windows, await self._fetch_running(today, "daily")], ""

    async def settle(self, window: BillingWindow) -> WindowSettlement:
        """Compare a window with our rows, and settle those that its total decides.

        Raises:
            StoreError: the ledger cannot be read or written.
        """
        rows = await asyncio.to_thread(self._read_rows, window)
        settlement = settle_window(window, rows)
        for attempt_id, usd in settlement.settled.items():
            await self._store.confirm(attempt_id, usd, None, source=f"total of {window.name}")
        return settlement

    async def settle_rows(self, rows: Sequence[OpenRow]) -> int:
        """Close the periods around these rows, shortest first; return how many were settled.

        Raises:
            StoreError: the ledger cannot be read or written.
            UpstreamError: the totals are not available.
        """
        left = {
            row.attempt.attempt_id: row for row in rows if self._account.has_key(row.attempt.key_id)
        }
        count = len(left)
        # Shortest first: the fewer rows a window has, the more often its total is conclusive.
        has_days = await self._settle_days(left)
        if left and await self._is_quiet():
            await self._settle_running(left, only_today=has_days)
        return count - len(left)

    async def _is_quiet(self) -> bool:
        """Return whether nothing began recently, so that the current period is worth adding up."""
        latest = await asyncio.to_thread(self._store.latest_start)
        return latest is None or latest <= self._now() - self._patience

    async def _settle_days(self, left: dict[str, OpenRow]) -> bool:
        """Close completed days; return False if the keys may not ask for them."""
        now = self._now()
        for day in sorted({row.attempt.started_at.date() for row in left.values()}):
            is_over = now >= _midnight(day + timedelta(days=1)) + self._patience
            if not is_over or (now.date() - day).days > MAX_DAYS:
                continue
            window = await self._fetch_day(day)
            if window is None:
                return False
            await self._settle_once(window, left)
        return True

    async def _settle_running(self, left: dict[str, OpenRow], *, only_today: bool) -> None:
        """Close the current day; without totals of completed days, also week and month."""
        for first, period in _running_periods(self._now().date(), only_today=only_today):
            if any(row.attempt.started_at >= _midnight(first) for row in left.values()):
                await self._settle_once(await self._fetch_running(first, period), left)

    async def _settle_once(self, window: BillingWindow, left: dict[str, OpenRow]) -> None:
        """Settle a window, unless its total was inconclusive for the same rows before."""
        facts = (
            window.theirs_usd,
            frozenset(one for one, row in left.items() if window.holds(row.attempt.started_at)),
        )
        # reading the rows again would give the same answer
        if self._inconclusive.get(window.name) == facts:
            return
        settlement = await self.settle(window)
        if not settlement.settled:
            self._inconclusive = {**self._inconclusive, window.name: facts}
        for attempt_id in settlement.settled:
            left.pop(attempt_id, None)

    async def _fetch_day(self, day: date) -> BillingWindow | None:
        theirs_usd = await self._account.fetch_day_usd(day)
        if theirs_usd is None:
            return None
        since = _midnight(day)
        return BillingWindow(
            name=str(day), since=since, until=since + timedelta(days=1), theirs_usd=theirs_usd
        )

    async def _fetch_running(self, first: date, period: UsagePeriod) -> BillingWindow:
        """Return the current day, week or month, from the keys' own totals."""
        theirs_usd = await self._account.fetch_usage_usd(period)
        names = {"daily": str(first), "weekly": f"week of {first}", "monthly": f"{first:%Y-%m}"}
        # exclusive, so it lies just ahead of everything that has begun
        until = self._now() + timedelta(seconds=1)
        return BillingWindow(
            name=names[period], since=_midnight(first), until=until, theirs_usd=theirs_usd
        )

    def _read_latest_end(self) -> datetime:
        since = self._now() - self._patience - MAX_RECENT
        ends = (
            OpenRow(entry=entry, attempt=attempt).ended_at
            for entry in self._store.entries(since, self._now())
            for attempt in entry.attempts
        )
        return max(ends, default=since)

    def _read_rows(self, window: BillingWindow) -> WindowRows:
        """Read our rows of a window, after its total, so that newer rows are too young."""
        rows = WindowRows(window=window, cutoff=self._now() - self._patience)
        oldest = self._store.under_way_since()
        # an attempt that still runs may be billed in this window at any time
        rows.is_final = oldest is None or oldest >= window.until
        for entry in self._store.entries(window.since - MAX_REQUEST, window.until):
            for attempt in entry.attempts:
                if self._account.has_key(attempt.key_id):
                    rows.add(OpenRow(entry=entry, attempt=attempt))
        return rows


def _running_periods(today: date, *, only_today: bool) -> Iterator[tuple[date, UsagePeriod]]:
    yield today, "daily"
    if not only_today:
        yield today - timedelta(days=today.weekday()), "weekly"
        yield today.replace(day=1), "monthly"


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
