"""Puts into words what an estimate of ability rests on."""

from __future__ import annotations

from collections.abc import Sequence

from devflow_routing.evidence.efforts import effort_name
from devflow_routing.evidence.readings import Reading
from devflow_routing.evidence.scores import Evidence
from devflow_routing.model_config import ModelConfig

_MAX_NAMED = 2
"""The most scores that are named; the others are counted."""


def describe_readings(readings: Sequence[Reading], evidence: Evidence) -> str:
    """Return the first two scores in words, and the number of the others.

    Args:
        readings: the scores of one model, the most telling first.
        evidence: the benchmarks of the scores.
    """
    named = [describe_reading(one, evidence) for one in readings[:_MAX_NAMED]]
    others = len(readings) - len(named)
    more = f" and {others} more score{'s' * (others != 1)}" if others else ""
    lenders = {one.lender for one in readings[:_MAX_NAMED] if one.lender}
    borrowed = f", measured as {', '.join(sorted(lenders))}" if lenders else ""
    return ", ".join(named) + more + borrowed


def describe_guess(sibling: str | None, model: ModelConfig) -> str:
    """Return from what the ability of a model without scores is guessed.

    Args:
        sibling: the id of the model whose scores say most about it, of any maker; None: there is
            none.
        model: the model that was not measured.
    """
    if sibling is None:
        return "not measured: nothing to guess from"
    is_kin = sibling.partition("/")[0] == model.author
    by = f"its sibling {sibling}, price and age" if is_kin else "price and age"
    return f"not measured: guessed from {by}"


def describe_reading(reading: Reading, evidence: Evidence) -> str:
    """Return a score with its publisher, month and effort."""
    score = reading.score
    benchmark = evidence.benchmarks[score.benchmark]
    details = [benchmark.publisher]
    if score.date is not None:
        details.append(f"{score.date:%b %Y}")
    effort = effort_name(score.effort)
    if effort:
        details.append(effort)
    return f"{benchmark.name} {benchmark.format(score.value)} ({', '.join(details)})"
