"""Keeps a running total of what was spent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from devflow_core.dimensions import GroupBy, group_key
from devflow_core.ledger import UNCONFIRMED, Attempt, LedgerEntry
from devflow_core.usage import from_pico, to_pico

TRACKED_DIMENSIONS: tuple[GroupBy, ...] = ("model", "task", "project", "key", "day")
"""The dimensions that `CostTracker.totals_by` can sum by."""
MAX_KEYS = 1_000
"""The most keys per dimension; later ones are summed under `OTHER`, so that memory is bounded."""
OTHER = "other"
"""The key of everything beyond `MAX_KEYS`."""


class CostTracker:
    """A `Ledger` that sums costs in total and by model, task, project, key and day.

    It is fed live, and rebuilt by `devflow_core.replay` after a restart. A cost that is confirmed
    later changes the totals only when they are rebuilt. One entry takes a few microseconds.
    """

    def __init__(self) -> None:
        self._total_pico = 0
        self._estimated_pico = 0
        self._totals_pico: dict[GroupBy, dict[str, int]] = {one: {} for one in TRACKED_DIMENSIONS}

    @property
    def total_usd(self) -> Decimal:
        """Everything spent, including estimates."""
        return from_pico(self._total_pico)

    @property
    def estimated_usd(self) -> Decimal:
        """The part of the total that the provider had not confirmed when it was recorded."""
        return from_pico(self._estimated_pico)

    def record(self, entry: LedgerEntry, /) -> None:
        """Add the costs of all attempts of an entry, including failed ones."""
        for attempt in entry.attempts:
            pico = to_pico(attempt.cost_usd)
            # failed attempts are often free: skip the keys
            if pico:
                self._add(entry, attempt, pico)

    def totals_by(self, dimension: GroupBy) -> Mapping[str, Decimal]:
        """Return the cost by value of one of `TRACKED_DIMENSIONS`; they add up to the total.

        Raises:
            KeyError: the dimension is not tracked; a `Reporter` supports all of them.
        """
        return {key: from_pico(pico) for key, pico in self._totals_pico[dimension].items()}

    def _add(self, entry: LedgerEntry, attempt: Attempt, pico: int) -> None:
        self._total_pico += pico
        if attempt.cost_status in UNCONFIRMED:
            self._estimated_pico += pico
        for dimension, sums in self._totals_pico.items():
            key = group_key(dimension, entry, attempt)
            # a caller chooses keys such as project names, so their number must be bounded
            if key not in sums and len(sums) >= MAX_KEYS:
                key = OTHER
            sums[key] = sums.get(key, 0) + pico
