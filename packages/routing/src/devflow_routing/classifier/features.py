"""Turns a text into features for linear models: hashed words, pairs, stems, counts of symbols.

All steps work on the text's bytes at once, without a Python loop: with a prefix sum of a
polynomial, two look-ups give the hash of a word. It takes tens of microseconds for 2,000
characters, and the result is the same on every machine and in every run.
"""

from __future__ import annotations

import math
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

_WORD_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_IS_WORD = bytes(byte in _WORD_BYTES or byte >= 0x80 for byte in range(256))
_FOLDED = np.array([0, *bytes(range(1, 256)).lower()], dtype=np.uint64) + np.uint64(1)
"""Each byte without case, as the number that stands for it in hashes."""
_WIDE = 0xE0
"""The first byte of a character of three or more bytes is at least this."""
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
    cue_hashes: Hashes
    """The same of the words, then of their stems, and once more of what stands at both ends."""

    @property
    def words(self) -> Indices:
        """The buckets of the words and pairs that occur, each once, in ascending order."""
        return _find_buckets(self.hashes)

    @property
    def cues(self) -> Indices:
        """The same of the words, their stems, and once more of the words at both ends.

        What a text is for stands at its beginning or its end; what it is about, anywhere.
        """
        return _find_buckets(self.cue_hashes)


def extract_features(text: str) -> Features:
    """Return the features of a text, from its first 6,144 bytes of UTF-8."""
    encoded = text.encode("utf-8", "replace")[:MAX_BYTES]
    raw = np.frombuffer(encoded, dtype=np.uint8)
    edges = _find_edges(encoded, raw, is_ascii=text.isascii())
    count = len(edges) // 2
    hashes = np.empty(max(2 * count - 1, 0), dtype=np.uint64)
    words, pairs = hashes[:count], hashes[count:]
    stems = _hash_words(raw, edges, words)
    np.multiply(words[:-1], _PAIR, out=pairs)
    pairs += words[1:]
    kinds = (words, stems, pairs)
    ends = [one for kind in kinds for one in (kind[:EDGE_WORDS], kind[-EDGE_WORDS:])]
    cue_hashes = np.concatenate((words, stems, *ends))
    cue_hashes[2 * count :] *= _EDGE
    return Features(
        dense=_dense_features(raw, count), count=count, hashes=hashes, cue_hashes=cue_hashes
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


def _find_edges(encoded: bytes, raw: _Bytes, *, is_ascii: bool) -> Indices:
    """Return where words begin and end, by turns; a character of three bytes (CJK) is one word."""
    # the blanks around it let the first and the last word begin and end like all others
    inside = np.frombuffer(b"\0%b\0" % encoded.translate(_IS_WORD), dtype=np.bool_)
    changes = inside[1:] != inside[:-1]
    if is_ascii or not len(raw) or int(raw[raw.argmax()]) < _WIDE:
        return changes.nonzero()[0]
    is_wide = raw >= _WIDE
    begins = inside[1:-1] & (changes[:-1] | is_wide)
    next_begins = np.append(begins[1:], False)
    stops = inside[1:-1] & (changes[1:] | next_begins)
    edges = np.empty(2 * int(np.count_nonzero(begins)), dtype=np.int64)
    edges[::2], edges[1::2] = begins.nonzero()[0], stops.nonzero()[0] + 1
    return edges


def _hash_words(raw: _Bytes, edges: Indices, words: Hashes) -> Hashes:
    """Write a case-folded 64-bit polynomial hash of every word; return those of their first bytes.

    With a prefix sum over the text, two look-ups give the hash of any part of it.
    """
    sums = np.empty(len(raw) + 1, dtype=np.uint64)
    sums[0] = 0
    terms = _FOLDED.take(raw)
    terms *= _POWERS[: len(raw)]
    terms.cumsum(out=sums[1:])
    starts, ends, at_edges = edges[::2], edges[1::2], sums.take(edges)
    before, inverses = at_edges[::2], _INVERSES.take(starts)
    np.subtract(at_edges[1::2], before, out=words)
    words *= inverses
    stem_ends = starts + STEM_BYTES
    is_long = stem_ends < ends
    stems = sums.take(np.minimum(stem_ends, ends, out=stem_ends))
    stems -= before
    stems *= inverses
    stems += is_long * _STEM
    return stems


def _find_buckets(hashes: Hashes) -> Indices:
    """Return the bucket of each hash, each bucket once, in ascending order."""
    mixed = hashes >> _HALF
    mixed ^= hashes
    mixed *= _MIX
    mixed ^= mixed >> _HALF
    mixed *= _PAIR
    mixed >>= _SHIFT
    # sorting a few hundred small numbers is quicker than looking through all buckets
    buckets = mixed.astype(np.uint16)
    buckets.sort()
    is_last = np.empty(len(buckets), dtype=np.bool_)
    is_last[-1:] = True
    np.not_equal(buckets[1:], buckets[:-1], out=is_last[:-1])
    return buckets[is_last].astype(np.int64)


def _dense_features(raw: _Bytes, words: int) -> Floats:
    counts = np.bincount(raw, minlength=256).astype(np.float32) @ _BYTE_CLASSES
    length, classes = len(raw), len(_SYMBOL_CLASSES)
    dense = np.empty(DENSE_FEATURES, dtype=np.float32)
    np.log1p(counts, out=dense[:classes])
    np.multiply(counts, np.float32(10.0 / (length + 10.0)), out=dense[classes : 2 * classes])
    dense[2 * classes :] = (
        math.log1p(length),
        math.log1p(words),
        length / (words + 1.0),
        min(length / 500.0, 4.0),
    )
    return dense
