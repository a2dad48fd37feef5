"""Carries a fault out: changes the answer, and says how the call then counts in the books."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from devflow_sandbox.books.billing_book import Outcome
from devflow_sandbox.faults import content, wire
from devflow_sandbox.faults.form import Fault
from devflow_sandbox.faults.steps import share_of
from devflow_sandbox.message import Answer, Step
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.settlement import Settlement

Strike = Callable[[Any, Answer, list[Step], Generation | None], Iterable[Step]]

_STRIKES: dict[str, Strike] = {
    "redirect": wire.redirect,
    "refuse": wire.refuse,
    "stale": wire.stale,
    "drop": wire.drop,
    "slow": wire.slow,
    "stall": wire.stall,
    "truncate": wire.truncate,
    "flood": wire.flood,
    "framing": wire.framing,
    "raw": wire.raw,
    "endless": wire.endless,
    "omit": content.omit,
    "usage": content.bad_usage,
    "body": content.body,
    "error_event": content.error_inside,
    "tool_index": content.tool_index,
}
_OUTCOMES: dict[str, Outcome] = {
    "drop": "cut",
    "truncate": "cut",
    "raw": "cut",
    "refuse": "cut",
    "redirect": "cut",
    "error_event": "failed",
}
_UNPAID = frozenset({"error_event", "redirect"})
"""A reply that ends with an error costs nothing ("zero completion insurance", documentation
2026-08); one that is sent elsewhere was never begun."""


def strike(fault: Fault, answer: Answer, settlement: Settlement | None = None) -> Answer:
    """Change `answer` as the fault demands. `settlement` is the call's, where it costs money."""
    kind = fault.then.kind
    done = None if settlement is None else settlement.done
    before = list(answer.steps)
    if kind in _STRIKES:
        answer.steps = _STRIKES[kind](fault.then, answer, before, done)
        answer.paced = True
    if settlement is not None:
        settlement.billing = "none" if kind in _UNPAID else fault.billed
        settlement.outcome = _OUTCOMES.get(kind, "completed")
        if kind in ("drop", "truncate") and isinstance(answer.steps, list):
            settlement.share = share_of(answer.steps, before)
        elif settlement.outcome == "cut":
            settlement.share = 0.0
    return answer
