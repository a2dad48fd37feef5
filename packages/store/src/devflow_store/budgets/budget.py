"""Defines budgets as values: what they limit, over which period, and the alerts they raise."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from devflow_core.dimensions import BUDGET_SCOPES
from devflow_core.errors import InvalidRequest

SCOPES = ("global", *BUDGET_SCOPES)
"""The scopes: `global`, and the dimensions of `devflow_core.dimensions` known before a call."""
Window = Literal["request", "hour", "day", "week", "month", "lifetime"]
"""The period of a limit: `request` limits each request separately, `lifetime` never ends."""

WILDCARD = "*"
"""The value of a budget that gives each subject (key, session, project…) its own limit."""
_LIFETIME_BOUNDS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit on spending in a scope, within a window of time.

    Raises:
        InvalidRequest: an unknown scope or window, a negative limit, a missing or superfluous
            value, an unknown time zone.
    """

    scope: str
    """One of `SCOPES`."""
    window: Window
    limit_usd: Decimal
    value: str | None = None
    """The name within the scope, such as a session's id; `*` for each one; None if global."""
    timezone: str = "UTC"
    """The IANA name of the zone in which hours, days, weeks (from Monday) and months begin."""
    thresholds: tuple[float, ...] = (0.8, 1.0)
    """Shares of the limit at which an alert is raised, each once per window."""
    allow_unknown_price: bool = False
    """Whether a call with an unknown worst case may start; then only one at a time."""
    id: str = ""
    """Derived from `scope`, `value` and `window` unless it is set."""

    def __post_init__(self) -> None:
        for given, known in ((self.scope, SCOPES), (self.window, get_args(Window))):
            if given not in known:
                raise InvalidRequest(f"{given!r} is not one of {', '.join(known)}.")
        if not self.limit_usd.is_finite() or self.limit_usd < 0:
            raise InvalidRequest(
                f"A budget of {self.limit_usd} USD is not possible; use 0 or more."
            )
        if (self.value is None) != (self.scope == "global"):
            raise InvalidRequest(
                f"A budget for `{self.scope}` needs "
                + ("no value." if self.scope == "global" else "a value, or `*` for each.")
            )
        try:
            ZoneInfo(self.timezone)
        except (KeyError, OSError, ValueError) as error:
            raise InvalidRequest(
                f"{self.timezone!r} is not a time zone; use an IANA name such as Europe/Berlin."
            ) from error
        if not self.id:
            name = ":".join(part for part in (self.scope, self.value, self.window) if part)
            object.__setattr__(self, "id", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """A budget with what is spent and reserved, for one subject in the current window."""

    budget: Budget
    subject: str
    """The key, session… that it applies to; empty if global."""
    spent_usd: Decimal
    reserved_usd: Decimal
    """The amount reserved for calls in flight, at their worst case."""
    window_start: datetime
    """The start of the window in UTC, inclusive."""
    window_end: datetime
    """The end of the window in UTC, exclusive."""

    @property
    def left_usd(self) -> Decimal:
        """The amount that new calls may still reserve, in USD; never below 0."""
        return max(Decimal(0), self.budget.limit_usd - self.spent_usd - self.reserved_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAlert:
    """An alert that spending has passed a threshold."""

    budget: Budget
    subject: str
    """The key, session… whose spending this is; empty if global."""
    threshold: float
    """The highest share of the limit that was passed."""
    is_overrun: bool
    """Whether more than the limit was spent: a call cost more than was reserved, or the limit was
    set below what had been spent."""
    spent_usd: Decimal
    window_start: datetime


def window_bounds(window: Window, at: datetime, timezone: str) -> tuple[datetime, datetime]:
    """Return start (inclusive) and end (exclusive), in UTC, of the window that contains `at`.

    A day is from midnight to midnight of the zone, so 23 or 25 hours when clocks change. `lifetime`
    and `request` have fixed bounds, 1970 and 9999.
    """
    if window in ("lifetime", "request"):
        return _LIFETIME_BOUNDS
    zone = ZoneInfo(timezone)
    local = at.astimezone(zone)
    if window == "hour":
        # hours are counted in UTC with the zone's minutes, so that a repeated hour is two
        start = at - timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        return start.astimezone(UTC), (start + timedelta(hours=1)).astimezone(UTC)
    first = local.date()
    if window == "week":
        first -= timedelta(days=first.weekday())
        last = first + timedelta(days=7)
    elif window == "month":
        first = first.replace(day=1)
        last = (first + timedelta(days=31)).replace(day=1)
    else:
        last = first + timedelta(days=1)
    return tuple(  # type: ignore[return-value] # two in, two out
        datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) for day in (first, last)
    )


def alert_level(budget: Budget, spent_usd: Decimal) -> int:
    """Return the number of thresholds passed, plus one if the limit itself is overrun."""
    passed = sum(
        spent_usd > 0 and spent_usd >= budget.limit_usd * Decimal(str(share))
        for share in budget.thresholds
    )
    return passed + (spent_usd > budget.limit_usd)
