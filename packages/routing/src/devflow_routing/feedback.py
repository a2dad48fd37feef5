"""Counts a user's ratings of answers, by model and kind of task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """A user's ratings of answers: by (model, kind of task), their count and the sum of scores."""

    counts: Mapping[tuple[str, str], tuple[int, float]] = field(
        default_factory=dict[tuple[str, str], tuple[int, float]]
    )

    def with_score(self, model: str, kind: str, score: float) -> Feedback:
        """Return the feedback with one more rating.

        Raises:
            ValueError: the score is not within 0..1.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"a score is within 0..1, not {score}")
        count, total = self.counts.get((model, kind), (0, 0.0))
        return Feedback(counts={**self.counts, (model, kind): (count + 1, total + score)})
