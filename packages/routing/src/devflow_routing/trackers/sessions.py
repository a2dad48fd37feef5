"""Tracks which model each session uses, and how much of its prompt is in that model's cache."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from devflow_core.ledger import LedgerEntry

CACHE_TTL_S = 300.0
"""Seconds that an unused prompt cache is kept: five minutes at Anthropic, OpenAI and Google."""
BACKGROUND_KINDS = frozenset({"background"})
"""Kinds of calls that harnesses make for themselves, such as titles; they say nothing of a session.
"""
MAIN_AGENT = "main"
"""The name of a Claude Code session's main thread among its agents."""
_MAX_SESSIONS = 10_000
"""The most agents of sessions that are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAffinity:
    """The model that answered an agent of a session last, and how much of it the cache holds."""

    model: str
    last_used_at: datetime
    """When the latest call was sent."""
    cached_tokens: int
    """The tokens of prompt and reply, which the model's cache can hold."""
    first_model: str
    """The model that answered this agent first; a session's floor is measured by its main one's."""

    def warm_tokens(self, now: datetime) -> int:
        """Return the number of tokens that are still in the cache at this time."""
        return self.cached_tokens if (now - self.last_used_at).total_seconds() <= CACHE_TTL_S else 0


class SessionTracker:
    """A view of the ledger: the last model of every agent of a session.

    Those that were longest without an answer are dropped.
    """

    def __init__(self) -> None:
        self._affinities: OrderedDict[tuple[str, str | None], SessionAffinity] = OrderedDict()

    def record(self, entry: LedgerEntry, /) -> None:
        session, final = entry.attribution.session_id, entry.final_attempt
        if session is None or final is None or entry.outcome != "succeeded" or entry.is_cache_hit:
            return
        if entry.task_type in BACKGROUND_KINDS:
            return
        key = (session, entry.attribution.agent)
        known = self._affinities.get(key)
        self._affinities[key] = SessionAffinity(
            model=final.model,
            last_used_at=final.started_at,
            cached_tokens=final.usage.total_tokens,
            first_model=known.first_model if known else final.model,
        )
        self._affinities.move_to_end(key)
        if len(self._affinities) > _MAX_SESSIONS:
            self._affinities.popitem(last=False)

    def find_affinity(
        self, session_id: str | None, agent: str | None = None
    ) -> SessionAffinity | None:
        """Return the model that answered this agent of the session last; None if none did."""
        return None if session_id is None else self._affinities.get((session_id, agent))

    def find_first_model(self, session_id: str | None) -> str | None:
        """Return the model that the session's main thread began with; None if it is not known."""
        if session_id is None:
            return None
        for agent in (MAIN_AGENT, None):
            if (found := self._affinities.get((session_id, agent))) is not None:
                return found.first_model
        return None
