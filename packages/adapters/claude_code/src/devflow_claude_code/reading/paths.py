"""Locates Claude Code's transcripts, and decides which of those files a search may open."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from devflow_core.errors import SessionError
from devflow_core.repository import find_root
from devflow_core.settings import Settings

_MAX_SLUG_CHARS = 200
"""The length to which names are cut; the CLI and the SDK hash longer ones differently."""
_SESSION_ID = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
)
_AGENT_FILE = re.compile(r"agent-.*\.jsonl")
_SESSION_ID_PREFIX = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]{3,35}")


def configuration_dir() -> Path:
    """Return the folder of Claude Code's own files (`CLAUDE_CONFIG_DIR`, else `~/.claude`).

    The settings are loaded at each call; the folder need not exist.

    Raises:
        ConfigurationError: the user's settings are invalid.
    """
    return Settings.load(judge_folder=None).claude_dir


def projects_dir(config_dir: Path) -> Path:
    """Return the folder that holds one folder of transcripts per project; it need not exist."""
    return config_dir / "projects"


def project_slug(project: Path) -> str:
    """Return the name of a project's folder of transcripts, which need not exist.

    It is the project's real path, with a dash for every character but ASCII letters and digits.
    """
    # the client's own rule; it is not reversible, so the real folder is taken from the rows
    return re.sub(r"[^a-zA-Z0-9]", "-", str(project.expanduser().resolve()))


def project_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders where Claude Code may have been started for work in a folder.

    These are the folder itself and those above it, up to the root of its git repository.
    """
    folder = folder.resolve()
    yield folder
    root = find_root(folder)
    if root is not None and root != folder:
        for one in folder.parents:
            yield one
            if one == root:
                return


def belongs_to(transcript: Path, folder: Path, *, config_dir: Path) -> bool:
    """Return whether a transcript is stored with the sessions of a folder's project."""
    root = projects_dir(config_dir)
    places = (place for one in project_folders(folder) for place in _folders_of(root, one))
    return any(transcript.parent.resolve() == place.resolve() for place in places)


def is_session_id(text: str) -> bool:
    """Return whether a text has the form of Claude Code's session ids."""
    return _SESSION_ID.fullmatch(text) is not None


def find_transcripts(config_dir: Path, project: Path | None = None) -> Iterator[Path]:
    """Yield the session files below the configuration folder, of one project or all, unordered.

    Links that lead out of the projects folder are skipped.
    """
    root = projects_dir(config_dir)
    for folder in project_places(config_dir, project):
        for path in folder.glob("*.jsonl"):
            if is_session_id(path.stem) and is_below(path, root):
                yield path


def project_places(config_dir: Path, project: Path | None = None) -> Iterator[Path]:
    """Yield the folders of transcripts, of one project or all; they need not exist."""
    yield from _folders_of(projects_dir(config_dir), project)


def is_agent_file(name: str) -> bool:
    """Return whether a file has the form of Claude Code's transcripts of sub-agents."""
    return _AGENT_FILE.fullmatch(name) is not None


def find_transcript(config_dir: Path, session_id: str) -> Path:
    """Return the transcript of a session, given its id or a unique beginning of it.

    Raises:
        SessionError: the text is not an id, or matches no session, several, or only a link that
            leads out of the projects folder.
    """
    root = projects_dir(config_dir)
    if not _SESSION_ID_PREFIX.fullmatch(session_id):
        raise SessionError(
            f"{session_id!r} is neither the id of a session nor the path of a transcript."
            " `devflow sessions list` shows the ids."
        )
    found = [path for path in root.glob(f"*/{session_id.lower()}*.jsonl") if _is_session_file(path)]
    inside = [path for path in found if is_below(path, root)]
    if len({path.stem for path in inside}) > 1:
        raise SessionError(f"{len(inside)} sessions begin with {session_id}; give more of the id.")
    # the same session may lie in several folders: the file written last counts
    if inside:
        return max(inside, key=lambda path: path.stat().st_mtime)
    if found:
        raise _outside_link_error(found[0], root)
    raise SessionError(
        f"There is no session {session_id} below {root}. `devflow sessions list` shows the ids."
    )


def check_link(path: Path, config_dir: Path) -> None:
    """Refuse a path below the projects folder that leads out of it through a link.

    A path outside the projects folder is accepted.

    Raises:
        SessionError: the path leads out.
    """
    root = projects_dir(config_dir)
    if path.absolute().is_relative_to(root.absolute()) and not is_below(path, root):
        raise _outside_link_error(path, root)


def agents_dir(transcript: Path) -> Path:
    """Return the folder of a session's sub-agents, as 2.1 names it; it need not exist."""
    return transcript.with_suffix("") / "subagents"


def find_siblings(transcript: Path) -> Iterator[Path]:
    """Yield the other sessions in a session's folder, unordered, without links that lead out."""
    for path in transcript.parent.glob("*.jsonl"):
        if path != transcript and _is_session_file(path) and is_below(path, transcript.parent):
            yield path


def find_agent_transcripts(transcript: Path, session_id: str | None) -> Iterator[Path]:
    """Yield the transcripts of a session's sub-agents that have their own files.

    2.1 writes `<session>/subagents/agent-*.jsonl`, those of a workflow in folders below. 2.0
    writes `agent-*.jsonl` beside the session, with the session's id in their rows; without an id
    given, these are left out. Links that lead out are not followed.
    """
    for folder, folders, names in os.walk(agents_dir(transcript)):
        folders.sort()
        paths = (Path(folder, name) for name in sorted(names) if _AGENT_FILE.fullmatch(name))
        yield from (path for path in paths if is_below(path, transcript.parent))
    if session_id is None:
        return
    needle = session_id.encode()
    for path in sorted(transcript.parent.glob("agent-*.jsonl")):
        if is_below(path, transcript.parent) and path.is_file():
            with path.open("rb") as file:
                # all rows name the session, so the first one decides
                if needle in file.readline(65536):
                    yield path


def _folders_of(root: Path, project: Path | None) -> Iterator[Path]:
    if project is None:
        yield from (one for one in root.glob("*") if one.is_dir())
        return
    name = project_slug(project)
    if len(name) > _MAX_SLUG_CHARS:
        yield from root.glob(f"{name[:_MAX_SLUG_CHARS]}*")
    else:
        yield root / name


def _is_session_file(path: Path) -> bool:
    return is_session_id(path.stem)


def is_below(path: Path, root: Path) -> bool:
    """Return whether a path, with all links followed, lies below a folder."""
    return path.resolve().is_relative_to(root.resolve())


def _outside_link_error(path: Path, root: Path) -> SessionError:
    return SessionError(
        f"{path} is a link that leads out of {root}; it is not followed."
        " Give the path of the file itself if it is the one you want."
    )


def resume_command(session_id: str, folder: str) -> str:
    """Return the shell command that resumes a session from its folder, as older clients need."""
    return f"cd {shlex.quote(folder)} && claude --resume {session_id}"
