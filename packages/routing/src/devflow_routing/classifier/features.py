"""Turns a text into features for linear models: hashed words, pairs, stems, counts of symbols.

All steps work on the text's bytes at once, without a Python loop: with a prefix sum of a
polynomial, two look-ups give the hash of a word. It takes tens of microseconds for 2,000
characters, and the result is the same on every machine and in every run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Hashes = NDArray[np.uint64]
_Bytes = NDArray[np.uint8]

BUCKET_BITS = 14
BUCKETS = 1 << BUCKET_BITS
"""The number of weights that hashed words and pairs share."""
MAX_BYTES = 6_144
"""The bytes to which texts are cut; 2,000 characters fit, except for emoji and rare scripts."""
STEM_BYTES = 4
"""The bytes of a longer word by which its forms are taken together: `übersetze`, `übersetzen`."""
EDGE_WORDS = 8
"""The words at each end of a text that count once more."""

_SYMBOL_CLASSES = (
    b"0123456789",
    b"?",
    b"!",
    b"\n",
    b"`",
    b"{}[]",
    b"()",
    b"=",
    b"+*/^<>",
    b"$\\",
    b";:",
    b",.",
    b"\"'",
    b"_",
    b"#",
    b"|",
    b"%&@",
    bytes(range(0x80, 0x100)),
)
DENSE_FEATURES = 2 * len(_SYMBOL_CLASSES) + 4
"""The number of features besides the hashed ones."""

# 2⁶⁴ divided by the golden ratio (Knuth, volume 3, 6.4); it has to be odd to have an inverse
_MULTIPLIER = 0x9E3779B97F4A7C15 | 1
_MASK = (1 << 64) - 1
# splitmix64's mixing constants
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_PAIR = np.uint64(0x94D049BB133111EB)
# any odd numbers; they tell stems and the words at both ends from words elsewhere
_EDGE = np.uint64(0xD6E8FEB86659FD93)
_STEM = np.uint64(0x1234567)
_HALF = np.uint64(32)
_SHIFT = np.uint64(64 - BUCKET_BITS)


def _powers(base: int) -> Hashes:
    values = [1]
    for _ in range(MAX_BYTES):
        values.append(values[-1] * base & _MASK)
    return np.array(values, dtype=np.uint64)


_POWERS = _powers(_MULTIPLIER)
_INVERSES = _powers(pow(_MULTIPLIER, -1, 1 << 64))

_LOWER: _Bytes = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_IS_WORD: NDArray[np.bool_] = np.zeros(256, dtype=np.bool_)
_IS_WORD[
    [*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *range(0x80, 256)]
] = True
_BYTE_CLASSES: Floats = np.zeros((256, len(_SYMBOL_CLASSES)), dtype=np.float32)
for _column, _chars in enumerate(_SYMBOL_CLASSES):
    _BYTE_CLASSES[list(_chars), _column] = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The features of a text that a linear model reads."""

    dense: Floats
    """Lengths, and counts and shares of symbols."""
    count: int
    """The number of words."""
    hashes: Hashes
    """64-bit hashes of the words in their order, then of the pairs of neighbours."""
    buckets: Indices
    """The buckets of `hashes`, then of the words' stems, and of the words at both ends."""

    @property
    def words(self) -> Indices:
        """The buckets of the words and pairs that occur, each once, in ascending order."""
        return _unique(self.buckets[: len(self.hashes)])

    @property
    def cues(self) -> Indices:
        """The same of the words, their stems, and once more of the words at both ends.

        What a text is for stands at its beginning or its end; what it is about, anywhere.
        """
        is_there = np.zeros(BUCKETS, dtype=np.bool_)
        is_there[self.buckets[: self.count]] = True
        is_there[self.buckets[len(self.hashes) :]] = True
        return np.flatnonzero(is_there)


def extract_features(text: str) -> Features:
    """Return the features of a text, from its first 6,144 bytes of UTF-8."""
    raw = np.frombuffer(text.encode("utf-8", "replace")[:MAX_BYTES], dtype=np.uint8)
    starts, ends = _find_words(raw)
    words, stems = _hash_words(raw, starts, ends)
    pairs = words[:-1] * _PAIR + words[1:]
    hashes = np.concatenate((words, pairs))
    kinds = (words, stems, pairs)
    edges = [one for kind in kinds for one in (kind[:EDGE_WORDS], kind[-EDGE_WORDS:])]
    return Features(
        dense=_dense_features(raw, len(starts)),
        count=len(starts),
        hashes=hashes,
        buckets=_hash_buckets(np.concatenate((hashes, stems, np.concatenate(edges) * _EDGE))),
    )


def hash_of(phrase: str) -> int:
    """Return the hash of one word, or of a pair of neighbours, as in `Features.hashes`.

    Raises:
        ValueError: the phrase has no words, or more than two.
    """
    found = extract_features(phrase)
    if found.count not in (1, 2):
        raise ValueError(f"{phrase!r} has {found.count} words; one or two can be compared")
    return int(found.hashes[-1])


def _unique(buckets: Indices) -> Indices:
    """Return each bucket once, in ascending order."""
    ordered = np.sort(buckets)
    if len(ordered) == 0:
        return ordered
    is_new = np.empty(len(ordered), dtype=np.bool_)
    is_new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]


def _find_words(raw: _Bytes) -> tuple[Indices, Indices]:
    """Return where words begin and end; a character of three or more bytes (CJK) is one word."""
    inside = np.zeros(len(raw) + 2, dtype=np.bool_)
    inside[1:-1] = _IS_WORD[raw]
    begins = inside[1:-1] & (~inside[:-2] | (raw >= 0xE0))
    starts = np.flatnonzero(begins)
    next_begins = np.zeros(len(raw) + 1, dtype=np.bool_)
    next_begins[: len(raw)] = begins
    stops = np.flatnonzero(inside[1:-1] & (~inside[2:] | next_begins[1:]))
    return starts, stops + 1


def _hash_words(raw: _Bytes, starts: Indices, ends: Indices) -> tuple[Hashes, Hashes]:
    """Return a case-folded 64-bit polynomial hash of every word, and of its first bytes."""
    sums = np.zeros(len(raw) + 1, dtype=np.uint64)
    folded = _LOWER[raw].astype(np.uint64)
    np.cumsum((folded + np.uint64(1)) * _POWERS[: len(raw)], out=sums[1:])
    before, inverses = sums[starts], _INVERSES[starts]
    words = (sums[ends] - before) * inverses
    stems = (sums[np.minimum(starts + STEM_BYTES, ends)] - before) * inverses
    stems += np.where(ends - starts > STEM_BYTES, _STEM, np.uint64(0))
    return words, stems


def _hash_buckets(hashes: Hashes) -> Indices:
    hashes = hashes ^ (hashes >> _HALF)
    hashes *= _MIX
    hashes ^= hashes >> _HALF
    hashes *= _PAIR
    return (hashes >> _SHIFT).astype(np.int64)


def _dense_features(raw: _Bytes, words: int) -> Floats:
    counts = np.bincount(raw, minlength=256).astype(np.float32) @ _BYTE_CLASSES
    length = float(len(raw))
    lengths = np.array(
        [np.log1p(length), np.log1p(words), length / (words + 1.0), min(length / 500.0, 4.0)],
        dtype=np.float32,
    )
    return np.concatenate((np.log1p(counts), counts * np.float32(10.0 / (length + 10.0)), lengths))
