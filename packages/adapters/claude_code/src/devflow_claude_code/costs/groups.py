"""Groups costs by day, week, month, session, model, project, branch or agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cache
from typing import Any, Literal, get_args

from devflow_core.usage import KnownCost, usd_text

from devflow_claude_code.costs.items import CostItem, CostPart
from devflow_claude_code.reading.session_cost import tokens_json
from devflow_claude_code.reading.usage import NO_TOKENS, TranscriptTokens, add_tokens

View = Literal["daily", "weekly", "monthly", "session", "model", "project", "branch", "agent"]
"""What costs can be grouped by."""
VIEWS: tuple[View, ...] = get_args(View)
Weekday = Literal["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)


@dataclass(slots=True)
class Sum:
    """Tokens and cost under construction."""

    tokens: TranscriptTokens = NO_TOKENS
    cost: KnownCost = field(default_factory=KnownCost)

    def add(self, part: CostPart) -> None:
        """Add the share of one model."""
        self.tokens = add_tokens((self.tokens, part.tokens))
        self.cost = self.cost + part.cost

    def as_json(self) -> dict[str, Any]:
        """Return tokens and cost as JSON values; money is decimal text in USD."""
        return {
            **tokens_json(self.tokens),
            "total_tokens": sum(self.tokens),
            **self.cost.as_json(),
        }


@dataclass(slots=True)
class CostGroup:
    """The replies of one group: what they used and cost, also by model."""

    key: str
    """A day, the first day of a week, a month, or the value grouped by; "" if it is unknown."""
    replies: int = 0
    total: Sum = field(default_factory=Sum)
    booked_usd: Decimal = Decimal(0)
    """The part of the cost that is the ledger's."""
    models: dict[str, Sum] = field(default_factory=dict[str, Sum])
    first_at: datetime | None = None
    last_at: datetime | None = None
    project: str | None = None
    """The project of the reply that was added last; None if it is unknown."""

    def add(self, item: CostItem, parts: Sequence[CostPart]) -> None:
        """Add a reply, or some of its parts."""
        self.replies += 1
        total = self.total
        is_whole = len(parts) == len(item.parts)
        for part in parts:
            total.tokens = add_tokens((total.tokens, part.tokens))
            if not is_whole:
                total.cost += part.cost
            of_model = self.models.get(part.model)
            if of_model is None:
                of_model = self.models[part.model] = Sum()
            of_model.add(part)
        if is_whole:  # a reply that lacks several prices counts once
            total.cost += item.cost
        if item.is_booked:
            self.booked_usd += sum((part.cost.usd for part in parts), Decimal(0))
        self.first_at = item.at if self.first_at is None else min(self.first_at, item.at)
        self.last_at = item.at if self.last_at is None else max(self.last_at, item.at)
        self.project = item.project

    def as_json(self) -> dict[str, Any]:
        """Return the group as JSON values; `models` are sorted by cost, dearest first."""
        by_cost = sorted(self.models.items(), key=lambda one: (-one[1].cost.usd, one[0]))
        return {
            "key": self.key,
            "replies": self.replies,
            **self.total.as_json(),
            "booked_usd": usd_text(self.booked_usd),
            "last_at": self.last_at.isoformat() if self.last_at else None,
            "project": self.project,
            "models": [{"model": name, **one.as_json()} for name, one in by_cost],
        }


def group_costs(
    items: Iterable[CostItem],
    view: View,
    *,
    zone: tzinfo | None = None,
    week_begins: Weekday = "sunday",
) -> list[CostGroup]:
    """Return the groups of a view: periods and sessions in order of time, others dearest first.

    Args:
        items: the replies.
        view: what to group by.
        zone: the time zone in which days begin; None is this machine's.
        week_begins: the first day of a week.
    """
    groups: dict[str, CostGroup] = {}
    key_of = _KEYS.get(view) or _period_key(view, zone, WEEKDAYS.index(week_begins))
    for item in items:
        for key, parts in _split(item, view, key_of):
            groups.setdefault(key, CostGroup(key)).add(item, parts)
    if view in ("daily", "weekly", "monthly"):
        return sorted(groups.values(), key=lambda group: group.key)
    if view == "session":
        return sorted(groups.values(), key=lambda group: (str(group.last_at), group.key))
    return sorted(groups.values(), key=lambda group: (-group.total.cost.usd, group.key))


def total_of(items: Iterable[CostItem]) -> CostGroup:
    """Return all items as one group."""
    total = CostGroup("total")
    for item in items:
        total.add(item, item.parts)
    return total


_KEYS: Mapping[str, Callable[[CostItem], str]] = {
    "session": lambda item: item.session_id,
    "project": lambda item: item.project or "",
    "branch": lambda item: item.branch or "",
    "agent": lambda item: item.agent,
}


def _split(
    item: CostItem, view: View, key_of: Callable[[CostItem], str]
) -> Iterable[tuple[str, Sequence[CostPart]]]:
    if view != "model":
        return [(key_of(item), item.parts)]
    names = dict.fromkeys(part.model for part in item.parts)
    return [(name, [part for part in item.parts if part.model == name]) for name in names]


_QUARTER_S = 900
"""Seconds of a quarter of an hour, at whose ends all changes of days lie, in every time zone."""


def _period_key(view: View, zone: tzinfo | None, first_day: int) -> Callable[[CostItem], str]:
    @cache
    def key_of_quarter(quarter: int) -> str:
        day = datetime.fromtimestamp(quarter * _QUARTER_S, UTC).astimezone(zone).date()
        if view == "monthly":
            return f"{day:%Y-%m}"
        if view == "weekly":
            # isoweekday counts Sunday as 7, WEEKDAYS as 0
            day -= timedelta(days=(day.isoweekday() % 7 - first_day) % 7)
        return day.isoformat()

    return lambda item: key_of_quarter(int(item.at.timestamp() // _QUARTER_S))
