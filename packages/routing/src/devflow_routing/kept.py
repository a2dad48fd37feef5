"""Keeps values that were made before, a bounded number of each sort."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

MAX_KEPT = 48
"""The most arrays that are kept of one sort, of 3 kB each; callers may set any limit."""


def keep(kept: dict[_K, _V], key: _K, value: _V, *, max_kept: int = MAX_KEPT) -> _V:
    """Keep a value, after dropping all where there are too many; return it."""
    if len(kept) >= max_kept:
        kept.clear()
    kept[key] = value
    return value
