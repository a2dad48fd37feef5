"""Defines benchmarks: what each measures, how well, and on which scale its scores are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Axis = Literal["math", "agentic", "creative", "faithful"]
"""What models are good at beyond their general ability: maths, work with tools, fiction, summaries.

Other kinds of work follow general ability so closely that a deviation of their own adds noise.
"""
AXES: tuple[Axis, ...] = get_args(Axis)
DIMENSIONS = 1 + len(AXES)
"""General ability, then the axes."""
_MIN_SHARE = 0.02
"""Shares are kept this far from 0 and 1, where another percent would count without limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark; a score is loading · ability + axis_loading · axis + noise.

    Scores are straightened and then standardized with the benchmark's mean and standard deviation;
    abilities are in standard deviations among models.
    """

    key: str
    name: str
    """The name, for people."""
    publisher: str
    """Who measured and published the scores, for people."""
    kind: str
    """The kind of task that it is nearest to, by which scores are chosen to be shown."""
    unit: Literal["share", "points"]
    """Whether scores are shares of tasks solved, 0..1, or points on a scale of their own."""
    loading: float
    axis: Axis | None = None
    axis_loading: float = 0.0
    noise: float
    """The variance of a standardized score around what abilities explain."""
    mean: float | None = None
    """The mean of the straightened scores, before they are standardized.

    None: the scale is unknown, because the publisher moves it, and is found from the scores
    themselves: from the models whose ability other benchmarks tell.
    """
    sd: float = 1.0
    """The standard deviation of the straightened scores; of no meaning without a mean."""

    @property
    def has_scale(self) -> bool:
        """Whether the mean and the spread of the scores are known beforehand."""
        return self.mean is not None

    @property
    def tells_ability(self) -> bool:
        """Whether a score says much about general ability; faithfulness of summaries does not."""
        return self.loading > 0

    def straighten(self, value: float) -> float:
        """Return a score as a number that grows evenly with ability: the logit of a share."""
        if self.unit == "points":
            return value
        share = min(max(value, _MIN_SHARE), 1 - _MIN_SHARE)
        return math.log(share / (1 - share))

    def format(self, value: float) -> str:
        """Return a score for people."""
        return f"{value:.0%}" if self.unit == "share" else f"{value:.4g}"
