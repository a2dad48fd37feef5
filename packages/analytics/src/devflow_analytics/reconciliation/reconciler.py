"""Gives every open cost its final figure, by the best evidence available."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

from devflow_core.clocks import utc_now
from devflow_core.errors import DevFlowError
from devflow_core.ledger import OBSERVED, RESERVED, Attempt

from devflow_analytics.reconciliation.booked_call import parse_cost, parse_usage
from devflow_analytics.reconciliation.settlement import OpenRow, Reconciliation
from devflow_analytics.reconciliation.sides import ProviderAccount, ReconciliationStore
from devflow_analytics.reconciliation.totals import Totals

MAX_ROWS = 10_000
"""The most rows per run, oldest first; the next run takes the next ones."""
MAX_OLD_LOOKUPS = 500
"""The most look-ups per pass for rows that the provider did not know when they were young."""
MAX_CONCURRENT_LOOKUPS = 8
"""The most look-ups in flight: the provider limits the rate of its account endpoints too."""
INITIAL_WAIT_S, MAX_WAIT_S = 1.0, 60.0
"""The shortest and longest wait in seconds between rounds of look-ups; it doubles each time."""
MAX_OPEN = timedelta(days=3)
"""The longest time that a cost waits for the provider's figure; after that our own stands.

A total that was inconclusive for so long, for example because the keys are used elsewhere, stays
so.
"""


# The states of an attempt's cost, and what moves it on:
#
#   from       to        when
#   estimated  settled   the provider reports a figure for the call (`generation`)
#   estimated  settled   the total of its window decides it (`total of …`)
#   estimated  observed  MAX_OPEN has passed, or its key is gone: our own figure stands
#   observed   settled   its window is closed again, and the total now decides it
#
# `settled` is final. `void` (nothing was or can be billed) is set when the attempt is booked.


class Reconciler:
    """Brings a ledger into agreement with the provider's books.

    A row is settled by the first available of three figures: the provider's figure for the call
    (`generation`), what it billed in total beyond our settled rows (`total of …`), and, once
    neither can arrive any more, what was seen of the reply (`observed`).

    Args:
        store: our side.
        account: the provider's side.
        patience_s: how old a row must be, and how long a run keeps asking, before "not found" is
            accepted as an answer. The provider's books lag seconds to minutes behind a call.
        now: the wall clock, in UTC.
        sleep: waits for a number of seconds.
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
        self._totals = Totals(store, account, patience_s=patience_s, now=now)
        # a dictionary as an ordered set: every note once, in order
        self._notes: dict[str, None] = {}

    async def reconcile(self, days: int = 7) -> Reconciliation:
        """Settle all open rows that can be, close the last days and the current one, and compare.

        Args:
            days: number of completed days to close, 0 to 30. Without the management key that
                this needs, the current month is closed instead.

        Raises:
            StoreError: the ledger cannot be read or written.
            UpstreamError: the totals are not available.
        """
        self._notes = {}
        # The order is that of the evidence: look-ups are exact, totals need the rest of a window to
        # be settled, and observation takes what neither can settle, so it must come last.
        confirmed = await self._look_up_in_rounds()
        if await self._read_open_rows():
            await self._sleep_until(await self._totals.complete_from())
        windows, note = await self._totals.fetch_windows(days)
        if note:
            self._notes[note] = None
        settlements = [await self._totals.settle(window) for window in windows]
        observed = await self._settle_observed()
        return Reconciliation(
            settlements=tuple(settlements),
            confirmed=tuple(confirmed),
            observed=tuple(observed),
            pending=tuple(await self._read_open_rows()),
            notes=tuple(self._notes),
        )

    async def confirm_pending(self) -> tuple[str, ...]:
        """Look up every unconfirmed call younger than our patience once, without waiting.

        Only calls with a generation id can be looked up.

        Returns:
            The attempts that were settled; the next call tries the others again.

        Raises:
            StoreError: the ledger cannot be read or written.
        """
        now = self._now()
        rows = await self._read_open_rows()
        return tuple(
            await self._look_up_all([row for row in rows if self._is_worth_looking_up(row, now)])
        )

    async def settle_old(self) -> Mapping[str, int]:
        """Settle rows older than our patience, as far as possible without waiting.

        Totals are requested only for periods with such rows, and trusted only if everything in the
        period is old enough and ours.

        Returns:
            The number of rows settled by each kind of evidence: `generation`, `total`, `observed`.
            Kinds that settled none are left out.

        Raises:
            StoreError: the ledger cannot be read or written.
            UpstreamError: the totals are not available.
        """
        settled = Counter[str]()
        rows = await self._read_old_rows()
        found = await self._look_up_all(
            [row for row in rows if row.attempt.generation_id][:MAX_OLD_LOOKUPS]
        )
        settled["generation"] = len(found)
        rows = [row for row in rows if row.attempt.attempt_id not in found]
        try:
            settled["total"] = await self._totals.settle_rows(rows)
        finally:
            # even if totals are not available: an expired row must not stay open for ever
            settled["observed"] = len(await self._settle_observed())
        return +settled

    # by generation: one call at a time

    async def _look_up_in_rounds(self) -> list[str]:
        """Look rows up in rounds, until each is found or too old to be found."""
        started = self._now()
        end = started + timedelta(seconds=self._patience_s)
        confirmed, wait_s = await self._look_up_all(await self._read_open_rows()), INITIAL_WAIT_S
        while left := [
            row for row in await self._read_open_rows() if self._is_worth_looking_up(row, started)
        ]:
            # never zero: a row may turn old enough only at the next tick of the clock
            await self._sleep(min(wait_s, max(0.001, (end - self._now()).total_seconds())))
            wait_s = min(wait_s * 2, MAX_WAIT_S)
            confirmed += await self._look_up_all(left)
        return confirmed

    async def _sleep_until(self, at: datetime) -> None:
        left_s = (at - self._now()).total_seconds()
        if left_s > 0:
            await self._sleep(left_s)

    def _is_worth_looking_up(self, row: OpenRow, started: datetime) -> bool:
        """Return whether a row is young enough; rows newer than this run wait for the next."""
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
        """Look an attempt up; return its id if it was settled, else None."""
        async with free:
            try:
                booked = await self._account.fetch_generation(
                    attempt.generation_id or "", attempt.key_id
                )
            except DevFlowError as error:
                self._notes[error.message] = None
                return None
        cost = parse_cost(booked) if booked else None
        if booked is None or cost is None:
            return None
        usd, text = cost
        provider = booked.get("provider_name")
        # counts that came with the reply are at least as good as these
        is_ours = attempt.is_usage_estimated or attempt.usage.prompt_tokens == 0
        await self._store.confirm(
            attempt.attempt_id,
            usd,
            text,
            usage=parse_usage(booked) if is_ours else None,
            provider=provider if isinstance(provider, str) else None,
            source="generation",
        )
        return attempt.attempt_id

    # by observation

    async def _settle_observed(self) -> list[str]:
        """Settle rows that neither a look-up nor a total can settle any more."""
        settled: list[str] = []
        for row in await self._read_old_rows():
            attempt = row.attempt
            age = self._now() - attempt.started_at
            # a row of a key that we no longer have cannot get a figure, however young it is
            if age <= MAX_OPEN and self._account.has_key(attempt.key_id):
                continue
            usd = attempt.cost_usd if attempt.observed_usd is None else attempt.observed_usd
            # without an observation, the reserved worst case stands, so that costs are never too
            # low
            source = RESERVED if attempt.observed_usd is None else OBSERVED
            await self._store.confirm(attempt.attempt_id, usd, None, source=source)
            settled.append(attempt.attempt_id)
        return settled

    async def _read_old_rows(self) -> list[OpenRow]:
        cutoff = self._now() - timedelta(seconds=self._patience_s)
        return [one for one in await self._read_open_rows() if one.ended_at <= cutoff]

    async def _read_open_rows(self) -> list[OpenRow]:
        found = await asyncio.to_thread(self._store.unconfirmed, MAX_ROWS)
        return [OpenRow(entry=entry, attempt=attempt) for entry, attempt in found]
