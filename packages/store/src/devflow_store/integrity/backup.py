"""Checks of an SQLite file before it is used, backups of it, and the way back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from devflow_core.errors import ConfigurationError, InvalidRequest, LedgerCorrupt, StoreError
from devflow_core.private_files import open_private_file, read_private_file, refuse_link

from devflow_store.database.engine import Session
from devflow_store.health import LedgerState
from devflow_store.integrity.verify import Verification, verify, verify_tail

CHECK_TIMEOUT_S = 4.0
"""How long a start may look for damage; a larger file is checked as far as that goes."""
_SIDECAR_SUFFIXES = ("-wal", "-shm", ".head")
"""Files that belong to a database file: its log, its index, the head that was noted last."""


class HeadFile:
    """The number and hash of the last row, noted beside the file after every commit.

    It is not synced, so it is never ahead of the file; a file that is behind it has lost rows
    that were acknowledged, which SQLite cannot know when its log was taken away.

    Args:
        ledger: path of the database file.
    """

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name(f"{ledger.name}.head")
        self._handle: int | None = None

    def refuse_link(self) -> None:
        """Check, before anything is written, that the file is no link.

        Raises:
            ConfigurationError: it is one.
        """
        refuse_link(self.path)

    def write(self, head: str) -> None:
        """Write the head over the one before."""
        try:
            if self._handle is not None and not os.fstat(self._handle).st_nlink:
                self.close()  # somebody has deleted it: what is written there nobody finds
            if self._handle is None:
                self._handle = open_private_file(self.path, os.O_CREAT | os.O_WRONLY)
            os.pwrite(self._handle, f"{head:<100}\n".encode(), 0)
        except (OSError, ConfigurationError):
            return  # a full disk, a link made since: what was committed stays so without a head

    def read(self) -> str | None:
        """The head that was noted last; None when none was, or when it was cut."""
        try:
            text = read_private_file(self.path).decode().strip()
        except (OSError, UnicodeDecodeError):
            return None
        number, _, digest = text.partition(":")
        return text if number.isdigit() and len(digest) == 64 else None

    def close(self) -> None:
        """Release the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def check_integrity(session: Session, path: Path, quick_check: Callable[[float], str]) -> None:
    """Look for damage: the database's own check, the end of the chain, rows that have gone.

    Raises:
        LedgerCorrupt: the file is damaged; it is left as it is.
    """
    reason = quick_check(time.monotonic() + CHECK_TIMEOUT_S)
    if reason == "ok":
        reason = verify_tail(session, HeadFile(path).read()) or "ok"
    if reason != "ok":
        raise corruption_error(path, reason)


def corruption_error(path: Path, reason: str) -> LedgerCorrupt:
    """The error that names the way back."""
    error = LedgerCorrupt(
        f"{path} is damaged ({reason}). It is kept as it is; put the last good backup in its "
        "place with `devflow ledger restore BACKUP`."
    )
    error.state = LedgerState.DAMAGED
    return error


def verify_copy(session: Session, path: Path) -> Verification:
    """The verification of a copy.

    Raises:
        LedgerCorrupt: the copy is not whole.
    """
    found = verify(session)
    if not found.ok:
        raise corruption_error(path, found.reason or "not whole")
    return found


def move_into_place(draft: Path, target: Path) -> None:
    """Rename a finished, synced file; the folder is synced as well."""
    for path in (draft, target.parent):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if path == draft:
            draft.replace(target)


def set_aside(path: Path) -> Path | None:
    """Move a database file and what belongs to it out of the way; None when there is none.

    Its log and its noted head go along also where the file itself is gone: SQLite would put the
    one into any file of this name, and the other is of a chain that is not coming back.

    Raises:
        StoreError: it cannot be moved.
    """
    is_there = path.exists()
    aside = path.with_name(f"{path.name}.set-aside-{time.time_ns() // 1_000_000}")
    try:
        for ending in ("", *_SIDECAR_SUFFIXES):
            one = path.with_name(path.name + ending)
            if one.exists():
                one.rename(aside.with_name(aside.name + ending))
    except OSError as error:
        raise StoreError(f"{path} cannot be moved: {error.strerror}.") from error
    return aside if is_there else None


def require_absent(target: Path) -> None:
    """A backup never overwrites anything.

    Raises:
        InvalidRequest: there is a file of this name.
    """
    if target.exists():
        raise InvalidRequest(f"{target} is there already; name a new file for the backup.")
