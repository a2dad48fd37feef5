"""Writes another model's reply back to Claude Code, as a new session that it can resume.

The old session is never touched. The rules for rows that clients accept were measured with
Claude Code 1.0.128 to 2.1.329 (November 2026): rows form one chain, timestamps rise, replies are
lists of blocks and name a model, and a reply comes last.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from devflow_core.clocks import utc_now
from devflow_core.errors import SessionError
from devflow_core.messages import Message
from devflow_core.private_files import replace_file
from devflow_core.usage import Usage

from devflow_claude_code.handoff.reply_blocks import (
    content_blocks,
    drop_open_calls,
    usage_json,
)
from devflow_claude_code.reading import paths
from devflow_claude_code.reading.content import get_object
from devflow_claude_code.reading.rows import Json, TranscriptRow
from devflow_claude_code.session import ClaudeCodeSession

# Stands in if the old session names no version.
_OLDEST_VERSION = "1.0.0"
_TIMESTAMP_STEP = timedelta(milliseconds=1)
# Other types, such as titles and queue operations, belong to the old session alone.
_KEPT_TYPES = frozenset({"user", "assistant", "system", "attachment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantReply:
    """The reply to a prompt."""

    prompt: str
    """The prompt that was answered; it becomes a user row before the reply."""
    messages: tuple[Message, ...]
    """The reply; if its tool calls were executed, their results are user messages in between."""
    model: str
    usage: Usage = field(default_factory=Usage)
    """The usage of all calls together; recorded in the row of the last message."""
    entry_id: str | None = None
    """The ledger's entry of the reply; recorded as its request id, so that it counts once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSession:
    """The session that was written."""

    session_id: str
    path: Path
    """The new transcript."""
    cwd: str
    """The folder to run the command in: older clients find a session only from its folder."""

    @property
    def command(self) -> str:
        """The command that resumes the new session."""
        return f"claude --resume {self.session_id}"

    @property
    def shell_command(self) -> str:
        """The command preceded by the change of folder, ready to be pasted."""
        return paths.resume_command(self.session_id, self.cwd)

    def as_json(self) -> dict[str, Any]:
        """Return id, path, command and folder as JSON values."""
        return {
            "session_id": self.session_id,
            "path": str(self.path),
            "command": self.command,
            "cwd": self.cwd,
        }


def write_back(
    session: ClaudeCodeSession,
    reply: AssistantReply,
    *,
    config_dir: Path | None = None,
    now: Callable[[], datetime] = utc_now,
) -> WrittenSession:
    """Write a new session: the active branch of the old one, the prompt and the reply.

    Reasoning of the reply is dropped, and its tool calls without a result become text. The file
    is stored beside the old one if that lies below `config_dir`, otherwise in the folder of its
    project there. It appears complete or not at all, with mode 0600.

    Args:
        session: the old session; it is never changed.
        reply: the prompt and the reply to it.
        config_dir: Claude Code's own folder; None is the user's.
        now: returns the time of the new rows, which is moved forward if the old session ends later.

    Raises:
        SessionError: the session holds no conversation or names no folder, the reply is empty, or
            the file cannot be written, or would be written through a link.
    """
    if not session.conversation:
        raise SessionError(f"{session.path}:1: this session holds no conversation to continue.")
    if session.project is None:
        raise SessionError(f"{session.path}: names no folder, so it cannot be written back.")
    session_id = str(uuid.uuid4())
    rows = _RowBuilder(session, session.project, session_id, now())
    lines = [*rows.copy_branch(), *rows.append_reply(reply), *rows.add_title(reply.model)]
    folder = _target_folder(session.path, session.project, config_dir or paths.configuration_dir())
    path = folder / f"{session_id}.jsonl"
    try:
        replace_file(path, b"".join(orjson.dumps(line) + b"\n" for line in lines))
    except OSError as error:
        raise SessionError(f"{path}: cannot be written: {error.strerror}.") from error
    return WrittenSession(session_id=session_id, path=path, cwd=session.project)


class _RowBuilder:
    """Builds the lines of the new file, each one the child of the line before."""

    def __init__(
        self, session: ClaudeCodeSession, project: str, session_id: str, now: datetime
    ) -> None:
        self._session = session
        self._project = project
        self._id = session_id
        self._parent: str | None = None
        # Timestamps have to rise: a clock that is behind must not put the reply before the history.
        self._now = max(now, _parse_time(session.last_at) + _TIMESTAMP_STEP)

    def copy_branch(self) -> Iterator[Json]:
        """Copy the active branch as a single chain, so that clients lose no parallel call."""
        wanted = [row for row in self._session.branch if _is_kept(row)]
        stamp = _parse_time(wanted[0].timestamp if wanted else None)
        for row, body in self._session.transcript.load_all(wanted):
            # rows may share a timestamp; those of the copied chain have to rise
            stamp = max(stamp + _TIMESTAMP_STEP, _parse_time(row.timestamp))
            body["timestamp"] = _format_time(stamp)
            body["sessionId"] = self._id
            body["parentUuid"] = self._parent
            # another spelling of the old session's id
            body.pop("session_id", None)
            if row.subtype == "compact_boundary":
                _drop_preserved(body)
            self._parent = row.uuid
            yield body
        self._now = max(self._now, stamp + _TIMESTAMP_STEP)

    def append_reply(self, reply: AssistantReply) -> Iterator[Json]:
        """Yield the rows of the prompt and the reply.

        Raises:
            SessionError: the reply is empty.
        """
        yield self._build_row("user", {"role": "user", "content": reply.prompt})
        messages = drop_open_calls(reply.messages)
        if not messages or messages[-1].role != "assistant":
            raise SessionError("The reply is empty; there is nothing to write back.")
        for message in messages:
            blocks = content_blocks(message)
            if message.role == "user":
                yield self._build_row("user", {"role": "user", "content": blocks})
                continue
            calls = any(block["type"] == "tool_use" for block in blocks)
            assistant_message: Json = {
                "id": f"msg_devflow_{uuid.uuid4().hex}",
                "type": "message",
                "role": "assistant",
                "model": reply.model,
                "content": blocks,
                "stop_reason": "tool_use" if calls else "end_turn",
                "stop_sequence": None,
                "usage": usage_json(reply.usage if message is messages[-1] else Usage()),
            }
            row = self._build_row("assistant", assistant_message)
            if reply.entry_id is not None:
                row["requestId"] = reply.entry_id
            yield row

    def add_title(self, model: str) -> Iterator[Json]:
        """Yield the title that `/resume` shows."""
        title = f"{self._session.title or 'session'} (continued by {model})"
        yield {"type": "custom-title", "customTitle": title, "sessionId": self._id}

    def _build_row(self, kind: str, message: Json) -> Json:
        row: Json = {
            "parentUuid": self._parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": self._project,
            "sessionId": self._id,
            "version": self._session.client_version or _OLDEST_VERSION,
            "gitBranch": self._session.git_branch or "",
            "type": kind,
            "message": message,
            "uuid": str(uuid.uuid4()),
            "timestamp": _format_time(self._now),
        }
        self._parent = row["uuid"]
        self._now += _TIMESTAMP_STEP
        return row


def _is_kept(row: TranscriptRow) -> bool:
    return row.type in _KEPT_TYPES and not row.is_api_error and row.subtype != "api_error"


def _drop_preserved(body: Json) -> None:
    """Drop the list of preserved rows: they are in the chain now, and would appear twice."""
    preserved = ("preservedMessages", "preservedSegment")
    details = get_object(body, "compactMetadata")
    body["compactMetadata"] = {name: one for name, one in details.items() if name not in preserved}


def _target_folder(transcript: Path, project: str, config_dir: Path) -> Path:
    root = paths.projects_dir(config_dir)
    beside = transcript.resolve().parent
    if beside.is_relative_to(root.resolve()):
        return beside
    folder = root / paths.project_slug(Path(project))
    paths.check_link(folder, config_dir)
    return folder


def _parse_time(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text or "").astimezone(UTC)
    except ValueError:
        return datetime(2000, 1, 1, tzinfo=UTC)


def _format_time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
