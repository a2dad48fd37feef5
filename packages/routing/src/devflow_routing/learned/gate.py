"""Decides whether a prompt is like something that a table was learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gate:
    """The usual likeness of prompts to their nearest domain, and the least that is trusted."""

    means: Floats
    """By domain and measure: the domain's own regression, and the similarity to its centre."""
    spreads: Floats
    """The standard deviations, by domain and measure."""
    threshold: float
    """The least likeness that is trusted, in spreads from the usual one; negative is below it."""

    def likeness(self, memberships: Floats, centres: Floats) -> tuple[Ints, Floats]:
        """Return the nearest domain of each prompt, and how like it the prompt is, in spreads.

        Args:
            memberships: the domains' own regressions: one row a prompt, one column a domain; -inf
                for a domain to be ignored.
            centres: the similarities to the domains' centres, in the same form.
        """
        nearest = memberships.argmax(axis=1)
        places = np.arange(len(nearest))
        measures = np.stack((memberships[places, nearest], centres[places, nearest]), axis=1)
        likeness = ((measures - self.means[nearest]) / self.spreads[nearest]).min(axis=1)
        return nearest, likeness
