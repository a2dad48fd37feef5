"""Checks SQLite files before they are used, and handles files for backups and restoring."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from devflow_core.errors import ConfigurationError, InvalidRequest, LedgerCorrupt, StoreError
from devflow_core.private_files import open_private_file, read_private_file, refuse_link

from devflow_store.database.engine import Session
from devflow_store.health import LedgerState
from devflow_store.integrity.verify import ChainVerification, verify, verify_tail

CHECK_TIMEOUT_S = 4.0
"""Seconds that a check may take; a larger file is checked only in part."""
START_CHECK_S = 0.1
"""Seconds of the check that a start waits for; the rest is done beside the first requests."""
_SIDECAR_SUFFIXES = ("-wal", "-shm", ".head")
"""The suffixes of the files that belong to a database file: its log, index and noted head."""


class HeadFile:
    """The number and hash of the last row, noted in a file after every durable commit.

    The file is not synced, so it may lag behind the ledger but is never ahead of it; a ledger that
    is behind it has lost acknowledged rows, which SQLite cannot notice if its log was removed.

    Args:
        ledger: the path to which `.head` is appended.
    """

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name(f"{ledger.name}.head")
        self._handle: int | None = None

    def refuse_link(self) -> None:
        """Check, before anything is written, that the file is not a link.

        Raises:
            ConfigurationError: the file is a link.
        """
        refuse_link(self.path)

    def write(self, head: str) -> None:
        """Overwrite the noted head; the file stays open until `close`. Failures are ignored."""
        try:
            if self._handle is not None and not os.fstat(self._handle).st_nlink:
                self.close()  # the file was deleted: writing to it would be lost
            if self._handle is None:
                self._handle = open_private_file(self.path, os.O_CREAT | os.O_WRONLY)
            # padded, so that a longer head noted before is covered whole
            os.pwrite(self._handle, f"{head:<100}\n".encode(), 0)
        except (OSError, ConfigurationError):
            return  # a full disk, a link made since: what was committed stays so without a head

    def read(self) -> str | None:
        """Return the head noted last as `number:hash`; None if there is none, or it was cut.

        Raises:
            ConfigurationError: the file is a link, or not a regular file.
        """
        try:
            text = read_private_file(self.path).decode().strip()
        except (OSError, UnicodeDecodeError):
            return None
        number, _, digest = text.partition(":")
        return text if number.isdigit() and len(digest) == 64 else None

    def close(self) -> None:
        """Close the file, if `write` has opened it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def check_integrity(
    session: Session,
    path: Path,
    quick_check: Callable[[Callable[[], bool]], str | None],
    timeout_s: float = CHECK_TIMEOUT_S,
) -> bool:
    """Check for damage: the database's own check, the end of the chain, and missing rows.

    Args:
        session: a session on the file.
        path: the database file, for messages and the noted head.
        quick_check: checks until its argument returns True, and then returns None; otherwise it
            returns `ok`, or what is wrong.
        timeout_s: the seconds after which the database's own check ends, however far it has come.

    Returns:
        Whether the database's own check has come to its end.

    Raises:
        LedgerCorrupt: the file is damaged; it is left unchanged.
    """
    end_s = time.monotonic() + timeout_s
    reason = quick_check(lambda: time.monotonic() > end_s)
    is_complete = reason is not None
    if reason in (None, "ok"):
        reason = verify_tail(session, HeadFile(path).read())
    if reason is not None:
        raise corruption_error(path, reason)
    return is_complete


def corruption_error(path: Path, reason: str) -> LedgerCorrupt:
    """Return the error for a damaged ledger, which says how to restore it."""
    error = LedgerCorrupt(
        f"{path} is damaged ({reason}). It is kept as it is; put the last good backup in its "
        "place with `devflow ledger restore BACKUP`."
    )
    error.state = LedgerState.DAMAGED
    return error


def verify_copy(session: Session, path: Path) -> ChainVerification:
    """Verify a copy of the ledger, and return the result.

    Raises:
        LedgerCorrupt: the copy does not verify.
    """
    found = verify(session)
    if not found.ok:
        raise corruption_error(path, found.reason or "not whole")
    return found


def move_into_place(draft: Path, target: Path) -> None:
    """Rename a finished file after syncing it, replacing the target; sync the folder as well.

    Raises:
        OSError: it cannot be synced or renamed.
    """
    for path in (draft, target.parent):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if path == draft:
            draft.replace(target)


def set_aside(path: Path) -> Path | None:
    """Rename a database file and its sidecars; return the new path, or None if there was no file.

    The log and the noted head are moved even without the file: SQLite would apply the log to any
    new file of this name, and the head belongs to a chain that is gone.

    Raises:
        StoreError: a file cannot be renamed.
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
    """Check that no file exists under this name: a backup never overwrites anything.

    Raises:
        InvalidRequest: a file of this name exists.
    """
    if target.exists():
        raise InvalidRequest(f"{target} is there already; name a new file for the backup.")
