"""Makes examples of ledger entries: what the user rated, and which models failed.

An entry holds no prompt, so only the coarse table by kind and complexity is learned from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast, get_args

from devflow_core.errors import (
    Incomplete,
    InvalidRequest,
    Overloaded,
    ProtocolError,
    ProviderUnavailable,
    StructuredOutputInvalid,
    UpstreamTimeout,
)
from devflow_core.ledger import Attempt, LedgerEntry
from devflow_core.routing import Complexity, TaskType

from devflow_routing.training.examples import Example
from devflow_routing.training.train import MIN_PROMPTS

PROVIDER_FAULTS = frozenset(
    one.code
    for one in (
        Incomplete,
        Overloaded,
        ProtocolError,
        ProviderUnavailable,
        StructuredOutputInvalid,
        UpstreamTimeout,
    )
)
"""The codes of errors for which a model or its provider is to blame, and not the caller."""
_KINDS: tuple[str, ...] = get_args(TaskType)
_COMPLEXITIES: tuple[str, ...] = get_args(Complexity)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLabels:
    """The examples of a ledger, with the number of each kind of label."""

    examples: tuple[Example, ...]
    """One for each rating and each failure."""
    ratings: int
    failures: int
    """Attempts that failed by the fault of a model or its provider, each with a score of 0."""
    unrated: int
    """Replies that succeeded and were not rated: they say nothing of quality, and are left out."""

    def require_enough(self) -> None:
        """Check that there are enough ratings to learn from.

        Raises:
            InvalidRequest: there are too few; the message says how many are needed.
        """
        if self.ratings < MIN_PROMPTS:
            raise InvalidRequest(
                f"The ledger holds {self.ratings} rated answers; {MIN_PROMPTS} are needed, of two"
                f" models at least. That {self.unrated} others succeeded says nothing of how good"
                " they are. Rate answers with `devflow routing rate ENTRY SCORE` or"
                " `gateway.feedback(entry_id, score)`, or learn from a file: --from FILE."
            )


def read_labels(entries: Iterable[LedgerEntry], ratings: Mapping[str, float]) -> LedgerLabels:
    """Return the labels of ledger entries.

    Entries without a task, and replies from the cache, are left out and not counted.

    Args:
        entries: entries of a ledger, in any order.
        ratings: the user's scores by entry id.
    """
    found: list[Example] = []
    rated = failed = unrated = 0
    for entry in entries:
        kind, complexity = entry.task_type, entry.complexity
        if kind not in _KINDS or complexity not in _COMPLEXITIES or entry.is_cache_hit:
            continue
        for attempt in entry.attempts:
            score = _score(attempt, entry, ratings)
            if score is None:
                unrated += attempt.outcome == "succeeded"
                continue
            rated += attempt.outcome == "succeeded"
            failed += attempt.outcome == "failed"
            cost = float(attempt.cost_usd)
            found.append(
                Example(
                    scores={attempt.model: score},
                    costs_usd={attempt.model: cost} if cost > 0 else {},
                    kind=cast("TaskType", kind),
                    complexity=cast("Complexity", complexity),
                )
            )
    return LedgerLabels(examples=tuple(found), ratings=rated, failures=failed, unrated=unrated)


def _score(attempt: Attempt, entry: LedgerEntry, ratings: Mapping[str, float]) -> float | None:
    """Return what an attempt is worth: its rating, 0 for a failure of the model, else None."""
    if attempt.outcome == "succeeded":
        return ratings.get(entry.entry_id)
    is_fault = attempt.outcome == "failed" and attempt.error_code in PROVIDER_FAULTS
    return 0.0 if is_fault else None
