"""Finds the git repository that a folder belongs to, by reading its files.

git itself is not run, since the configuration of a cloned repository can make it run programs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from devflow_core.attribution import Attribution

_BRANCH = re.compile(r"ref: refs/heads/((?!.*\.\.)[^\s\x00-\x1f\x7f~^:?*\[\\]{1,200})")
"""The text of `HEAD` on a branch; a name with two dots could lead out of the folder."""
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_FILE_BYTES = 4096
_MAX_PACKED_REFS_BYTES = 8 * 1024 * 1024
_FRESH_S = 5.0
"""Maximum age in seconds of the branch and commit of a folder; refreshing reads two small files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A git repository in the state that a folder shows."""

    folder: Path
    """The folder of the main working tree, which linked worktrees share."""
    branch: str | None = None
    """The branch that is checked out; None if there is none."""
    commit: str | None = None
    """The hash of the commit, 40 or 64 hex digits; None if there is none, or it is not found."""


def find_repository(folder: Path) -> Repository | None:
    """Return the repository that a folder is in; None if there is none or it cannot be read."""
    with suppress(OSError, ValueError):
        root = find_root(folder)
        if root is not None:
            return _read_repository(root)
    return None


def find_root(folder: Path) -> Path | None:
    """Return the nearest folder, this one or above, that holds `.git`; None if there is none."""
    folder = folder.resolve()
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)


def project_label(folder: Path) -> str:
    """Return the label of a folder's project: the folder of its repository, otherwise its own."""
    repository = find_repository(folder)
    return str(folder if repository is None else repository.folder)


def describe_folder(folder: Path) -> Attribution:
    """Return project, branch and commit of a folder's repository; without one, only its path."""
    repository = find_repository(folder)
    if repository is None:
        return Attribution(project=str(folder.resolve()))
    return Attribution(
        project=str(repository.folder), branch=repository.branch, commit=repository.commit
    )


class FolderLabels:
    """Adds the labels of a folder to requests that do not name another project.

    Args:
        folder: where the program works.
        monotonic: the clock that decides when to read the repository again.
    """

    def __init__(self, folder: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._labels = Attribution()
        self._read_at_s: float | None = None

    def apply(self, given: Attribution) -> Attribution:
        """Return the labels completed by the folder's; unchanged if they name another project."""
        labels = self._current()
        if given.project not in (None, labels.project):
            return given
        return replace(
            given,
            project=labels.project,
            branch=given.branch or labels.branch,
            commit=given.commit or labels.commit,
        )

    def _current(self) -> Attribution:
        now_s = self._monotonic()
        if self._read_at_s is None or now_s - self._read_at_s > _FRESH_S:
            self._labels = describe_folder(self._folder)
            self._read_at_s = now_s
        return self._labels


def _read_repository(root: Path) -> Repository:
    git_dir = root / ".git"
    folder = root
    if not git_dir.is_dir():
        git_dir = root / _read_text(git_dir).removeprefix("gitdir:").strip()
    common_dir = _common_dir(git_dir)
    if common_dir != git_dir and _is_worktree(git_dir, common_dir, root):
        folder = common_dir.parent
    head = _read_text(git_dir / "HEAD").strip()
    found = _BRANCH.fullmatch(head)
    branch = found[1] if found else None
    commit = _commit_of(branch, common_dir) if branch else head
    return Repository(
        folder=folder,
        branch=branch,
        commit=commit if commit and _COMMIT.fullmatch(commit) else None,
    )


def _common_dir(git_dir: Path) -> Path:
    """Return the folder that holds the branches; a linked worktree names it in `commondir`."""
    with suppress(OSError):
        return (git_dir / _read_text(git_dir / "commondir").strip()).resolve()
    return git_dir


def _is_worktree(git_dir: Path, common_dir: Path, root: Path) -> bool:
    """Return whether the repository lists this worktree; a folder could claim any repository."""
    if common_dir.name != ".git" or git_dir.resolve().parent != common_dir / "worktrees":
        return False
    with suppress(OSError):
        return Path(_read_text(git_dir / "gitdir").strip()).parent.resolve() == root
    return False


def _commit_of(branch: str, common_dir: Path) -> str | None:
    name = f"refs/heads/{branch}"
    with suppress(OSError):
        return _read_text(common_dir / name).strip()
    with suppress(OSError):
        for line in _read_text(common_dir / "packed-refs", _MAX_PACKED_REFS_BYTES).splitlines():
            commit, _, packed = line.partition(" ")
            if packed == name:
                return commit
    return None


def _read_text(path: Path, limit: int = _MAX_FILE_BYTES) -> str:
    with path.open("rb") as file:
        return file.read(limit).decode("utf-8", "replace")
