"""Counts each reply once where several sessions hold it because one was forked from another."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from devflow_core.errors import SessionError

from devflow_claude_code.reading import paths
from devflow_claude_code.reading.responses import ResponseKey, responses_by_session
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.session_cost import PriceOf, Spend, spend_of
from devflow_claude_code.reading.transcript import open_regular_file
from devflow_claude_code.session import ClaudeCodeSession


class SessionRecord(Protocol):
    """What is needed of a session to count its replies: a whole one, or what an index remembers."""

    @property
    def session_id(self) -> str:
        """Its id."""
        ...

    @property
    def last_at(self) -> str | None:
        """The latest time of any row, RFC 3339 in UTC; None if no row has one."""
        ...

    def iterate_rows(self) -> Iterable[TranscriptRow]:
        """Yield its rows and those of its sub-agents; rows without replies may be missing."""
        ...


RecordT = TypeVar("RecordT", bound=SessionRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedSession(Generic[RecordT]):
    """A session with its own replies, and those copied from other sessions."""

    session: RecordT
    own: Spend
    """Replies that are counted in this session."""
    copied: Spend
    """Replies that its transcript repeats; they are counted in the session that made them."""
    copied_from: tuple[str, ...]
    """The ids of the sessions they were copied from, sorted."""

    def cost_json(self, price_of: PriceOf) -> dict[str, Any]:
        """Return usage and cost of its own replies as JSON values.

        `copied` holds number, origins and cost of the copied replies; None if there are none.
        """
        copied = None
        if self.copied.responses:
            copied = {
                "replies": len(self.copied.responses),
                "from": list(self.copied_from),
                **self.copied.cost(price_of).as_json(),
            }
        return {**self.own.as_json(price_of), "copied": copied}


def count_once(sessions: Sequence[RecordT]) -> list[CountedSession[RecordT]]:
    """Assign every reply to one of the sessions, and return them in the order given.

    A session that does not mark the reply as copied comes before one that does; then the earlier
    row counts, and then the session that ended first, since a fork continues after its original
    was left.
    """
    found, owners = find_owners(sessions, [session.iterate_rows() for session in sessions])
    return [_split(at, sessions, responses, owners) for at, responses in enumerate(found)]


def find_owners(
    sessions: Sequence[SessionRecord], rows: Iterable[Iterable[TranscriptRow]]
) -> tuple[list[dict[ResponseKey, TranscriptRow]], dict[ResponseKey, int]]:
    """Return the replies of each session, and for each reply the index of its session.

    Args:
        sessions: decide by their times and ids.
        rows: the rows of each.
    """
    found = responses_by_session(rows)
    # two passes: a reply's owner is known only once all sessions have been seen
    owners: dict[ResponseKey, int] = {}
    for at, responses in enumerate(found):
        for key, row in responses.items():
            known = owners.setdefault(key, at)
            if _rank(sessions[at], row) < _rank(sessions[known], found[known][key]):
                owners[key] = at
    return found, owners


def find_related(session: ClaudeCodeSession) -> list[ClaudeCodeSession]:
    """Return the other sessions in its folder whose transcripts contain its first reply.

    Files that cannot be read as transcripts are skipped; a session without replies has no
    related ones.
    """
    first = next((row for row in session.transcript.rows if row.tokens and row.message_id), None)
    if first is None or first.message_id is None:
        return []
    needle = first.message_id.encode()
    found: list[ClaudeCodeSession] = []
    for path in sorted(paths.find_siblings(session.path)):
        try:
            with (
                open_regular_file(path) as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                # a search in the raw bytes is far cheaper than indexing every session of the
                # project
                is_related = content.find(needle) >= 0
            if is_related:
                found.append(ClaudeCodeSession.open(path))
        except (SessionError, OSError, ValueError):
            continue  # empty, gone or not a transcript: it holds no copy
    return found


def _rank(session: SessionRecord, row: TranscriptRow) -> tuple[bool, str, str, str]:
    is_copy = row.forked_from is not None
    # the session id only makes the result independent of the order given
    return is_copy, row.timestamp, session.last_at or "", session.session_id


def _split(
    at: int,
    sessions: Sequence[RecordT],
    responses: dict[ResponseKey, TranscriptRow],
    owners: dict[ResponseKey, int],
) -> CountedSession[RecordT]:
    copied = {key: row for key, row in responses.items() if owners[key] != at}
    return CountedSession(
        session=sessions[at],
        own=spend_of(row for key, row in responses.items() if key not in copied),
        copied=spend_of(copied.values()),
        copied_from=tuple(sorted({sessions[owners[key]].session_id for key in copied})),
    )
