"""Applies a fault: changes the answer, and decides how the call is billed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from devflow_sandbox.books.billing_book import Outcome
from devflow_sandbox.faults import content, wire
from devflow_sandbox.faults.schema import Fault
from devflow_sandbox.faults.steps import share_of
from devflow_sandbox.message import Answer, Step
from devflow_sandbox.replies.generation import Generation
from devflow_sandbox.settlement import BillingMode, Settlement

FaultHandler = Callable[[Any, Answer, list[Step], Generation | None], Iterable[Step]]
"""Returns the new steps of an answer, and may change its status, headers and framing in place.

It gets the fault, the answer, the steps as they are, and the reply (None if it is not one).
"""

_HANDLERS: dict[str, FaultHandler] = {
    "redirect": wire.redirect,
    "refuse": wire.refuse,
    "stale": wire.make_stale,
    "drop": wire.drop,
    "slow": wire.slow_down,
    "stall": wire.stall,
    "truncate": wire.truncate,
    "flood": wire.flood,
    "framing": wire.reframe,
    "raw": wire.send_raw,
    "endless": wire.repeat_forever,
    "omit": content.omit,
    "usage": content.corrupt_usage,
    "body": content.replace_body,
    "error_event": content.inject_error,
    "tool_index": content.corrupt_tool_index,
    "early_usage": content.repeat_usage,
}
# How the bill shows a call with this fault; others complete, if oddly.
_OUTCOMES: dict[str, Outcome] = {
    "drop": "cut",
    "truncate": "cut",
    "raw": "cut",
    "refuse": "cut",
    "redirect": "cut",
    "error_event": "failed",
}
_BILLING_BY_KIND: dict[str, BillingMode] = {"error_event": "fees", "redirect": "none"}
"""A reply that ends with an error costs no tokens, but the services that ran with it are billed
("zero completion insurance", documentation 2026-08). A redirected request never began.
"""


def apply_fault(fault: Fault, answer: Answer, settlement: Settlement | None = None) -> Answer:
    """Change `answer` in place as the fault demands, and return it.

    Args:
        fault: the fault to apply.
        answer: the answer without the fault.
        settlement: that of a reply, changed to book the call as the fault says; None otherwise.
    """
    kind = fault.then.kind
    generation = None if settlement is None else settlement.generation
    original_steps = list(answer.steps)
    if kind in _HANDLERS:
        answer.steps = _HANDLERS[kind](fault.then, answer, original_steps, generation)
        # a changed list may hold pauses or drops, so it must be written step by step
        answer.is_paced = True
    if settlement is not None:
        settlement.billing = _BILLING_BY_KIND.get(kind, fault.billed)
        settlement.outcome = _OUTCOMES.get(kind, "completed")
        # only of a list is it known how much of the reply is left
        if kind in ("drop", "truncate") and isinstance(answer.steps, list):
            settlement.share = share_of(answer.steps, original_steps)
        elif settlement.outcome == "cut":
            settlement.share = 0.0
    return answer
