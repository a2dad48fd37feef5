"""Which model each session is at, and how much of its prompt lies warm there."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from devflow_core.ledger import LedgerEntry

WARM_S = 300.0
"""How long a prompt cache is kept without use: five minutes at Anthropic, OpenAI and Google."""
_MOST_SESSIONS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """The model that answered a session last, and what it still remembers."""

    model: str
    at: datetime
    tokens: int
    """Of prompt and reply, which the model's cache can hold."""

    def warm_tokens(self, at: datetime) -> int:
        """How many tokens are still warm at this time."""
        return self.tokens if (at - self.at).total_seconds() <= WARM_S else 0


class SessionTracker:
    """A view of the ledger: the last model of every session, the oldest sessions forgotten."""

    def __init__(self) -> None:
        self._seats: OrderedDict[tuple[str, str | None], Seat] = OrderedDict()

    def record(self, entry: LedgerEntry, /) -> None:
        """As `Ledger.record`."""
        session, final = entry.attribution.session_id, entry.final
        if session is None or final is None or entry.outcome != "succeeded" or entry.is_cache_hit:
            return
        key = (session, entry.attribution.agent)
        self._seats[key] = Seat(
            model=final.model, at=final.started_at, tokens=final.usage.total_tokens
        )
        self._seats.move_to_end(key)
        if len(self._seats) > _MOST_SESSIONS:
            self._seats.popitem(last=False)

    def seat(self, session_id: str | None, agent: str | None = None) -> Seat | None:
        """Where the session is; a sub-agent that has not spoken yet inherits from the main one."""
        if session_id is None:
            return None
        for key in ((session_id, agent), (session_id, "main"), (session_id, None)):
            if key in self._seats:
                return self._seats[key]
        return None
