"""Converts times to microseconds since 1970, as rows of the chain hold them, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The time that microseconds are counted from."""
_MICROSECOND = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """Return a time as microseconds since 1970, exactly."""
    return (at - EPOCH) // _MICROSECOND


def from_us(at_us: int) -> datetime:
    """Return microseconds since 1970 as a time in UTC."""
    return EPOCH + timedelta(microseconds=at_us)
