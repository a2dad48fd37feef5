"""Decides whether a prompt is like something that a table was learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from devflow_core.routing import Task, TaskType
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_COLUMNS = {kind: column for column, kind in enumerate(get_args(TaskType))}
_MIN_LIFT = 0.02
"""Added to lifts, so that one kind that a domain never had does not outweigh all words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nearness:
    """How near prompts are to domains, one row a prompt."""

    memberships: Floats
    """By domain, its regression; -inf for a domain to be ignored."""
    centres: Floats
    """By domain, the similarity to its centre."""
    kinds: Floats
    """By kind of task, its share; `spread_kinds` gives them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gate:
    """The usual nearness of prompts to their nearest domain, and the least that is trusted."""

    means: Floats
    """By domain and measure: the domain's own regression, and the similarity to its centre."""
    spreads: Floats
    """The standard deviations, by domain and measure."""
    lifts: Floats
    """By domain and kind of task: how many times commoner the kind is there than anywhere."""
    weights: Floats
    """Of regression, similarity and kind, together the likeness; none is negative."""
    least: Floats
    """The least of each measure among the prompts learned from; nothing below is like them."""
    threshold: float
    """The least likeness that is trusted."""

    def measure(self, nearness: Nearness) -> tuple[Ints, Floats]:
        """Return the nearest domain of each prompt, and three measures of how like it that is.

        The first two are in spreads above the usual; the third is the logarithm of the lift.
        """
        nearest = nearness.memberships.argmax(axis=1)
        places = np.arange(len(nearest))
        near = np.stack(
            (nearness.memberships[places, nearest], nearness.centres[places, nearest]), axis=1
        )
        lift = (nearness.kinds * self.lifts[nearest]).sum(axis=1)
        words = (near - self.means[nearest]) / self.spreads[nearest]
        return nearest, np.column_stack((words, np.log(lift + _MIN_LIFT)))

    def likeness(self, nearness: Nearness) -> tuple[Ints, Floats]:
        """Return the nearest domain of each prompt, and how like it the prompt is."""
        nearest, measures = self.measure(nearness)
        is_within = (measures >= self.least).all(axis=1)
        return nearest, np.where(is_within, measures @ self.weights, -np.inf)


def spread_kinds(tasks: Sequence[Task]) -> Floats:
    """Return the shares of the kinds of each task, which add up to one."""
    shares = np.zeros((len(tasks), len(_COLUMNS)))
    for row, task in zip(shares, tasks, strict=True):
        # a classifier of somebody's own may name finer domains, which no table has learned
        known = {_COLUMNS[kind]: share for kind, share in task.domains if kind in _COLUMNS}
        for column, share in (known or {_COLUMNS[task.type]: 1.0}).items():
            row[column] = share
    return shares / shares.sum(axis=1, keepdims=True)
