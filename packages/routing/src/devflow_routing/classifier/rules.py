"""Finds the words and pairs of words in a text that speak for a kind of task, or for a hard one.

They are listed by language in `data/rules.json`. A learned model weighs them; of a kind that it was
not trained on, they alone decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import orjson
from numpy.typing import NDArray

from devflow_routing.classifier.features import Features, hash_of

Floats = NDArray[np.float32]
HARD = "hard"
"""The name that phrases of hard requests stand under, beside those of the kinds."""
MAX_HITS = 3
"""The most hits at the ends of a text that count, so that a long list does not decide alone."""
_KEY_BITS = 18
_KEY_SHIFT = np.uint64(64 - _KEY_BITS)
_EDGE_WORDS = 12
"""The words at each end of a text whose hits are counted apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The phrases of the rules that occur in a text."""

    phrases: tuple[tuple[int, str], ...]
    """Each phrase once, with the index of its kind: words in their order, then pairs."""
    edge_counts: Floats
    """By kind, how many occur at the ends of the text, at most `MAX_HITS`."""
    counts: Floats
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
        count = features.count
        keys = (features.hashes >> _KEY_SHIFT).astype(np.int64)
        places: list[int] = self._may_hit.take(keys).nonzero()[0].tolist()
        hashes: list[int] = features.hashes[places].tolist()
        edge, total = [0.0] * self._count, [0.0] * self._count
        seen: dict[tuple[int, str], bool] = {}
        for place, value in zip(places, hashes, strict=True):
            owners = self._owners.get(value)
            if owners is None:
                continue
            word = place if place < count else place - count
            is_edge = word < _EDGE_WORDS or word >= count - _EDGE_WORDS
            for owner in owners:
                total[owner[0]] += owner not in seen
                if is_edge and not seen.get(owner):
                    edge[owner[0]] += 1
                seen[owner] = is_edge or seen.get(owner, False)
        return Hits(
            phrases=tuple(seen),
            edge_counts=np.minimum(np.array(edge, dtype=np.float32), MAX_HITS),
            counts=np.log1p(np.array(total, dtype=np.float32)),
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
