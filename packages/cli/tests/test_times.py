"""What `--since` and `--until` understand."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import typer
from devflow_cli.testing import Devflow
from devflow_cli.times import parse_period, read_time
from devflow_core.errors import ConfigurationError
from devflow_core.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 30, 15, 30, tzinfo=BERLIN)  # a Monday


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("today", "2026-11-30T00:00+01:00"),
        ("Yesterday", "2026-11-29T00:00+01:00"),
        ("monday", "2026-11-23T00:00+01:00"),
        ("sunday", "2026-11-29T00:00+01:00"),
        ("last friday", "2026-11-27T00:00+01:00"),
        ("this week", "2026-11-30T00:00+01:00"),
        ("last  week", "2026-11-23T00:00+01:00"),
        ("this month", "2026-11-01T00:00+01:00"),
        ("last month", "2026-10-01T00:00+02:00"),
        ("this year", "2026-01-01T00:00+01:00"),
        ("last year", "2025-01-01T00:00+01:00"),
        ("7d", "2026-11-23T15:30+01:00"),
        ("24h", "2026-11-29T15:30+01:00"),
        ("90 min", "2026-11-30T14:00+01:00"),
        ("3 days ago", "2026-11-27T15:30+01:00"),
        ("1 week ago", "2026-11-23T15:30+01:00"),
        ("9 months ago", "2026-02-28T15:30+01:00"),
        ("2 years", "2024-11-30T15:30+01:00"),
        ("2026-11", "2026-11-01T00:00+01:00"),
        ("2026-07", "2026-07-01T00:00+02:00"),
        ("2026-11-21", "2026-11-21T00:00+01:00"),
        ("2026-11-21T09:00", "2026-11-21T09:00+01:00"),
        ("2026-11-21 09:00", "2026-11-21T09:00+01:00"),
        ("2026-11-21T09:00:00Z", "2026-11-21T09:00+00:00"),
        ("2026-W47-5", "2026-11-20T00:00+01:00"),
    ],
)
def test_a_text_names_a_time(text: str, meant: str) -> None:
    assert read_time(text, NOW) == datetime.fromisoformat(meant)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday-ish", "5m", "-3d", "2026-13", "2026-02-30", "last", "99999 years", "７d", "d"],
)
def test_what_is_no_time_is_refused_with_what_is_allowed(text: str) -> None:
    assert read_time(text, NOW) is None
    with pytest.raises(typer.BadParameter, match=r"is not a time\. Allowed: a day"):
        parse_period(Settings(), text)


def test_last_month_is_a_half_open_interval_in_the_users_zone() -> None:
    settings = Settings(budget_time_zone="Europe/Berlin")
    start, end = parse_period(settings, "2026-10", "2026-11")
    assert start == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert end == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert parse_period(settings, None) == (None, None)


def test_a_time_zone_that_is_none_is_named() -> None:
    with pytest.raises(ConfigurationError, match="Mars/Olympus"):
        parse_period(Settings(budget_time_zone="Mars/Olympus"), "today")


def test_an_end_that_is_not_after_the_beginning_is_refused() -> None:
    for until in ("2026-10", "2026-09"):
        with pytest.raises(typer.BadParameter, match="not after the beginning"):
            parse_period(Settings(), "2026-10", until)


PHRASES = (
    "today", "yesterday", "monday", "last week", "last month", "last year", "5 months ago", "3d",
)  # fmt: skip


@given(st.integers(0, 4_000_000_000), st.sampled_from(PHRASES))
def test_every_phrase_names_a_time_that_has_been(at_s: int, text: str) -> None:
    now = datetime.fromtimestamp(at_s, BERLIN)
    found = read_time(text, now)
    assert found is not None
    assert found <= now
    assert found.tzinfo is BERLIN


@pytest.mark.parametrize("command", ["report", "whatif"])
def test_every_command_with_a_since_takes_the_same(devflow: Devflow, command: str) -> None:
    assert devflow(command, "--since", "last month", "--until", "this month").status == 0
    wrong = devflow(command, "--since", "soon")
    assert (wrong.status, '"3 days ago"' in wrong.err) == (2, True)
