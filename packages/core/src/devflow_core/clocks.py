"""Defines the sources of time, which are passed in as a parameter so that tests control them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current date and time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The sources of time: `monotonic` in seconds, `now` as a date and time in UTC."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
