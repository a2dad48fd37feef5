"""Makes ids that sort by time (a prefix, milliseconds, 80 random bits) and fingerprints of keys."""

from __future__ import annotations

import hashlib
import os
import time

_IDS_PER_BATCH = 256
_RANDOM_DIGITS = 20
_pool: list[str] = []
"""Random hex digits fetched for many ids at once: the system call takes up to 70 µs."""

if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    # a child must not give out its parent's ids
    os.register_at_fork(after_in_child=_pool.clear)


def new_id(prefix: str) -> str:
    """Return `prefix_` followed by 12 hex digits of the time and 20 random ones."""
    try:
        chance = _pool.pop()
    except IndexError:
        digits = os.urandom(_IDS_PER_BATCH * _RANDOM_DIGITS // 2).hex()
        chance, *more = [
            digits[start : start + _RANDOM_DIGITS]
            for start in range(0, len(digits), _RANDOM_DIGITS)
        ]
        _pool.extend(more)
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{chance}"


def key_id(secret: str) -> str:
    """Return the fingerprint of a provider's key: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]
