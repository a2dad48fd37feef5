"""Condenses a session to what lists and costs need: a few facts, and one row for each reply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson
from devflow_core.errors import SessionError

from devflow_claude_code.reading.agents import is_warm_up, read_agent
from devflow_claude_code.reading.responses import condense
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.stamps import SessionFiles
from devflow_claude_code.reading.transcript import Transcript
from devflow_claude_code.reading.usage import Billing, TranscriptTokens
from devflow_claude_code.session import ClaudeCodeSession

MAIN = "main"
"""The agent of the main conversation."""
SIDECHAIN = "sidechain"
"""The agent of rows of a sub-agent whose id is unknown, as of Claude Code 1.0."""
WARM_UP = "warm-up"
"""The agent of calls that Claude Code 2.0 makes before any work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDigest:
    """What is remembered of a session. Holds its title, and no other text of the conversation."""

    path: Path
    """The transcript; if only files of sub-agents are left, it does not exist."""
    session_id: str
    project: str | None
    """The folder Claude Code was started in; None if it is unknown."""
    title: str | None
    client_version: str | None
    started_at: str | None
    """Time of the first row, RFC 3339 in UTC."""
    last_at: str | None
    """The latest time of any row, RFC 3339 in UTC."""
    messages: int
    """Messages of the active branch; with 0, lists leave it out."""
    rows: tuple[TranscriptRow, ...]
    """One row for each reply, with its agent; and some that tell replies apart."""

    def iterate_rows(self) -> Iterator[TranscriptRow]:
        """Yield the rows without those of warm-up calls, as `ClaudeCodeSession` counts."""
        return (row for row in self.rows if row.agent != WARM_UP)

    def summary_json(self) -> dict[str, Any]:
        """Return the session as a JSON object for a list: where, when, how long."""
        return {
            "session_id": self.session_id,
            "path": str(self.path),
            "project": self.project,
            "title": self.title,
            "client_version": self.client_version,
            "started_at": self.started_at,
            "last_at": self.last_at,
            "messages": self.messages,
        }


def digest_session(files: SessionFiles) -> SessionDigest:
    """Read the files of one session, and return what to remember of it.

    Files that cannot be read, or are not transcripts, count as empty.
    """
    session = _open_session(files.path) if files.has_transcript else None
    agents = [agent for path in files.agents if (agent := _open_agent(path)) is not None]
    rows = condense(_label_rows(session, agents))
    if session is None:
        return _digest_of_agents(files, agents, rows)
    return SessionDigest(
        path=files.path,
        session_id=session.session_id,
        project=session.project,
        title=session.title,
        client_version=session.client_version,
        started_at=session.started_at,
        last_at=session.last_at,
        messages=len(session.conversation),
        rows=rows,
    )


def _digest_of_agents(
    files: SessionFiles, agents: Sequence[Transcript], rows: tuple[TranscriptRow, ...]
) -> SessionDigest:
    """Return the digest of a session whose own transcript is gone or unreadable."""
    times = sorted(row.timestamp for agent in agents for row in agent.rows if row.timestamp)
    folders = [folder for agent in agents for folder in agent.folders]
    return SessionDigest(
        path=files.path,
        session_id=files.session_id,
        project=next(iter(folders), None),
        title=None,
        client_version=None,
        started_at=times[0] if times else None,
        last_at=times[-1] if times else None,
        messages=0,
        rows=rows,
    )


def _open_session(path: Path) -> ClaudeCodeSession | None:
    try:
        return ClaudeCodeSession.open(path, config_dir=path.parent)
    except SessionError:
        return None


def _open_agent(path: Path) -> Transcript | None:
    try:
        return read_agent(path)
    except SessionError:
        return None


def _label_rows(
    session: ClaudeCodeSession | None, agents: Sequence[Transcript]
) -> Iterator[TranscriptRow]:
    for row in session.transcript.rows if session is not None else ():
        yield row._replace(agent=row.agent or (SIDECHAIN if row.is_sidechain else MAIN))
    for agent in agents:
        name = WARM_UP if is_warm_up(agent) else agent.path.stem.removeprefix("agent-")
        yield from (row._replace(is_sidechain=True, agent=name) for row in agent.rows)


def encode_rows(rows: Sequence[TranscriptRow]) -> bytes:
    """Return rows as bytes for `decode_rows`; only what replies are counted by is kept."""
    return orjson.dumps(
        [
            [
                row.type, row.uuid, row.timestamp, row.is_sidechain, row.is_meta, row.message_id,
                row.model, bool(row.tool_results), row.tokens, row.request_id, row.billing,
                row.forked_from, row.branch, row.agent,
            ]
            for row in rows
        ],
        default=tuple,
    )  # fmt: skip


def decode_rows(content: bytes) -> tuple[TranscriptRow, ...]:
    """Return the rows that `encode_rows` wrote.

    Raises:
        ValueError: the bytes were not written by it.
    """
    try:
        kept = cast("list[list[Any]]", orjson.loads(content))
        return tuple(_decode_row(line, *one) for line, one in enumerate(kept, 1))
    except TypeError as error:
        raise ValueError("not the rows of a session") from error


def _decode_row(line: int, *kept: Any) -> TranscriptRow:
    (kind, uuid, timestamp, is_sidechain, is_meta, message_id, model, has_results, tokens,
     request_id, billing, forked_from, branch, agent) = kept  # fmt: skip
    return TranscriptRow(
        line, 0, 0, kind, "", uuid, None, timestamp, is_sidechain, is_meta, False, False,
        message_id, model, (), _SOME_RESULT if has_results else (), False,
        None if tokens is None else TranscriptTokens(*tokens), None, request_id,
        None if billing is None else _decode_billing(*billing),
        None if forked_from is None else (forked_from[0], forked_from[1]), branch, agent,
    )  # fmt: skip


_SOME_RESULT = (("", False),)
"""Stands for the results of tool calls, of which only the presence counts."""


def _decode_billing(calls: list[Any], *rest: Any) -> Billing:
    variant, searches, is_us_only, is_impossible, unpriced = rest
    of_calls = tuple((model, TranscriptTokens(*tokens)) for model, tokens in calls)
    return Billing(of_calls, variant, searches, is_us_only, is_impossible, tuple(unpriced))
