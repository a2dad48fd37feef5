"""Finds the words and pairs of words in a text that speak for a kind of task, or for a hard one.

They are listed by language in `data/rules.json`. A learned model weighs them; of a kind that it was
not trained on, they alone decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import orjson
from numpy.typing import NDArray

from devflow_routing.classifier.features import Features, hash_of

HARD = "hard"
"""The name that phrases of hard requests stand under, beside those of the kinds."""
MAX_HITS = 3
"""The most hits at the ends of a text that count, so that a long list does not decide alone."""
_KEY_BITS = 18
_KEY_SHIFT = np.uint64(64 - _KEY_BITS)
_EDGE_WORDS = 12
"""The words at each end of a text whose hits are counted apart."""
_MAX_COUNTED = 8_192
"""The most hits of a kind that are told apart; no text that is read has as many words."""
_LOG_COUNTS: list[float] = np.log1p(np.arange(_MAX_COUNTED + 1, dtype=np.float32)).tolist()


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The phrases of the rules that occur in a text."""

    phrases: tuple[tuple[int, str], ...]
    """Each phrase once, with the index of its kind: words in their order, then pairs."""
    edge_counts: Sequence[float]
    """By kind, how many occur at the ends of the text, at most `MAX_HITS`."""
    counts: Sequence[float]
    """By kind, the logarithm of one more than how many occur."""


class Rules:
    """The phrases that speak for each kind.

    Args:
        kinds: the kinds, in the order of the counts; `HARD` counts as one.
        phrases: by kind, the phrases of all languages; None: the shipped ones.

    Raises:
        ValueError: a phrase has no words, or more than two; or its kind is none of `kinds`.
    """

    def __init__(
        self, kinds: tuple[str, ...], phrases: Mapping[str, list[str]] | None = None
    ) -> None:
        self._count = len(kinds)
        self._owners: dict[int, list[tuple[int, str]]] = {}
        # most words are in no rule: a look-up by some bits leaves a few to be compared
        self._may_hit: NDArray[np.bool_] = np.zeros(1 << _KEY_BITS, dtype=np.bool_)
        self.kinds: frozenset[int]
        found: set[int] = set()
        for kind, own in (load_phrases() if phrases is None else phrases).items():
            index = kinds.index(kind)
            found.add(index)
            for phrase in own:
                value = hash_of(phrase)
                self._owners.setdefault(value, []).append((index, phrase))
                self._may_hit[value >> (64 - _KEY_BITS)] = True
        self.kinds = frozenset(found)

    def find(self, features: Features) -> Hits:
        """Return the phrases that occur in a text."""
        count, find_owners = features.count, self._owners.get
        keys = (features.hashes >> _KEY_SHIFT).view(np.int64)
        places = self._may_hit.take(keys).nonzero()[0]
        edge, total = [0] * self._count, [0] * self._count
        seen: dict[tuple[int, str], bool] = {}
        for place, value in zip(
            places.tolist(), features.hashes.take(places).tolist(), strict=True
        ):
            owners = find_owners(value)
            if owners is None:
                continue
            word = place if place < count else place - count
            is_edge = word < _EDGE_WORDS or word >= count - _EDGE_WORDS
            for owner in owners:
                was_edge = seen.get(owner)
                if was_edge is None:
                    total[owner[0]] += 1
                if is_edge and not was_edge:
                    edge[owner[0]] += 1
                seen[owner] = is_edge or was_edge or False
        return Hits(
            phrases=tuple(seen),
            edge_counts=[min(one, MAX_HITS) for one in edge],
            counts=[_LOG_COUNTS[min(one, _MAX_COUNTED)] for one in total],
        )


def claim_phrases(
    phrases: Mapping[str, list[str]], learned: Collection[str]
) -> dict[str, list[str]]:
    """Return the phrases by kind, where those of a kind that was not learned are its alone.

    A model weighs `tenant` as a sign of the kinds that there were when it was trained. Were it
    still to count for them, no phrase could tell a new kind from its neighbours.
    """
    new = {phrase for kind, own in phrases.items() if kind not in learned for phrase in own}
    return {
        kind: [phrase for phrase in own if kind == HARD or kind not in learned or phrase not in new]
        for kind, own in phrases.items()
    }


def load_phrases() -> dict[str, list[str]]:
    """Return the shipped phrases by kind, of all languages."""
    by_language: dict[str, dict[str, list[str]]] = orjson.loads(
        files("devflow_routing").joinpath("data/rules.json").read_bytes()
    )
    return {
        kind: [phrase for phrases in languages.values() for phrase in phrases]
        for kind, languages in by_language.items()
    }
