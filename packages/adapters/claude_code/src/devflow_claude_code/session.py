"""A session of Claude Code: its transcript, its active branch, and what can be asked of it."""

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
"""Of Claude Code; newer transcripts are read too, as far as they are understood."""
_MAX_CHOICES = 5
"""Projects that are named where a project has no session."""


class ClaudeCodeSession:
    """One session, read from its transcript. Implements the core's `ContextInjector`.

    Get one from `open`, `find` or `latest`. It is a snapshot; `refresh` reads what was appended
    since. Nothing here writes.
    """

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.context_budget_tokens = DEFAULT_BUDGET_TOKENS
        """How much `inject` may add."""
        self._contexts: dict[int, SessionContext] = {}

    @classmethod
    def open(cls, path: str | Path, *, config_dir: Path | None = None) -> Self:
        """Read a transcript from a path anywhere.

        Raises:
            SessionError: missing, empty, no transcript, or a link that leads out of the projects
                folder below `config_dir` (default: Claude Code's own).
        """
        path = Path(path).expanduser()
        paths.check_link(path, config_dir or paths.configuration_dir())
        transcript = Transcript(path)
        transcript.refresh()
        check_transcript(transcript)
        return cls(transcript)

    @classmethod
    def find(cls, id_or_path: str, *, config_dir: Path | None = None) -> Self:
        """Read a session by its id, the start of its id, or the path of its transcript.

        Raises:
            SessionError: as `open`; or no such id, or more than one begins like this.
        """
        config_dir = config_dir or paths.configuration_dir()
        if "/" in id_or_path or id_or_path.endswith(".jsonl"):
            return cls.open(id_or_path, config_dir=config_dir)
        return cls.open(paths.find_transcript(config_dir, id_or_path), config_dir=config_dir)

    @staticmethod
    def latest(
        project: str | Path | None = None, *, config_dir: Path | None = None
    ) -> ClaudeCodeSession:
        """The session of a project that has the latest message.

        Args:
            project: a folder; None is the working directory. Where Claude Code was never started
                in it, the folders above count, up to the root of its git repository.
            config_dir: Claude Code's own folder; None is the user's.

        Raises:
            SessionError: the project has none that can be read; names the projects that have.
        """
        config_dir = config_dir or paths.configuration_dir()
        folder = Path.cwd() if project is None else Path(project).expanduser()
        for one in paths.project_folders(folder):
            session = _find_latest(one, config_dir)
            if session is not None:
                return session
        raise SessionError(_describe_choices(folder, config_dir))

    def refresh(self) -> bool:
        """Read what was appended since; whether there was anything."""
        has_new = self.transcript.refresh()
        if has_new:
            for name in ("branch", "conversation", "history", "title", "spend", "agents", "damage"):
                self.__dict__.pop(name, None)
            self._contexts.clear()
        return has_new

    @property
    def path(self) -> Path:
        """The transcript."""
        return self.transcript.path

    @property
    def session_id(self) -> str:
        """The id `claude --resume` takes; of a file with another name the one in its rows."""
        recorded_id = self.transcript.metadata.get("sessionId", "")
        is_named = paths.is_session_id(self.path.stem) or not paths.is_session_id(recorded_id)
        return self.path.stem if is_named else recorded_id

    @property
    def project(self) -> str | None:
        """The folder that Claude Code was started in, whatever the shell went to from there.

        It is the one that the transcript's own folder is named after, where that can be told.
        """
        folders = self.transcript.folders
        own = self.path.parent.name
        return next((one for one in folders if paths.project_slug(Path(one)) == own), None) or next(
            iter(folders), None
        )

    @property
    def git_branch(self) -> str | None:
        """The git branch that was checked out last."""
        return self.transcript.metadata.get("gitBranch")

    @property
    def client_version(self) -> str | None:
        """The version of Claude Code that wrote the last row."""
        return self.transcript.metadata.get("version")

    @property
    def is_newer_than_known(self) -> bool:
        """Written by a Claude Code newer than those this reader was tested with."""
        return _parse_version(self.client_version or "") > _parse_version(NEWEST_KNOWN_VERSION)

    @property
    def skipped_lines(self) -> int:
        """Lines that are no JSON object, for example one cut in the middle."""
        return self.transcript.skipped_lines

    @cached_property
    def damage(self) -> Damage:
        """What is missing or mended of the transcript and of what was compacted away."""
        return self.transcript.find_damage(bridged_lines(self.history, self.transcript.rows))

    @property
    def started_at(self) -> str | None:
        """Time of the first row, RFC 3339 in UTC."""
        return next((row.timestamp for row in self.transcript.rows if row.timestamp), None)

    @property
    def last_at(self) -> str | None:
        """Time of the last row, RFC 3339 in UTC."""
        return max((row.timestamp for row in self.transcript.rows if row.timestamp), default=None)

    @property
    def changed_at(self) -> str:
        """When the file was written to last, RFC 3339 in UTC."""
        changed = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        return changed.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @cached_property
    def branch(self) -> tuple[TranscriptRow, ...]:
        """The active branch since the last compaction, rows of every kind."""
        return active_branch(self.transcript.rows, self._read_preserved())

    @cached_property
    def conversation(self) -> tuple[TranscriptRow, ...]:
        """The user and assistant rows of the active branch."""
        return conversation_rows(self.branch)

    @cached_property
    def history(self) -> tuple[TranscriptRow, ...]:
        """The active branch with everything before its compactions too."""
        rows = self.branch
        preserved = self._read_preserved()
        seen = {row.uuid for row in rows}
        while rows and rows[0].subtype == "compact_boundary" and rows[0].refers_to:
            earlier = active_branch(self.transcript.rows, preserved, before=rows[0])
            fresh = [row for row in earlier if row.uuid not in seen]
            if not fresh:
                break
            seen.update(row.uuid for row in fresh)
            rows = (*fresh, *rows)
        return rows

    @cached_property
    def title(self) -> str | None:
        """The name in `/resume`: given by the user, by the model, or the first prompt."""
        if (words := given_title(self.transcript, self.session_id)) is not None:
            return escape_invisible(mask(words))
        for row in self.history:
            if row.type == "user" and (text := human_text(row, self.transcript.load(row))):
                return escape_invisible(mask(text.split("\n")[0][:1_000])[:120])
        return None

    @cached_property
    def spend(self) -> Spend:
        """What the session's transcripts record, sub-agents and copied replies included."""
        return fold_usage(self.iterate_rows())

    @cached_property
    def agents(self) -> tuple[Transcript, ...]:
        """The transcripts of its sub-agents, where they have files of their own."""
        return read_agents(self.path, self.session_id)

    def iterate_rows(self) -> Iterator[TranscriptRow]:
        """All rows of the session, then those of its sub-agents, marked as theirs."""
        yield from self.transcript.rows
        for agent in self.agents:
            yield from (row._replace(is_sidechain=True) for row in agent.rows)

    @property
    def turns(self) -> tuple[RecordedTurn, ...]:
        """Every call with its time, for re-pricing; sub-agents are threads of their own."""
        found = list(read_turns(self.transcript.rows))
        for agent in self.agents:
            name = agent.path.stem
            found += [
                turn._replace(thread=f"{name} {turn.thread}") for turn in read_turns(agent.rows)
            ]
        return tuple(sorted(found, key=lambda turn: turn.started_at))

    @property
    def attribution(self) -> Attribution:
        """Whom requests with this session's context belong to."""
        project = self.project
        return Attribution(
            session_id=self.session_id,
            project=project and project_label(Path(project)),
            branch=self.git_branch,
        )

    def context(self, budget_tokens: int | None = None) -> SessionContext:
        """What matters of the session, fitted to so many tokens; kept until `refresh` finds more.

        Raises:
            SessionError: there is no conversation in it.
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
        """The request with this session's context in it, and attributed to the session."""
        return inject_context(request, self.context(), self.attribution)

    def summary_json(self, price_of: PriceOf) -> dict[str, Any]:
        """The session as a line of `devflow sessions list --json`."""
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
        """The session as `devflow sessions show --json` prints it."""
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
    """Sessions of a project or of all projects, each read when its turn comes, newest file first.

    Files that are no transcripts, or hold no conversation, are left out.
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
    """The one with the latest message; only files changed since can hold a later one."""
    best: ClaudeCodeSession | None = None
    for session in iterate_recent(project, config_dir=config_dir):
        if best is not None and session.changed_at < (best.last_at or ""):
            break
        if best is None or (session.last_at or "") > (best.last_at or ""):
            best = session
    return best


def _describe_choices(folder: Path, config_dir: Path) -> str:
    """That a project has no session, and the projects that have some, latest first."""
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
    """All sessions of a project or of all projects, the one with the latest row first."""
    found = iterate_recent(project, config_dir=config_dir)
    return sorted(found, key=lambda one: one.last_at or "", reverse=True)
