"""Asks the provider what our calls have cost after all, and closes the days against its totals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, Protocol

from devflow_core.clocks import utc_now
from devflow_core.errors import DevFlowError
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.usage import Usage, parse_amount

from devflow_analytics.reconciliation.settlement import (
    BillingWindow,
    OpenRow,
    Reconciliation,
    WindowSettlement,
    select_rows,
    settle_window,
)

MAX_ROWS = 10_000
"""Of one run, oldest first; the next run takes the next."""
MAX_CONCURRENT_LOOKUPS = 8
"""Questions in flight: the provider's account endpoints are rate-limited as well."""
INITIAL_WAIT_S, MAX_WAIT_S = 1.0, 60.0
"""Between two rounds of questions, doubled each time."""
MAX_DAYS = 30
"""The provider's totals by day go back as far (its description of 2026-08-22)."""
UsagePeriod = Literal["daily", "weekly", "monthly"]


class ReconciliationStore(Protocol):
    """Our side: a store."""

    def entries(self, since: datetime, until: datetime, /) -> Iterable[LedgerEntry]:
        """Entries whose request arrived in a time, with corrections in them."""
        ...

    def unconfirmed(self, limit: int, /) -> Sequence[tuple[LedgerEntry, Attempt]]:
        """Attempts with an estimated cost, oldest first."""
        ...

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
        """Settle an attempt; the same figure again changes nothing."""
        ...


class ProviderAccount(Protocol):
    """The provider's side, for all keys of this gateway together."""

    def has_key(self, key_id: str | None, /) -> bool:
        """Whether calls with this key are in the figures below."""
        ...

    async def fetch_generation(
        self, generation_id: str, key_id: str | None, /
    ) -> Mapping[str, Any] | None:
        """What is booked for a call; None while it is not."""
        ...

    async def fetch_day_usd(self, day: date, /) -> Decimal | None:
        """What a completed day (UTC) has cost; None where that may not be asked."""
        ...

    async def fetch_usage_usd(self, period: UsagePeriod, /) -> Decimal:
        """What the keys have cost since the day, week (Monday) or month began, in UTC."""
        ...


class Reconciler:
    """Brings a ledger into agreement with the provider's books.

    Args:
        store: our side.
        account: the provider's.
        patience_s: how old a row must be, and how long a run goes on asking, before "not found"
            is taken for an answer. A call is unknown to the provider's own books for seconds to
            minutes after it.
        now: the wall clock, in UTC.
        sleep: how to wait.
    """

    def __init__(
        self,
        store: ReconciliationStore,
        account: ProviderAccount,
        *,
        patience_s: float = 900.0,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._account = account
        self._patience_s = patience_s
        self._now = now
        self._sleep = sleep
        self._notes: dict[str, None] = {}

    async def reconcile(self, days: int = 7) -> Reconciliation:
        """Look up every unconfirmed row, then close the last days and the running one.

        Args:
            days: how many completed days to close, 0 to 30. Where they may not be asked for
                (that needs a management key), the running month is closed in their place.

        Raises:
            StoreError: the ledger cannot be read or written.
            UpstreamError: the totals cannot be had.
        """
        self._notes = {}
        confirmed = await self._look_up_in_rounds()
        windows = await self._fetch_windows(max(0, min(days, MAX_DAYS)))
        settlements = [await self._settle(window) for window in windows]
        return Reconciliation(
            settlements=tuple(settlements),
            confirmed=tuple(confirmed),
            pending=tuple(self._read_open_rows()),
            notes=tuple(self._notes),
        )

    # one by one

    async def confirm_pending(self) -> tuple[str, ...]:
        """Look up each unconfirmed row once that is younger than our patience, without waiting.

        Returns:
            The attempts that could be settled; those that could not are found by the next call.

        Raises:
            StoreError: the ledger cannot be read or written.
        """
        now = self._now()
        rows = await asyncio.to_thread(self._read_open_rows)
        return tuple(
            await self._look_up_all([row for row in rows if self._is_worth_looking_up(row, now)])
        )

    async def _look_up_in_rounds(self) -> list[str]:
        """In rounds, until every row is found or so old that it will not be."""
        started = self._now()
        end = started + timedelta(seconds=self._patience_s)
        confirmed, wait_s = await self._look_up_all(self._read_open_rows()), INITIAL_WAIT_S
        while left := [
            row for row in self._read_open_rows() if self._is_worth_looking_up(row, started)
        ]:
            await self._sleep(min(wait_s, max(0.001, (end - self._now()).total_seconds())))
            wait_s = min(wait_s * 2, MAX_WAIT_S)
            confirmed += await self._look_up_all(left)
        return confirmed

    def _is_worth_looking_up(self, row: OpenRow, started: datetime) -> bool:
        """Rows that began after the run did are left for the next one."""
        age_s = (self._now() - row.attempt.started_at).total_seconds()
        return age_s < self._patience_s and row.attempt.started_at <= started

    async def _look_up_all(self, rows: Sequence[OpenRow]) -> list[str]:
        free = asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._look_up(row.attempt, free))
                for row in rows
                if row.attempt.generation_id
            ]
        return [found for task in tasks if (found := task.result())]

    async def _look_up(self, attempt: Attempt, free: asyncio.Semaphore) -> str | None:
        """The attempt's id when it could be settled."""
        async with free:
            try:
                booked = await self._account.fetch_generation(
                    attempt.generation_id or "", attempt.key_id
                )
            except DevFlowError as error:
                self._notes[error.message] = None
                return None
        cost = _parse_cost(booked) if booked else None
        if booked is None or cost is None:
            return None
        usd, text = cost
        provider = booked.get("provider_name")
        await self._store.confirm(
            attempt.attempt_id,
            usd,
            text,
            usage=_parse_usage(booked) if attempt.usage.prompt_tokens == 0 else None,
            provider=provider if isinstance(provider, str) else None,
            source="generation",
        )
        return attempt.attempt_id

    def _read_open_rows(self) -> list[OpenRow]:
        found = self._store.unconfirmed(MAX_ROWS)
        return [OpenRow(entry=entry, attempt=attempt) for entry, attempt in found]

    # by totals

    async def _fetch_windows(self, days: int) -> list[BillingWindow]:
        today = self._now().date()
        windows: list[BillingWindow] = []
        for back in range(days, 0, -1):
            day = today - timedelta(days=back)
            theirs_usd = await self._account.fetch_day_usd(day)
            if theirs_usd is None:
                self._notes[
                    "Completed days need a management key (DEVFLOW_MANAGEMENT_KEY); the running "
                    "month was closed against the keys' own totals."
                ] = None
                return [await self._fetch_running_window(today.replace(day=1), "monthly")]
            windows.append(_day_window(day, theirs_usd))
        return [*windows, await self._fetch_running_window(today, "daily")]

    async def _fetch_running_window(self, first: date, period: UsagePeriod) -> BillingWindow:
        """The running day or month, from the keys' own totals."""
        theirs_usd = await self._account.fetch_usage_usd(period)
        name = f"{first:%Y-%m}" if period == "monthly" else str(first)
        until = self._now() + timedelta(seconds=1)
        return BillingWindow(name=name, since=_midnight(first), until=until, theirs_usd=theirs_usd)

    async def _settle(self, window: BillingWindow) -> WindowSettlement:
        entries = self._store.entries(window.since - timedelta(days=1), window.until)
        rows = [
            row for row in select_rows(entries, window) if self._account.has_key(row.attempt.key_id)
        ]
        cutoff = self._now() - timedelta(seconds=self._patience_s)
        settlement = settle_window(
            window, rows, is_final=all(_is_final(row, cutoff) for row in rows)
        )
        for attempt_id, usd in settlement.settled.items():
            await self._store.confirm(attempt_id, usd, None, source=f"total of {window.name}")
        return settlement


def _is_final(row: OpenRow, cutoff: datetime) -> bool:
    return row.attempt.cost_status != "estimated" or row.attempt.started_at <= cutoff


def _parse_cost(booked: Mapping[str, Any]) -> tuple[Decimal, str | None] | None:
    """What `GET /generation` says a call cost, with its decimal text where that is the whole.

    `upstream_inference_cost` is there only for a key of the user's own, and on top.
    """
    total = parse_amount(booked.get("total_cost"))
    if total is None:
        return None
    upstream = (
        parse_amount(booked.get("upstream_inference_cost")) if booked.get("is_byok") else None
    )
    return (total + upstream, None) if upstream else (total, f"{total:f}")


def _parse_usage(booked: Mapping[str, Any]) -> Usage | None:
    """The provider's own counts, for a reply that broke off before it told them."""
    prompt, cached, completion, reasoning = (
        count if isinstance(count := booked.get(f"native_tokens_{name}"), int) else 0
        for name in ("prompt", "cached", "completion", "reasoning")
    )
    if prompt <= 0 or min(cached, completion, reasoning) < 0:
        return None
    return Usage(
        input_tokens=max(0, prompt - cached),
        cache_read_tokens=min(prompt, cached),
        output_tokens=max(0, completion - reasoning),
        reasoning_tokens=min(completion, reasoning),
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _day_window(day: date, theirs_usd: Decimal) -> BillingWindow:
    since = _midnight(day)
    return BillingWindow(
        name=str(day), since=since, until=since + timedelta(days=1), theirs_usd=theirs_usd
    )
