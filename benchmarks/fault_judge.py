"""Compares the outcome of a play with what the plan expects of a good client."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fault_plays import FALLBACK, MODEL, Observation

_ALTERED = re.compile("[\u2028\ufffd]")
"""Characters that framing faults put into a text."""
_ACCEPTED = {"success": {"success"}, "failed": {"failed"}, "left": {"left"}}


def find_mismatches(seen: Observation) -> list[str]:
    """Return the differences from the plan; none if all is as expected."""
    if seen.outcome == "crashed":
        return seen.broken
    if seen.play.has_fallback:
        return [*_fallback_mismatches(seen), *seen.broken]
    return [*_outcome_mismatches(seen), *_money_mismatches(seen), *seen.broken]


def _outcome_mismatches(seen: Observation) -> Iterator[str]:
    expected = seen.play.case.expect
    accepted = _ACCEPTED.get(expected.outcome, {"cut", "failed"})
    if expected.outcome == "cut" and not seen.play.is_stream:
        accepted = {"failed"}
    if seen.outcome not in accepted:
        what = "looks complete" if seen.outcome == "success" else f"ends as {seen.outcome}"
        yield f"{what}, expected {expected.outcome} ({seen.code}: {seen.reply.error})"
    elif expected.outcome == "success":
        yield from _content_mismatches(seen)
    if seen.status is not None and expected.status and seen.status not in expected.status:
        wanted = " or ".join(map(str, expected.status))
        yield f"tells {seen.status}, expected {wanted} ({seen.code})"
    if seen.attempts > expected.attempts or seen.calls > expected.attempts:
        made = max(seen.attempts, seen.calls)
        yield f"{made} attempts, expected {expected.attempts} at most ({seen.code})"


def _content_mismatches(seen: Observation) -> Iterator[str]:
    text = _ALTERED.sub("", seen.reply.text)
    if text != (seen.true_text or ""):
        yield f"the text differs: {text[:60]!r} is not {(seen.true_text or '')[:60]!r}"
    if seen.true_calls and not seen.play.is_stream and seen.reply.calls != seen.true_calls:
        yield f"the tool calls differ: {seen.reply.calls} is not {seen.true_calls}"


def _money_mismatches(seen: Observation) -> Iterator[str]:
    match seen.play.case.expect.billed:
        case "nothing" if seen.booked_usd and seen.outcome != "cut":
            yield f"{seen.booked_usd} is booked of what is not billed ({seen.cost_statuses})"
        case "reply" if not seen.booked_usd:
            yield f"nothing is booked of {seen.billed_usd} billed ({seen.cost_statuses})"
        case "unknown" if seen.billed_usd and not seen.booked_usd:
            yield f"nothing is booked of {seen.billed_usd} billed ({seen.cost_statuses})"
        case _:
            pass
    is_settled = set(seen.cost_statuses) - {"void"} == {"settled"}
    if is_settled and seen.booked_usd != seen.billed_usd:
        yield f"{seen.booked_usd} is settled, {seen.billed_usd} is billed"


def _fallback_mismatches(seen: Observation) -> Iterator[str]:
    """Yield if a fallback was missing where the plan wants one, or used where it does not."""
    wanted = seen.play.case.expect.fallback
    is_asked = FALLBACK in seen.models
    if wanted and not (is_asked and seen.outcome == "success"):
        yield f"no other model answered ({seen.outcome}, {seen.models}, {seen.code})"
    if wanted is False and is_asked:
        yield f"another model than {MODEL} was asked"
