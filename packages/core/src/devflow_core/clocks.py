"""Time as a parameter, so that tests can own it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The date and time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Where time comes from."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
