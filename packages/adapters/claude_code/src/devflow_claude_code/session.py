"""Represents a session of Claude Code: its transcript, active branch, context, usage and cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

from devflow_core.attribution import Attribution
from devflow_core.errors import SessionError
from devflow_core.masking import escape_invisible, mask
from devflow_core.repository import project_label
from devflow_core.request import ChatRequest

from devflow_claude_code.context.injector import inject_context
from devflow_claude_code.context.session_context import (
    DEFAULT_BUDGET_TOKENS,
    SessionContext,
    build_context,
)
from devflow_claude_code.reading import paths
from devflow_claude_code.reading.agents import agent_name, read_agents
from devflow_claude_code.reading.branch import active_branch, bridged_lines, conversation_rows
from devflow_claude_code.reading.content import get_object, human_text
from devflow_claude_code.reading.damage import Damage
from devflow_claude_code.reading.hints import find_hints
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.session_cost import (
    PriceOf,
    RecordedTurn,
    Spend,
    fold_usage,
    read_turns,
)
from devflow_claude_code.reading.titles import given_title
from devflow_claude_code.reading.transcript import Transcript, check_transcript

NEWEST_KNOWN_VERSION = "2.1.329"
"""The newest Claude Code this reader was tested with; newer transcripts are read as well."""
_MAX_CHOICES = 5
"""The most projects that an error names when the requested one has no session."""


class ClaudeCodeSession:
    """One session, read from its transcript. Implements the core's `ContextInjector`.

    Get one from `open`, `find` or `latest`. It is a snapshot; `refresh` reads what was appended
    since. Nothing here writes.
    """

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.context_budget_tokens = DEFAULT_BUDGET_TOKENS
        """The default token budget of `context` and `inject`."""
        self._contexts: dict[int, SessionContext] = {}

    @classmethod
    def open(cls, path: str | Path, *, config_dir: Path | None = None) -> Self:
        """Read a transcript from any path.

        Raises:
            SessionError: the file is missing, empty, not a transcript, or a link that leads out of
                the projects folder below `config_dir` (default: Claude Code's own).
        """
        path = Path(path).expanduser()
        paths.check_link(path, config_dir or paths.configuration_dir())
        transcript = Transcript(path)
        transcript.refresh()
        check_transcript(transcript)
        return cls(transcript)

    @classmethod
    def find(cls, id_or_path: str, *, config_dir: Path | None = None) -> Self:
        """Read a session, given its id, the beginning of its id, or its transcript's path.

        Raises:
            SessionError: see `open`; or the id matches no session or several.
        """
        config_dir = config_dir or paths.configuration_dir()
        if "/" in id_or_path or id_or_path.endswith(".jsonl"):
            return cls.open(id_or_path, config_dir=config_dir)
        return cls.open(paths.find_transcript(config_dir, id_or_path), config_dir=config_dir)

    @staticmethod
    def latest(
        project: str | Path | None = None, *, config_dir: Path | None = None
    ) -> ClaudeCodeSession:
        """Return the session of a project that has the latest message.

        Args:
            project: a folder; None is the working directory. If it has no session, the folders
                above count, up to the root of its git repository.
            config_dir: Claude Code's own folder; None is the user's.

        Raises:
            SessionError: the project has no readable session; the message names projects that
                have one.
        """
        config_dir = config_dir or paths.configuration_dir()
        folder = Path.cwd() if project is None else Path(project).expanduser()
        for one in paths.project_folders(folder):
            session = _find_latest(one, config_dir)
            if session is not None:
                return session
        raise SessionError(_describe_choices(folder, config_dir))

    def refresh(self) -> bool:
        """Read what was appended since, and return whether anything was.

        Files of sub-agents are read again only if the session's own file has grown.

        Raises:
            SessionError: the file is missing, unreadable, or not a regular file.
        """
        has_new = self.transcript.refresh()
        if has_new:
            # everything computed from the rows; a new cached property has to be added here
            for name in ("branch", "conversation", "history", "title", "spend", "agents", "damage"):
                self.__dict__.pop(name, None)
            self._contexts.clear()
        return has_new

    @property
    def path(self) -> Path:
        """The transcript file."""
        return self.transcript.path

    @property
    def session_id(self) -> str:
        """The id for `claude --resume`: the file's name, or, if that is not an id, its rows' id."""
        recorded_id = self.transcript.metadata.get("sessionId", "")
        is_named = paths.is_session_id(self.path.stem) or not paths.is_session_id(recorded_id)
        return self.path.stem if is_named else recorded_id

    @property
    def project(self) -> str | None:
        """The folder Claude Code was started in, even if the shell changed folders later.

        If possible, it is the folder that the transcript's own folder is named after. None if the
        rows record no folder.
        """
        folders = self.transcript.folders
        own = self.path.parent.name
        return next((one for one in folders if paths.project_slug(Path(one)) == own), None) or next(
            iter(folders), None
        )

    @property
    def git_branch(self) -> str | None:
        """The git branch that was checked out last; None if none is recorded."""
        return self.transcript.metadata.get("gitBranch")

    @property
    def client_version(self) -> str | None:
        """The version of Claude Code that wrote the last row; None if none is recorded."""
        return self.transcript.metadata.get("version")

    @property
    def is_newer_than_known(self) -> bool:
        """Whether a newer Claude Code wrote it than this reader was tested with."""
        return _parse_version(self.client_version or "") > _parse_version(NEWEST_KNOWN_VERSION)

    @property
    def skipped_lines(self) -> int:
        """The number of lines that could not be read in full: cut off, damaged or too long."""
        return self.transcript.skipped_lines

    @cached_property
    def damage(self) -> Damage:
        """The damage of the transcript, including that before its compactions."""
        return self.transcript.find_damage(bridged_lines(self.history, self.transcript.rows))

    @property
    def started_at(self) -> str | None:
        """The time of the first row, RFC 3339 in UTC; None if no row has one."""
        return next((row.timestamp for row in self.transcript.rows if row.timestamp), None)

    @property
    def last_at(self) -> str | None:
        """The latest time of any row, RFC 3339 in UTC; None if no row has one."""
        return max((row.timestamp for row in self.transcript.rows if row.timestamp), default=None)

    @property
    def changed_at(self) -> str:
        """The time of the file's last change, RFC 3339 in UTC."""
        changed = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        return changed.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @cached_property
    def branch(self) -> tuple[TranscriptRow, ...]:
        """The active branch since the last compaction, with rows of every kind."""
        return active_branch(self.transcript.rows, self._read_preserved())

    @cached_property
    def conversation(self) -> tuple[TranscriptRow, ...]:
        """The user and assistant rows of the active branch."""
        return conversation_rows(self.branch)

    @cached_property
    def history(self) -> tuple[TranscriptRow, ...]:
        """The active branch, including everything before its compactions."""
        rows = self.branch
        preserved = self._read_preserved()
        seen = {row.uuid for row in rows}
        # each compaction cuts the branch; join the earlier parts, newest first, until none is left
        while rows and rows[0].subtype == "compact_boundary" and rows[0].refers_to:
            earlier = active_branch(self.transcript.rows, preserved, before=rows[0])
            fresh = [row for row in earlier if row.uuid not in seen]
            # a boundary that refers to itself would never end
            if not fresh:
                break
            seen.update(row.uuid for row in fresh)
            rows = (*fresh, *rows)
        return rows

    @cached_property
    def title(self) -> str | None:
        """The name shown in `/resume`: set by the user or the model, or else the first prompt.

        Secrets are masked. None if there is no prompt either.
        """
        if (words := given_title(self.transcript, self.session_id)) is not None:
            return escape_invisible(mask(words))
        for row in self.history:
            if row.type == "user" and (text := human_text(row, self.transcript.load(row))):
                return escape_invisible(mask(text.split("\n")[0][:1_000])[:120])
        return None

    @cached_property
    def spend(self) -> Spend:
        """The spend that the session's transcripts record, with sub-agents and copied replies."""
        return fold_usage(self.iterate_rows())

    @cached_property
    def agents(self) -> tuple[Transcript, ...]:
        """The transcripts of its sub-agents that have their own files; read on first use."""
        return read_agents(self.path, self.session_id)

    def iterate_rows(self) -> Iterator[TranscriptRow]:
        """Yield all rows of the session, then those of its sub-agents, marked as sidechain."""
        yield from self.transcript.rows
        for agent in self.agents:
            yield from (row._replace(is_sidechain=True) for row in agent.rows)

    @property
    def turns(self) -> tuple[RecordedTurn, ...]:
        """Every call with its time, for repricing; each sub-agent is a separate thread."""
        found = list(read_turns(self.transcript.rows))
        for agent in self.agents:
            name = agent.path.stem
            found += [
                turn._replace(thread=f"{name} {turn.thread}") for turn in read_turns(agent.rows)
            ]
        return tuple(sorted(found, key=lambda turn: turn.started_at))

    @property
    def attribution(self) -> Attribution:
        """Labels for requests made with this session's context."""
        project = self.project
        return Attribution(
            session_id=self.session_id,
            project=project and project_label(Path(project)),
            branch=self.git_branch,
        )

    def context(self, budget_tokens: int | None = None) -> SessionContext:
        """Return what matters in the session, fitted to a token budget; cached until `refresh`.

        Args:
            budget_tokens: None is `context_budget_tokens`.

        Raises:
            SessionError: the session holds no conversation.
        """
        budget = self.context_budget_tokens if budget_tokens is None else budget_tokens
        context = self._contexts.get(budget)
        if context is None:
            context = build_context(
                self.transcript, self.history, self.session_id, budget, self.damage.notes()
            )
            self._contexts[budget] = context
        return context

    async def inject(self, request: ChatRequest, /) -> ChatRequest:
        """Return the request with this session's context added, and attributed to the session.

        Raises:
            SessionError: see `context`.
        """
        return inject_context(request, self.context(), self.attribution)

    def summary_json(self, price_of: PriceOf) -> dict[str, Any]:
        """Return the session as a JSON object for a list: where, when, how long, and its cost."""
        spend = self.spend.as_json(price_of)
        del spend["usage"]
        return {
            "session_id": self.session_id,
            "path": str(self.path),
            "project": self.project,
            "title": self.title,
            "client_version": self.client_version,
            "started_at": self.started_at,
            "last_at": self.last_at,
            "messages": len(self.conversation),
            **spend,
        }

    def detail_json(self, price_of: PriceOf) -> dict[str, Any]:
        """Return the session as a JSON object: also its branch, damage, sub-agents and usage."""
        return {
            "session_id": self.session_id,
            "path": str(self.path),
            "project": self.project,
            "git_branch": self.git_branch,
            "client_version": self.client_version,
            "is_newer_than_known": self.is_newer_than_known,
            "title": self.title,
            "started_at": self.started_at,
            "last_at": self.last_at,
            "branch": [row.uuid for row in self.conversation],
            "skipped_lines": self.skipped_lines,
            "damage": self.damage.as_json(),
            "agents": [agent_name(agent.path, self.path) for agent in self.agents],
            **self.spend.as_json(price_of),
        }

    def _read_preserved(self) -> dict[str, tuple[str, Sequence[str]]]:
        preserved: dict[str, tuple[str, Sequence[str]]] = {}
        for row in self.transcript.rows:
            if row.subtype == "compact_boundary" and row.uuid:
                body = self.transcript.load(row)
                kept_messages = get_object(get_object(body, "compactMetadata"), "preservedMessages")
                uuids = kept_messages.get("uuids")
                if isinstance(uuids, list):
                    names = [one for one in cast("list[object]", uuids) if isinstance(one, str)]
                    preserved[row.uuid] = (str(kept_messages.get("anchorUuid")), names)
        return preserved


def _parse_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("-")[0].split(".") if part.isdecimal())


def iterate_recent(
    project: str | Path | None = None, *, config_dir: Path | None = None
) -> Iterator[ClaudeCodeSession]:
    """Yield the sessions of one project or all, newest file first, each read when its turn comes.

    Files that are not transcripts, or hold no conversation, are skipped.
    """
    config_dir = config_dir or paths.configuration_dir()
    where = Path(project).expanduser() if project is not None else None
    files = [(path.stat().st_mtime, path) for path in paths.find_transcripts(config_dir, where)]
    for _, path in sorted(files, reverse=True):
        try:
            session = ClaudeCodeSession.open(path, config_dir=config_dir)
        except SessionError:
            continue
        if session.conversation:
            yield session


def _find_latest(project: Path, config_dir: Path) -> ClaudeCodeSession | None:
    """Return the session with the latest message; None if there is no readable one."""
    best: ClaudeCodeSession | None = None
    for session in iterate_recent(project, config_dir=config_dir):
        # files come in order of change, so no later one can hold a later message
        if best is not None and session.changed_at < (best.last_at or ""):
            break
        if best is None or (session.last_at or "") > (best.last_at or ""):
            best = session
    return best


def _describe_choices(folder: Path, config_dir: Path) -> str:
    """Describe that the project has no session, and name those that have one, latest first."""
    found: dict[str, str] = {}
    for session in iterate_recent(config_dir=config_dir):
        if session.project is not None:
            found.setdefault(session.project, session.session_id)
        if len(found) == _MAX_CHOICES:
            break
    none = f"There is no session of {folder} below {paths.projects_dir(config_dir)}."
    if not found:
        start = ("Start Claude Code there once, or give the path of a transcript.",)
        return f"{none} {' '.join(find_hints(config_dir) or start)}"
    choices = "; ".join(
        f"{escape_invisible(project)} ({session_id[:8]})" for project, session_id in found.items()
    )
    return f"{none} Name a session, or a project that has one: {choices}."


def list_sessions(
    project: str | Path | None = None, *, config_dir: Path | None = None
) -> list[ClaudeCodeSession]:
    """Return the sessions of one project or all, sorted by their last row, latest first."""
    found = iterate_recent(project, config_dir=config_dir)
    return sorted(found, key=lambda one: one.last_at or "", reverse=True)
