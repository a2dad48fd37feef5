"""Parses the times of `--since` and `--until`: days, times, months, spans and a few phrases.

Both mean the beginning of what they name, in the time zone of the settings unless the command has
an option for one. Together they are a half-open interval: `--since "last month" --until "this
month"` is last month, to the microsecond.
"""

from __future__ import annotations

import re
from calendar import day_name, monthrange
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    from devflow_core.settings import Settings

ALLOWED = (
    "a day (2026-11-21), a time (2026-11-21T09:00), a month (2026-11), a span back from now (7d,"
    ' 24h, "3 days ago"), today, yesterday, a weekday (monday is the last one), or'
    ' "this" or "last" with week, month or year'
)
"""What `--since` and `--until` accept, for error messages and help."""
Since = Annotated[
    str | None, typer.Option(help=f"From the beginning of: {ALLOWED}.", show_default=False)
]
"""The option for the start of a period; `parse_period` reads it."""
Until = Annotated[
    str | None,
    typer.Option(help="Up to the beginning of the same, exclusive.", show_default=False),
]
"""The option for the end of a period."""
_WEEKDAYS = tuple(name.lower() for name in day_name)
# no bare `m`: it could mean a month
_SPAN = re.compile(
    r"(\d{1,5}) ?(h|d|w|min|minutes?|hours?|days?|weeks?|months?|years?)(?: ago)?", re.ASCII
)
_PERIOD = re.compile(r"(this|last) (week|month|year)", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class MachineZone(tzinfo):
    """The time zone of this machine, with its changes of the clock."""

    def utcoffset(self, dt: datetime | None, /) -> timedelta | None:
        """Return the distance from UTC at a local time; None without a time."""
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None, /) -> timedelta | None:
        """Return None: the distance from UTC includes it already."""
        return None

    def tzname(self, dt: datetime | None, /) -> str | None:
        """Return the zone's short name at a local time; None without a time."""
        return None if dt is None else dt.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, dt: datetime, /) -> datetime:
        """Return the local time of a time in UTC."""
        return dt.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)

    def __str__(self) -> str:
        return datetime.now(self).tzname() or "local"


MACHINE_ZONE = MachineZone()
"""The zone in which days of `devflow costs` begin, unless `--timezone` names another."""


def parse_period(
    settings: Settings,
    since: str | None,
    until: str | None = None,
    *,
    zone: tzinfo | None = None,
) -> tuple[datetime | None, datetime | None]:
    """Return the times of `--since` (inclusive) and `--until` (exclusive), in UTC; None is open.

    Args:
        settings: give the time zone.
        since: as given.
        until: as given.
        zone: a time zone in place of the settings'.

    Raises:
        typer.BadParameter: a text is not a time, or the end is not after the beginning.
        ConfigurationError: no zone was given, and the settings' is unknown.
    """
    now = datetime.now(zone or _zone(settings))
    start, end = _parse(since, now, "--since"), _parse(until, now, "--until")
    if start is not None and end is not None and end <= start:
        raise typer.BadParameter(
            f"{until!r} begins at {end:%Y-%m-%d %H:%M} UTC, which is not after the beginning of"
            f" {since!r}, {start:%Y-%m-%d %H:%M} UTC",
            param_hint="--until",
        )
    return start, end


def _zone(settings: Settings) -> ZoneInfo:
    from devflow_core.errors import ConfigurationError

    try:
        return ZoneInfo(settings.budget_time_zone)
    except (KeyError, ValueError, OSError):
        name = settings.budget_time_zone
        raise ConfigurationError(
            f"budget_time_zone: there is no time zone {name!r}; use one such as Europe/Berlin."
        ) from None


def read_time(text: str, now: datetime) -> datetime | None:
    """Return the beginning of what a text names, in the zone of `now`; None if it names no time."""
    words = " ".join(text.lower().split())
    try:
        return _read_phrase(words, now) or _read_iso(text.strip(), now)
    except (ValueError, OverflowError):
        # not ISO, or a day that no calendar has
        return None


def _parse(text: str | None, now: datetime, option: str) -> datetime | None:
    if text is None:
        return None
    found = read_time(text, now)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time. Allowed: {ALLOWED}.", param_hint=option)
    return found.astimezone(UTC)


def _read_phrase(words: str, now: datetime) -> datetime | None:
    today = now.date()
    if words in ("today", "yesterday"):
        return _at(today - timedelta(days=words == "yesterday"), now)
    if (weekday := words.removeprefix("last ")) in _WEEKDAYS:
        back = (today.weekday() - _WEEKDAYS.index(weekday)) % 7
        # on a Monday, "monday" is a week ago: today has a name of its own
        return _at(today - timedelta(days=back or 7), now)
    if period := _PERIOD.fullmatch(words):
        return _at(_begin_period(today, period[2], is_last=period[1] == "last"), now)
    if span := _SPAN.fullmatch(words):
        return _go_back(int(span[1]), span[2], now)
    return None


def _begin_period(today: date, unit: str, *, is_last: bool) -> date:
    if unit == "week":
        return today - timedelta(days=today.weekday() + 7 * is_last)
    if unit == "month":
        return _add_months(today.replace(day=1), -is_last)
    return date(today.year - is_last, 1, 1)


def _go_back(count: int, unit: str, now: datetime) -> datetime:
    if unit.startswith(("mo", "y")):
        day = _add_months(now.date(), -count * (12 if unit.startswith("y") else 1))
        return datetime.combine(day, now.timetz())
    # through UTC: an hour is an hour, also where clocks are changed
    back = now.astimezone(UTC) - timedelta(seconds=count * _SECONDS[unit[0]])
    return back.astimezone(now.tzinfo)


def _read_iso(text: str, now: datetime) -> datetime:
    if month := _MONTH.fullmatch(text):
        return _at(date(int(month[1]), int(month[2]), 1), now)
    given = datetime.fromisoformat(text)
    return given if given.tzinfo else given.replace(tzinfo=now.tzinfo)


def _at(day: date, now: datetime) -> datetime:
    return datetime.combine(day, time(), now.tzinfo)


def _add_months(day: date, count: int) -> date:
    """Return the same day of another month, or that month's last one if it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
