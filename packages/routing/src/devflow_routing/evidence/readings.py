"""Finds the scores that speak for each model, at the effort that is nearest to its usual one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from devflow_routing.evidence.efforts import excess_of_effort
from devflow_routing.evidence.joins import names_agree
from devflow_routing.evidence.scores import Evidence, Score
from devflow_routing.model_config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A score, as it is used for one model."""

    score: Score
    excess: float
    """What its effort adds to the model's usual one, in standard deviations."""
    lender: str = ""
    """The model that was measured, if it is another name of the same weights."""


def group_models(models: Sequence[ModelConfig]) -> tuple[tuple[ModelConfig, ...], list[int]]:
    """Return models that differ in more than a variant, and for each model the index of its own.

    `x:free` and `x:batch` have the canonical slug of `x`: the same weights, with the same scores.
    """
    found: dict[str, int] = {}
    kept: list[ModelConfig] = []
    places: list[int] = []
    for model in models:
        key = model.canonical_slug or model.id.partition(":")[0]
        if key not in found:
            found[key] = len(kept)
            kept.append(model)
        elif ":" not in model.id and ":" in kept[found[key]].id:
            kept[found[key]] = model  # the plain model has the price to compare others with
        places.append(found[key])
    return tuple(kept), places


def find_readings(models: Sequence[ModelConfig], evidence: Evidence) -> list[list[Reading]]:
    """Return the scores of each model, one for each benchmark: the nearest to its usual effort.

    Scores that were published under the name of another model are left out.

    Args:
        models: different models, as `group_models` returns them.
        evidence: all scores.
    """
    owners, borrowers = _index_names(models, evidence)
    best: list[dict[str, Reading]] = [{} for _ in models]
    for score in evidence.scores:
        own = owners.get(score.model)
        rows = borrowers.get(score.model, ())
        for row in rows if own is None else (own, *rows):
            reading = Reading(
                score=score,
                excess=excess_of_effort(score.effort, models[row]),
                lender="" if row == own else score.model,
            )
            former = best[row].get(score.benchmark)
            is_better = former is None or _preference(reading) < _preference(former)
            if is_better and names_agree(score.shown_as, models[row if own is None else own]):
                best[row][score.benchmark] = reading
    return [list(ones.values()) for ones in best]


def _index_names(
    models: Sequence[ModelConfig], evidence: Evidence
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Return the rows of models by the names of scores, and those that borrow a name's scores."""
    owners: dict[str, int] = {}
    for row, model in enumerate(models):
        owners.setdefault(model.canonical_slug, row)
    for row, model in enumerate(models):
        owners[model.id.partition(":")[0]] = row
    borrowers: dict[str, tuple[int, ...]] = {}
    for borrower, lender in evidence.twins.items():
        if borrower in owners:
            borrowers[lender] = (*borrowers.get(lender, ()), owners[borrower])
    return owners, borrowers


def _preference(reading: Reading) -> tuple[float, float, float]:
    """Return the sort key of a reading, of which the lowest of a benchmark is used.

    That is the nearest to the usual effort, then the newest, then the lowest score.
    """
    day = reading.score.date
    return abs(reading.excess), -float(day.toordinal()) if day else 0.0, reading.score.value
