"""Turns what Claude Code recorded in transcripts into a report: a spend that no gateway booked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devflow_analytics import Report
    from devflow_claude_code import ClaudeCodeSession
    from devflow_core.dimensions import GroupBy
    from devflow_core.ledger import LedgerEntry
    from devflow_core.summary import Summary
    from devflow_core.usage import Price

RECORDED_NOTE = (
    "What the sessions used, by their transcripts, at list prices. They ran without DevFlow, so"
    " none of it is in the ledger, and titles and calls that were cut off are missing."
)
"""Says where the figures come from."""


def make_recorded_report(
    sessions: Iterable[ClaudeCodeSession],
    by: GroupBy | tuple[GroupBy, ...],
    price_of: Callable[[str], Price | None],
    *,
    with_days: bool = False,
) -> Report:
    """Return a report of the calls in sessions' transcripts; every cost is an estimate.

    Calls of models without a known price cost nothing in it.

    Args:
        sessions: the sessions.
        by: what the rows are grouped by: a dimension, or an outer and an inner one.
        price_of: returns a model's price; None: it is unknown.
        with_days: whether to add up each day as well, for the HTML page.
    """
    from devflow_analytics import Reporter
    from devflow_core.summary import EntriesReader

    entries = [entry for session in sessions for entry in _read_entries(session, price_of)]
    reporter = Reporter(EntriesReader(lambda: entries), price_of=price_of)
    made = reporter.report(by, with_days=with_days)
    groups = {key: _without_times(row) for key, row in made.groups.items()}
    return replace(made, groups=groups, total=_without_times(made.total))


def _without_times(row: Summary) -> Summary:
    """Return sums without durations, which transcripts do not say."""
    from devflow_core.summary import Histogram

    return replace(row, total=Histogram())


def _read_entries(
    session: ClaudeCodeSession, price_of: Callable[[str], Price | None]
) -> Iterator[LedgerEntry]:
    from devflow_core.ledger import Attempt, LedgerEntry

    for number, turn in enumerate(session.turns):
        name = f"{session.session_id}-{number}"
        attempt = Attempt(
            attempt_id=name,
            number=1,
            model=turn.model,
            started_at=turn.started_at,
            outcome="succeeded",
            cost_status="estimated",
            cost_usd=turn.call.cost(price_of).usd,
            usage=turn.usage,
        )
        yield LedgerEntry(
            entry_id=name,
            started_at=turn.started_at,
            requested_model=turn.model,
            outcome="succeeded",
            attempts=(attempt,),
            task_type="",
            complexity="",
            attribution=session.attribution,
        )
