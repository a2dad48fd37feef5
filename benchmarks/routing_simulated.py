"""Simulates a check of replies on recorded outcomes; its figures are quoted under that name only.

A check accepts a good reply in `RIGHT` of all cases and a bad one in `WRONG`; it costs nothing.
Figures are expectations, not one draw. Wrong answers are recorded as scores alone, so whether two
models agree cannot be replayed; a check stands for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from devflow_routing.training.answers import Answers
from devflow_routing.training.evaluate import Judgement
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIGHT, WRONG = 0.9, 0.1
CHEAP_PRIORITY = 0.8
"""The cost priority of the first pick, where a check stands behind it."""
SWE_CHAIN = ("deepseek v3.2", "gpt-5 mini", "gemini 3 pro", "4.5 sonnet")
"""Words in the names of the models that are asked one after the other."""
SWE_REFERENCE = "4.5 opus"
"""Words in the name of the model that published chains are compared with."""


def check_then_best(judgement: Judgement) -> Judgement:
    """Return a judgement in which what the check refuses is answered by the best single model."""
    accepted = WRONG + (RIGHT - WRONG) * judgement.scores
    good = RIGHT * judgement.scores
    return Judgement(
        chosen=judgement.chosen,
        scores=good + (1 - accepted) * judgement.best_scores,
        costs_usd=judgement.costs_usd + (1 - accepted) * judgement.best_costs_usd,
        best_scores=judgement.best_scores,
        best_costs_usd=judgement.best_costs_usd,
    )


def run_chain(scores: Floats, costs_usd: Floats) -> tuple[Floats, Floats]:
    """Return expected score and cost by prompt of models asked in order, the last unchecked."""
    reached = np.ones(len(scores))
    quality, paid = np.zeros(len(scores)), np.zeros(len(scores))
    for column in range(scores.shape[1]):
        paid += reached * costs_usd[:, column]
        score = scores[:, column]
        if column == scores.shape[1] - 1:
            quality += reached * score
            break
        quality += reached * RIGHT * score
        reached *= 1 - (WRONG + (RIGHT - WRONG) * score)
    return quality, paid


def judge_swe_bench(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return quality and saving of the chain, against Opus 4.5 and the best model of these rows."""
    names: list[str] = sorted(set[str].intersection(*(set(row["results"]) for row in rows)))
    chain = [_find(names, words) for words in SWE_CHAIN]
    reference = _find(names, SWE_REFERENCE)
    if None in chain or reference is None:
        return {}
    scores = np.array([[row["results"][one]["s"] for one in names] for row in rows])
    costs = np.array([[row["results"][one]["c"] or 0.0 for one in names] for row in rows])
    columns = [names.index(one) for one in chain if one is not None]
    quality, paid = run_chain(scores[:, columns], costs[:, columns])

    def compare(column: int) -> dict[str, float]:
        kept = 100 * float(quality.sum() / scores[:, column].sum())
        saved = 100 * (1 - float(paid.sum() / costs[:, column].sum()))
        return {"quality": round(kept, 2), "saved": round(saved, 2)}

    best = int(scores.mean(axis=0).argmax())
    return {
        "prompts": len(rows),
        "chain": chain,
        "against": reference,
        **compare(names.index(reference)),
        "best_single": {"model": names[best], **compare(best)},
    }


def _find(names: Sequence[str], words: str) -> str | None:
    return next((one for one in names if all(word in one.lower() for word in words.split())), None)


def has_free_form(domain: str) -> bool:
    """Return whether a domain's answers are free text: code, or maths without choices."""
    return any(word in domain for word in ("crux", "math-l5", "mbpp", "human_eval", "fu9_math"))


def select_free_form(answers: Answers) -> NDArray[np.bool_]:
    """Return which prompts have free answers."""
    return np.array([has_free_form(one) for one in answers.domains], dtype=np.bool_)
