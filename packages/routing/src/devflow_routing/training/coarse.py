"""Learns the coarse table: the quality of models by kind and complexity of the task."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devflow_routing.learned.table import COMPLEXITIES
from devflow_routing.training.answers import Answers
from devflow_routing.training.operating_point import OperatingPoint, Trial, find_operating_point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CELL_WEIGHT = 20.0
"""How many answers the mean of the kind counts as in a cell, and the overall mean in a kind."""
MIN_KIND_PROMPTS = 10
"""The fewest prompts of a kind that give it rows of its own."""
TARGET = 1.0
"""The share of the best single model's quality to keep over all left-out groups."""
FOLDS = 5
"""The parts that are left out in turn where all prompts are of one domain."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoarseTable:
    """Quality by kind, complexity and model, with the models' relative costs and a price."""

    kinds: tuple[str, ...]
    """The kinds of the first rows of `quality`; its last row is for all other kinds."""
    quality: Floats
    costs: Floats
    """The mean cost of each model, in shares of the best single model's."""
    point: OperatingPoint


def learn_coarse(answers: Answers, best: int) -> CoarseTable:
    """Learn the coarse table; its price is chosen on domains that are left out in turn.

    Where no price saves anything and keeps the quality, the best single model has the highest
    quality in every cell.

    Args:
        answers: the prompts to learn from.
        best: the column of the best single model.
    """
    counts = Counter(task.type for task in answers.tasks)
    kinds = tuple(sorted(kind for kind, count in counts.items() if count >= MIN_KIND_PROMPTS))
    cells = _find_cells(answers, kinds)
    groups = _find_groups(answers)
    mean_cost = max(float(answers.costs_usd[:, best].mean()), 1e-12)
    costs = answers.costs_usd.mean(axis=0) / mean_cost
    quality = np.zeros_like(answers.scores)
    for group in np.unique(groups).tolist():
        members = groups == group
        table = _tabulate(answers.scores[~members], cells[~members], len(kinds))
        quality[members] = table.reshape(-1, table.shape[2])[cells[members]]
    trial = Trial(
        quality=quality,
        costs=np.broadcast_to(costs, quality.shape),
        scores=answers.scores,
        costs_usd=answers.costs_usd,
        best=best,
    )
    point = find_operating_point(trial, groups=groups, target=TARGET)
    table = _tabulate(answers.scores, cells, len(kinds))
    if point.saved <= 0:
        table = np.broadcast_to(answers.scores.mean(axis=0), table.shape).copy()
    return CoarseTable(kinds=kinds, quality=table, costs=costs, point=point)


def _find_cells(answers: Answers, kinds: tuple[str, ...]) -> Ints:
    """Return the number of each prompt's cell; kinds without rows of their own share the last."""
    rows = {kind: row for row, kind in enumerate(kinds)}
    return np.array(
        [
            rows.get(task.type, len(kinds)) * len(COMPLEXITIES)
            + COMPLEXITIES.index(task.complexity)
            for task in answers.tasks
        ],
        dtype=np.int64,
    )


def _find_groups(answers: Answers) -> Ints:
    """Return the number of each prompt's group: its domain, or a fold if there is one domain."""
    names = sorted(set(answers.domains))
    if len(names) < 2:
        return np.arange(len(answers)) % FOLDS
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[one] for one in answers.domains], dtype=np.int64)


def _tabulate(scores: Floats, cells: Ints, kinds: int) -> Floats:
    """Return quality by kind, complexity and model; cells with few answers are near their kind's.

    The last row is the mean over all prompts.
    """
    overall = scores.mean(axis=0) if len(scores) else np.zeros(scores.shape[1])
    table = np.zeros((kinds + 1, len(COMPLEXITIES), scores.shape[1]))
    for kind in range(kinds + 1):
        of_kind = cells // len(COMPLEXITIES) == kind
        mean = _shrink(scores[of_kind], overall)
        for complexity in range(len(COMPLEXITIES)):
            cell = scores[of_kind & (cells % len(COMPLEXITIES) == complexity)]
            table[kind, complexity] = _shrink(cell, mean)
    table[kinds] = overall
    return table


def _shrink(scores: Floats, mean: Floats) -> Floats:
    return (scores.sum(axis=0) + CELL_WEIGHT * mean) / (len(scores) + CELL_WEIGHT)
