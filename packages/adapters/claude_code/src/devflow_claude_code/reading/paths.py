"""Where Claude Code keeps its transcripts, and which of those files may be opened by a search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from devflow_core.errors import SessionError
from devflow_core.repository import find_root
from devflow_core.settings import Settings

_MAX_SLUG_CHARS = 200
"""A longer name is cut and a hash put after it, which the CLI and the SDK compute differently."""
_SESSION_ID = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
)
_SESSION_ID_PREFIX = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]{3,35}")


def configuration_dir() -> Path:
    """The folder of Claude Code's own files (`CLAUDE_CONFIG_DIR`, else `~/.claude`)."""
    return Settings.load().claude_dir


def projects_dir(config_dir: Path) -> Path:
    """The folder with one folder of transcripts per project."""
    return config_dir / "projects"


def project_slug(project: Path) -> str:
    """The name of a project's folder: the real path, everything but letters and digits a dash."""
    return re.sub(r"[^a-zA-Z0-9]", "-", str(project.expanduser().resolve()))


def project_folders(folder: Path) -> Iterator[Path]:
    """Where Claude Code may have been started for the work in a folder, nearest first.

    The folder, then those above it, up to the root of its git repository.
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
    """Whether a transcript lies where the sessions of the project in a folder lie."""
    root = projects_dir(config_dir)
    places = (place for one in project_folders(folder) for place in _folders_of(root, one))
    return any(transcript.parent.resolve() == place.resolve() for place in places)


def is_session_id(text: str) -> bool:
    """Whether a name is one that Claude Code gives to a session."""
    return _SESSION_ID.fullmatch(text) is not None


def find_transcripts(config_dir: Path, project: Path | None = None) -> Iterator[Path]:
    """Session files below the configuration folder, of one project or of all, unordered.

    Links that lead out of the projects folder are left out.
    """
    root = projects_dir(config_dir)
    for folder in _folders_of(root, project):
        for path in folder.glob("*.jsonl"):
            if is_session_id(path.stem) and _is_below(path, root):
                yield path


def find_transcript(config_dir: Path, session_id: str) -> Path:
    """The transcript of a session by its id, or by the start of it if that is unique.

    Raises:
        SessionError: no id, not found, or several begin like this.
    """
    root = projects_dir(config_dir)
    if not _SESSION_ID_PREFIX.fullmatch(session_id):
        raise SessionError(
            f"{session_id!r} is neither the id of a session nor the path of a transcript."
            " `devflow sessions list` shows the ids."
        )
    found = [path for path in root.glob(f"*/{session_id.lower()}*.jsonl") if _is_session_file(path)]
    inside = [path for path in found if _is_below(path, root)]
    if len({path.stem for path in inside}) > 1:
        raise SessionError(f"{len(inside)} sessions begin with {session_id}; give more of the id.")
    if inside:
        return max(inside, key=lambda path: path.stat().st_mtime)
    if found:
        raise _outside_link_error(found[0], root)
    raise SessionError(
        f"There is no session {session_id} below {root}. `devflow sessions list` shows what is."
    )


def check_link(path: Path, config_dir: Path) -> None:
    """Refuse a path below the projects folder that is or passes a link leading out of it.

    Raises:
        SessionError: it leads out.
    """
    root = projects_dir(config_dir)
    if path.absolute().is_relative_to(root.absolute()) and not _is_below(path, root):
        raise _outside_link_error(path, root)


def find_agent_transcripts(transcript: Path, session_id: str) -> Iterator[Path]:
    """Transcripts of the sub-agents of a session, where they have files of their own.

    2.1: `<session>/subagents/agent-*.jsonl`. 2.0: `agent-*.jsonl` beside the session, whose rows
    name it.
    """
    for path in sorted(transcript.with_suffix("").glob("subagents/agent-*.jsonl")):
        if _is_below(path, transcript.parent):
            yield path
    needle = session_id.encode()
    for path in sorted(transcript.parent.glob("agent-*.jsonl")):
        if _is_below(path, transcript.parent) and path.is_file():
            with path.open("rb") as file:
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


def _is_below(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _outside_link_error(path: Path, root: Path) -> SessionError:
    return SessionError(
        f"{path} is a link that leads out of {root}; it is not followed."
        " Give the path of the file itself if it is the one you want."
    )
