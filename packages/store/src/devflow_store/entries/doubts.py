"""Makes the alerts about doubted costs, which a provider has reported or which exceed a reserve."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from devflow_core.ledger import Attempt, CostDoubt, CostStatus, LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class CostDoubtAlert:
    """An alert that the cost of an attempt is doubted."""

    doubt: CostDoubt
    entry_id: str
    attempt_id: str
    model: str
    generation_id: str | None
    """The provider's id of the call; None if unknown."""
    cost_status: CostStatus
    booked_usd: Decimal
    """The attempt's cost in the ledger."""
    reserved_usd: Decimal | None
    """The worst case that was reserved; None if it was unknown."""


def find_doubts(entry: LedgerEntry) -> tuple[CostDoubtAlert, ...]:
    """Return an alert for each attempt whose cost is in doubt; nearly always none."""
    return tuple(
        _make_alert(entry, attempt, attempt.cost_doubt)
        for attempt in entry.attempts
        if attempt.cost_doubt is not None
    )


def _make_alert(entry: LedgerEntry, attempt: Attempt, doubt: CostDoubt) -> CostDoubtAlert:
    return CostDoubtAlert(
        doubt=doubt,
        entry_id=entry.entry_id,
        attempt_id=attempt.attempt_id,
        model=attempt.model,
        generation_id=attempt.generation_id,
        cost_status=attempt.cost_status,
        booked_usd=attempt.cost_usd,
        reserved_usd=attempt.reserved_usd,
    )
