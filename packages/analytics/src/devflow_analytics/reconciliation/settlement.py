"""Compares our books with the provider's: what the total of a window means for its open rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from devflow_core.ledger import UNCONFIRMED, Attempt, LedgerEntry
from devflow_core.usage import from_pico, to_pico, usd_text


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingWindow:
    """A period for which the provider reports its total bill."""

    name: str
    """`2026-11-20` for a day in UTC, `week of 2026-11-16` for a week, `2026-11` for a month."""
    since: datetime
    """The start of the period in UTC, inclusive."""
    until: datetime
    """The end of the period in UTC, exclusive."""
    theirs_usd: Decimal
    """The amount that the provider billed in the period."""

    def holds(self, at: datetime) -> bool:
        """Return whether a time lies in the window."""
        return self.since <= at < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRow:
    """One attempt of ours, with its entry."""

    entry: LedgerEntry
    attempt: Attempt

    @property
    def ended_at(self) -> datetime:
        """When the attempt ended, in UTC; the provider may bill it from then on."""
        return self.attempt.started_at + timedelta(seconds=self.attempt.total_s)

    def as_json(self) -> dict[str, Any]:
        """Return the row's ids, model, start and estimated cost as JSON values."""
        return {
            "attempt_id": self.attempt.attempt_id,
            "entry_id": self.entry.entry_id,
            "generation_id": self.attempt.generation_id,
            "model": self.attempt.model,
            "started_at": self.attempt.started_at.isoformat(),
            "estimated_usd": usd_text(self.attempt.cost_usd),
        }

    def doubt_json(self) -> dict[str, Any]:
        """Return a row whose reported cost is impossible as JSON values.

        They are its ids, model and start, the doubt, the cost as booked and what was reserved.
        """
        reserved_usd = self.attempt.reserved_usd
        row = self.as_json()
        del row["estimated_usd"]
        return {
            **row,
            "doubt": self.attempt.cost_doubt,
            "cost_usd": usd_text(self.attempt.cost_usd),
            "cost_status": self.attempt.cost_status,
            "reserved_usd": None if reserved_usd is None else usd_text(reserved_usd),
        }


@dataclass(slots=True, kw_only=True)
class WindowRows:
    """Our attempts of a window: final ones as a sum, open ones as a list."""

    window: BillingWindow
    cutoff: datetime
    """Attempts that ended later may still be missing from the provider's total."""
    known_pico: int = 0
    """The sum of the final costs, in 10⁻¹² USD."""
    opened: list[OpenRow] = field(default_factory=list[OpenRow])
    """Rows with an estimated or observed cost."""
    doubted: list[OpenRow] = field(default_factory=list[OpenRow])
    """Rows, open or final, for which the provider reported an impossible cost."""
    is_final: bool = True
    """Whether the provider's total is sure to hold all of these rows, and no others of ours."""

    def add(self, row: OpenRow) -> None:
        """Add an attempt that began in the window; ignore any other.

        One that only ended in it, or is too young, makes the total inconclusive unless it is void.
        """
        attempt, window = row.attempt, self.window
        is_inside = window.holds(attempt.started_at)
        if not is_inside and not window.holds(row.ended_at):
            return
        is_whole = is_inside and row.ended_at < window.until and row.ended_at <= self.cutoff
        if attempt.cost_status != "void" and not is_whole:
            # an attempt across the window's edge may be in the total of either side
            self.is_final = False
        if not is_inside:
            return
        # estimated or observed: only such rows take a share of what the provider billed beyond ours
        if attempt.cost_status in UNCONFIRMED:
            self.opened.append(row)
        else:
            self.known_pico += to_pico(attempt.cost_usd)
        if attempt.cost_doubt is not None:
            self.doubted.append(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettlement:
    """The consequences of a window's total for the rows that were open in it."""

    window: BillingWindow
    ours_usd: Decimal
    """Our total after the rows below are settled; those that stay open count as estimated."""
    settled: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    """Attempt id → its share of what the provider billed beyond our settled rows."""
    ghosts: tuple[OpenRow, ...] = ()
    """Our rows that the provider did not bill; they cost nothing."""
    doubted: tuple[OpenRow, ...] = ()
    """Rows for which the provider reported an impossible cost."""

    @property
    def difference_usd(self) -> Decimal:
        """Our total minus the provider's; negative if more was billed than our rows come to."""
        return self.ours_usd - self.window.theirs_usd


def settle_window(window: BillingWindow, rows: WindowRows) -> WindowSettlement:
    """Settle the open rows of a window by its total.

    What was billed beyond our settled rows must belong to the open ones; each gets a share in
    proportion to the most it may have cost. The total is inconclusive if more was billed than the
    open rows can have cost (someone else used the keys), or less than is settled (the provider's
    figure lags), or if a row is too young or crosses the window's edge, or a call still runs. Then
    all rows stay open.

    Args:
        window: with the provider's total.
        rows: our rows of that period.
    """
    max_picos = [_max_pico(row.attempt) for row in rows.opened]
    missing_pico = to_pico(window.theirs_usd) - rows.known_pico
    doubted = tuple(rows.doubted)
    # an inconclusive total: keep our estimates, settle nothing
    if not rows.is_final or not 0 <= missing_pico <= sum(max_picos):
        open_pico = sum(to_pico(row.attempt.cost_usd) for row in rows.opened)
        ours_usd = from_pico(rows.known_pico + open_pico)
        return WindowSettlement(window=window, ours_usd=ours_usd, doubted=doubted)
    shares = _split_in_proportion(missing_pico, max_picos)
    return WindowSettlement(
        window=window,
        ours_usd=from_pico(rows.known_pico + missing_pico),
        settled={
            row.attempt.attempt_id: from_pico(share)
            for row, share in zip(rows.opened, shares, strict=True)
        },
        ghosts=tuple(row for row, share in zip(rows.opened, shares, strict=True) if share == 0),
        doubted=doubted,
    )


def _max_pico(attempt: Attempt) -> int:
    return to_pico(max(attempt.cost_usd, attempt.reserved_usd or Decimal(0)))


def _split_in_proportion(amount: int, weights: Sequence[int]) -> list[int]:
    """Split an amount in proportion to the weights; the parts add up to it exactly."""
    total = max(1, sum(weights))
    taken, seen, shares = 0, 0, list[int]()
    for weight in weights:
        seen += weight
        # rounding the running sum, not each share, makes the parts add up exactly
        up_to_here = amount * seen // total
        shares.append(up_to_here - taken)
        taken = up_to_here
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The result of a comparison with the provider's books."""

    settlements: tuple[WindowSettlement, ...]
    confirmed: tuple[str, ...]
    """Attempts that were looked up individually and settled."""
    observed: tuple[str, ...] = ()
    """Attempts that keep our own figure for good, since no other will come."""
    pending: tuple[OpenRow, ...]
    """Rows that still have only an estimate."""
    notes: tuple[str, ...] = ()
    """Notes on what could not be requested, and why."""

    @property
    def ours_usd(self) -> Decimal:
        """Our total over the closed windows."""
        return sum((one.ours_usd for one in self.settlements), Decimal(0))

    @property
    def theirs_usd(self) -> Decimal:
        """The provider's total over the same windows."""
        return sum((one.window.theirs_usd for one in self.settlements), Decimal(0))

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values; money is decimal text in USD."""
        return {
            "ours_usd": usd_text(self.ours_usd),
            "theirs_usd": usd_text(self.theirs_usd),
            "difference_usd": usd_text(self.ours_usd - self.theirs_usd),
            "orphans": [_orphan_as_json(one) for one in self.settlements if one.difference_usd < 0],
            "ghosts": [*self._ghosts_as_json()],
            "pending": len(self.pending),
            "confirmed": len(self.confirmed),
            "settled_by_total": sum(len(one.settled) for one in self.settlements),
            "observed": len(self.observed),
            "doubts": [row.doubt_json() for one in self.settlements for row in one.doubted],
            "windows": [_window_as_json(one) for one in self.settlements],
            "pending_rows": [row.as_json() for row in self.pending],
            "notes": list(self.notes),
        }

    def _ghosts_as_json(self) -> Iterable[dict[str, Any]]:
        for settlement in self.settlements:
            for row in settlement.ghosts:
                yield {"window": settlement.window.name, **row.as_json()}


def _orphan_as_json(settlement: WindowSettlement) -> dict[str, Any]:
    """Describe what was billed beyond all our rows; the provider does not list single calls."""
    return {
        "window": settlement.window.name,
        "cost_usd": usd_text(-settlement.difference_usd),
        "why": "billed to these keys, but not found in this ledger",
    }


def _window_as_json(settlement: WindowSettlement) -> dict[str, Any]:
    return {
        "window": settlement.window.name,
        "ours_usd": usd_text(settlement.ours_usd),
        "theirs_usd": usd_text(settlement.window.theirs_usd),
        "difference_usd": usd_text(settlement.difference_usd),
    }
