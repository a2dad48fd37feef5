"""Divides time into the blocks of five hours for which subscriptions count usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from devflow_core.usage import usd_text

from devflow_claude_code.costs.groups import CostGroup, total_of
from devflow_claude_code.costs.items import CostItem

BLOCK = timedelta(hours=5)
"""How long a block lasts, from the full hour in which its first reply came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnRate:
    """How fast a block is used, from its first to its last reply."""

    tokens_per_min: float
    usd_per_hour: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What a block comes to at its end if it goes on at its rate."""

    remaining_min: int
    tokens: int
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBlock:
    """Five hours of work, or the gap between two of them."""

    starts_at: datetime
    ends_at: datetime
    """The end; of a gap, the first reply after it."""
    group: CostGroup
    is_gap: bool = False
    is_active: bool = False
    """Whether it has not ended, and the last reply is less than five hours old."""
    burn_rate: BurnRate | None = None
    """The rate of an active block; None for others, and while all its replies have one time."""
    projection: Projection | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the block as JSON values; money is decimal text in USD, times are ISO 8601."""
        rate, ahead = self.burn_rate, self.projection
        return {
            **self.group.as_json(),
            "starts_at": self.starts_at.isoformat(),
            "ends_at": self.ends_at.isoformat(),
            "is_gap": self.is_gap,
            "is_active": self.is_active,
            "burn_rate": rate
            and {
                "tokens_per_min": rate.tokens_per_min,
                "usd_per_hour": usd_text(rate.usd_per_hour),
            },
            "projection": ahead
            and {
                "remaining_min": ahead.remaining_min,
                "tokens": ahead.tokens,
                "cost_usd": usd_text(ahead.usd),
            },
        }


def find_blocks(items: Sequence[CostItem], now: datetime) -> list[CostBlock]:
    """Return the blocks, and the gaps that pauses of more than five hours leave, in order of time.

    A block begins at the full hour (UTC) before its first reply and lasts five hours. A gap begins
    five hours after the last reply, and ends with the next one.

    Args:
        items: in order of time.
        now: decides which block is active.
    """
    found: list[CostBlock] = []
    current: list[CostItem] = []
    for item in items:
        # a pause of more than five hours ends a block as well: its five hours are over then
        if current and item.at - _full_hour(current[0].at) > BLOCK:
            found.append(_make_block(current, now))
            if item.at - current[-1].at > BLOCK:
                gap = (current[-1].at + BLOCK, item.at)
                found.append(_make_gap(*gap))
            current = []
        current.append(item)
    if current:
        found.append(_make_block(current, now))
    return found


def _full_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _make_gap(starts_at: datetime, ends_at: datetime) -> CostBlock:
    group = CostGroup(starts_at.isoformat())
    return CostBlock(starts_at=starts_at, ends_at=ends_at, group=group, is_gap=True)


def _make_block(items: Sequence[CostItem], now: datetime) -> CostBlock:
    starts_at = _full_hour(items[0].at)
    ends_at = starts_at + BLOCK
    is_active = now < ends_at and now - items[-1].at < BLOCK
    group = total_of(items)
    group.key = starts_at.isoformat()
    rate = _measure(items, group) if is_active else None
    return CostBlock(
        starts_at=starts_at,
        ends_at=ends_at,
        group=group,
        is_active=is_active,
        burn_rate=rate,
        projection=rate and _project(group, rate, ends_at - now),
    )


def _measure(items: Sequence[CostItem], group: CostGroup) -> BurnRate | None:
    minutes = (items[-1].at - items[0].at).total_seconds() / 60
    if minutes <= 0:
        return None
    return BurnRate(
        tokens_per_min=sum(group.total.tokens) / minutes,
        usd_per_hour=group.total.cost.usd / Decimal(minutes) * 60,
    )


def _project(group: CostGroup, rate: BurnRate, left: timedelta) -> Projection:
    minutes = round(left.total_seconds() / 60)
    return Projection(
        remaining_min=minutes,
        tokens=round(sum(group.total.tokens) + rate.tokens_per_min * minutes),
        usd=group.total.cost.usd + rate.usd_per_hour / 60 * minutes,
    )
