"""Lists the files of every session with their states, without opening any that is known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from devflow_claude_code.reading.paths import (
    find_agent_transcripts,
    is_agent_file,
    is_below,
    is_session_id,
    project_places,
    projects_dir,
)
from devflow_claude_code.reading.rows import decode_line
from devflow_claude_code.reading.transcript import open_regular_file

MAX_FIRST_ROW_BYTES = 65_536
"""The most bytes that are read of a first row: the session's id is among its first fields."""

OwnerOf = Callable[[Path, str], str | None]
"""Returns the id of the session that a sub-agent's file of Claude Code 2.0 belongs to, given the
file and its state; None if it names none.
"""


@dataclass(slots=True)
class SessionFiles:
    """The files of one session, and their state."""

    path: Path
    """The transcript; it need not exist, if only files of sub-agents are left."""
    has_transcript: bool = False
    agents: list[Path] = field(default_factory=list[Path])
    """The files of its sub-agents."""
    states: list[str] = field(default_factory=list[str])
    """Path, size, time of change and inode of each file."""

    @property
    def session_id(self) -> str:
        """The id that the files are named after."""
        return self.path.stem

    @property
    def stamp(self) -> str:
        """A digest of the state of all files: if it is the same, no file has changed."""
        joined = "\n".join(sorted(self.states))
        return hashlib.blake2b(joined.encode("utf-8", "replace"), digest_size=16).hexdigest()


def find_session_files(
    config_dir: Path, project: Path | None, owner_of: OwnerOf
) -> Iterator[SessionFiles]:
    """Yield the files of every session below the configuration folder, of one project or all.

    Links that lead out of the projects folder are skipped. Only `owner_of` may open a file.
    """
    root = projects_dir(config_dir)
    for folder in project_places(config_dir, project):
        yield from _find_in_folder(folder, root, owner_of)


def read_owner(path: Path) -> str | None:
    """Return the id of the session that a sub-agent's file names in its first row; else None.

    Raises:
        SessionError: the file cannot be read.
    """
    with open_regular_file(path) as file:
        first = decode_line(file.readline(MAX_FIRST_ROW_BYTES)) or {}
    owner = first.get("sessionId")
    return owner if isinstance(owner, str) and is_session_id(owner) else None


def describe_state(path: Path, status: os.stat_result) -> str:
    """Return a text that changes whenever a file is written or replaced."""
    return f"{path}\t{status.st_size}\t{status.st_mtime_ns}\t{status.st_ino}"


def _find_in_folder(folder: Path, root: Path, owner_of: OwnerOf) -> Iterator[SessionFiles]:
    found: dict[str, SessionFiles] = {}
    is_linked = folder.is_symlink()
    for entry in _list_folder(folder):
        # resolving every path would take most of the time
        if (is_linked or entry.is_symlink()) and not is_below(Path(entry.path), root):
            continue
        # a file that goes away meanwhile is no longer part of its session
        with suppress(OSError):
            _add_entry(found, entry, owner_of)
    yield from found.values()


def _add_entry(found: dict[str, SessionFiles], entry: os.DirEntry[str], owner_of: OwnerOf) -> None:
    path = Path(entry.path)

    def of_session(session_id: str) -> SessionFiles:
        file = path.with_name(f"{session_id}.jsonl")
        return found.setdefault(session_id, SessionFiles(file))

    if path.suffix == ".jsonl" and is_session_id(path.stem) and entry.is_file():
        one = of_session(path.stem)
        one.has_transcript = True
        one.states.append(describe_state(path, entry.stat()))
    elif is_session_id(entry.name) and entry.is_dir():
        for agent in find_agent_transcripts(path.with_name(f"{entry.name}.jsonl"), None):
            state = describe_state(agent, agent.stat())
            _add_agent(of_session(entry.name), agent, state)
    elif is_agent_file(entry.name) and entry.is_file():
        state = describe_state(path, entry.stat())
        if (owner := owner_of(path, state)) is not None:
            _add_agent(of_session(owner), path, state)


def _add_agent(files: SessionFiles, path: Path, state: str) -> None:
    files.agents.append(path)
    files.states.append(state)


def _list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted by name; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []
