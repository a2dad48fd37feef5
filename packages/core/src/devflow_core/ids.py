"""Identifiers: a prefix, the time in milliseconds, and 80 random bits; they sort by time."""

from __future__ import annotations

import os
import time


def new_id(prefix: str) -> str:
    """`prefix_`, 12 hex digits of time and 20 of chance."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
