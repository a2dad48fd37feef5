"""Reads and writes files that only the user may access: links are refused, folders checked.

Anyone who can put a link where DevFlow writes would choose the file that is written. A cloned
repository may bring links along, and so may a data folder that others can write to.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from devflow_core.errors import ConfigurationError

MAX_FILE_BYTES = 256 * 1024 * 1024
"""The default size limit of `read_private_file`, in bytes."""
_WRITABLE_BY_OTHERS = 0o022
_ROOT = 0


def ensure_private_folder(path: Path) -> None:
    """Create a folder that only the owner may access, or check the existing one.

    Missing folders above it are created with the user's usual permissions.

    Raises:
        ConfigurationError: it belongs neither to this user nor to root, or others may write to it.
        OSError: it cannot be created.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise ConfigurationError(
            f"{path} belongs to another user, who could exchange what is in it. Name a folder of"
            " your own: --data-dir or DEVFLOW_DATA_DIR."
        )
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise ConfigurationError(
            f"{path} can be written by others. Look through it, then run `chmod 700 {path}`."
        )


def refuse_link(path: Path) -> None:
    """Check that a path is not a link.

    Raises:
        ConfigurationError: it is one; the message says where it leads.
    """
    if path.is_symlink():
        raise ConfigurationError(
            f"{path} is a link to {path.readlink()}, which DevFlow does not follow here. Remove it,"
            " or put the file itself in its place."
        )


def refuse_links_below(path: Path, folder: Path) -> Path:
    """Check that no part of a path below `folder` is a link.

    Anything below a working directory may have come with a repository. A path that leads out of
    `folder` is not checked.

    Returns:
        The path, joined to `folder` and without `..`; use it, since only it has been checked.

    Raises:
        ConfigurationError: a part of the path is a link.
    """
    whole = Path(os.path.normpath(folder / path))
    for one in (whole, *whole.parents):
        if one != folder and one.is_relative_to(folder):
            refuse_link(one)
    return whole


def open_private_file(path: Path, flags: int) -> int:
    """Open a regular file that is not a link, and return its descriptor; a new file gets mode 0600.

    The caller closes the descriptor.

    Args:
        path: the file.
        flags: as `os.open` takes them.

    Raises:
        ConfigurationError: it is a link, or not a regular file.
        OSError: it cannot be opened.
    """
    refuse_link(path)
    # opening a pipe must not block until another process writes to it
    always = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags | always, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigurationError(f"{path} is not a regular file; put one in its place.")
    return descriptor


def read_private_file(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file that is not a link.

    Raises:
        ConfigurationError: it is a link, not a regular file, or larger than `max_bytes`.
        OSError: it cannot be read.
    """
    with os.fdopen(open_private_file(path, os.O_RDONLY), "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ConfigurationError(f"{path} is larger than {max_bytes} bytes.")
    return content


def replace_file(path: Path, content: bytes | None) -> None:
    """Replace a file completely or not at all; None removes it.

    An existing file keeps its mode; a new one gets 0600, and its folder, if it is missing, 0700.

    Raises:
        ConfigurationError: there is a link of this name.
        OSError: it could not be written; the old content is unchanged.
    """
    refuse_link(path)
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    with _written_draft(path, content, mode) as draft:
        draft.rename(path)


def create_file(path: Path, content: bytes) -> bool:
    """Create a file of mode 0600 completely or not at all, in a folder that exists.

    Returns:
        True if it was created; False if the path exists already, as when another process was
        faster. The existing file is not changed.

    Raises:
        OSError: it could not be written.
    """
    if path.exists() or path.is_symlink():
        return False
    with _written_draft(path, content, 0o600) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    return True


@contextmanager
def _written_draft(path: Path, content: bytes, mode: int) -> Generator[Path]:
    """Write the content to a synced file in the same folder, which is removed unless renamed."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
