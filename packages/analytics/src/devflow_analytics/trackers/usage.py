"""Keeps running totals of requests and how they went."""

from __future__ import annotations

from collections.abc import Mapping

from devflow_core.ledger import LedgerEntry
from devflow_core.summary import Summary, Tally

MAX_MODELS = 1_000
"""The most models; later ones are summed under `OTHER`, since a caller may request any name."""
OTHER = "other"
"""The name of all models beyond `MAX_MODELS`."""


class UsageTracker:
    """A `Ledger` that sums requests, tokens, errors, costs and times per model.

    It is fed live, and rebuilt after a restart by `devflow_core.replay`. One entry takes a few
    microseconds.
    """

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    @property
    def total(self) -> Summary:
        """The sum over all models."""
        total = Summary()
        for tally in self._tallies.values():
            total = total + tally.summary()
        return total

    def record(self, entry: LedgerEntry, /) -> None:
        """Add an entry: attempts count at their own models, the request at the deciding one."""
        for attempt in entry.attempts or (None,):
            model = attempt.model if attempt else entry.requested_model
            self._tally(model).add(entry, attempt)

    def by_model(self) -> Mapping[str, Summary]:
        """Return the summary of each model; they add up to `total`."""
        return {model: tally.summary() for model, tally in self._tallies.items()}

    def _tally(self, model: str) -> Tally:
        tally = self._tallies.get(model)
        if tally is None:
            if len(self._tallies) >= MAX_MODELS:
                model = OTHER
            tally = self._tallies.setdefault(model, Tally())
        return tally
