"""Judges `auto` on recorded answers, with a given table or by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from devflow_core.errors import InvalidRequest

from devflow_routing.catalogue import Catalogue
from devflow_routing.classifier.task_classifier import TaskClassifier
from devflow_routing.learned.table import LearnedTable
from devflow_routing.training.answers import Answers, arrange_answers
from devflow_routing.training.evaluate import Judgement, judge_router, judge_single
from devflow_routing.training.examples import Example
from devflow_routing.training.train import train


@dataclass(frozen=True, kw_only=True, eq=False)
class ExampleJudgement:
    """What `auto` would have scored and cost on examples, beside the best single model."""

    prompts: int
    models: tuple[str, ...]
    best: str
    """The model that is best on average: by the table, or else by the examples themselves."""
    single: Judgement
    general: Judgement
    """By public evidence alone."""
    learned: Judgement | None
    """With the table, or by cross-validation; None if neither was asked for."""


def evaluate_examples(
    examples: Sequence[Example],
    table: LearnedTable | None,
    *,
    catalogue: Catalogue | None = None,
    folds: int = 0,
    classifier: TaskClassifier | None = None,
) -> ExampleJudgement:
    """Judge `auto` on examples.

    Args:
        examples: prompts with recorded answers.
        table: the learned table, if any.
        catalogue: lists the models; others get prices by their recorded costs.
        folds: cross-validate with so many folds, at least 2, instead of using the table; 0: do not.
        classifier: reads the prompts.

    Raises:
        InvalidRequest: no prompt has two answers to choose between, or too few can be learned from.
    """
    reader = classifier or TaskClassifier(cache_size=0)
    rated = [one for one in examples if one.prompt and len(one.scores) > 1]
    if not rated:
        raise InvalidRequest(
            "No prompt of the file has scores of two models, so there is nothing to choose between."
        )
    answers = arrange_answers(rated, reader)
    best = _find_best(answers, table)
    learned = None
    if folds:
        learned = cross_validate(rated, answers, folds=folds, catalogue=catalogue, reader=reader)
    elif table is not None:
        learned = judge_router(answers, learned=table, best=best, catalogue=catalogue)
    return ExampleJudgement(
        prompts=len(answers),
        models=answers.models,
        best=best,
        single=judge_single(answers, best),
        general=judge_router(answers, learned=None, best=best, catalogue=catalogue),
        learned=learned,
    )


def cross_validate(
    examples: Sequence[Example],
    answers: Answers,
    *,
    folds: int,
    catalogue: Catalogue | None,
    reader: TaskClassifier,
) -> Judgement:
    """Judge the choice for every example by a table that was learned without its fold.

    Each fold is compared with the model that is best on the others. The result lists the examples
    fold by fold.

    Raises:
        InvalidRequest: the examples outside a fold are too few to learn from.
    """
    fold = np.random.default_rng(0).permutation(len(examples)) % max(folds, 2)
    parts: list[Judgement] = []
    for one in range(max(folds, 2)):
        table = train(
            [example for example, place in zip(examples, fold, strict=True) if place != one],
            classifier=reader,
        )
        left_out = answers.select(fold == one)
        best = _find_best(left_out, table)
        parts.append(judge_router(left_out, learned=table, best=best, catalogue=catalogue))
    return join_judgements(parts)


def join_judgements(parts: Sequence[Judgement]) -> Judgement:
    """Return the judgements of several parts as one."""
    return Judgement(
        chosen=np.concatenate([one.chosen for one in parts]),
        scores=np.concatenate([one.scores for one in parts]),
        costs_usd=np.concatenate([one.costs_usd for one in parts]),
        best_scores=np.concatenate([one.best_scores for one in parts]),
        best_costs_usd=np.concatenate([one.best_costs_usd for one in parts]),
    )


def _find_best(answers: Answers, table: LearnedTable | None) -> str:
    if table is not None and table.models[table.best] in answers.models:
        return table.models[table.best]
    return answers.models[int(answers.scores.mean(axis=0).argmax())]
