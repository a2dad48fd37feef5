"""Checks that the files a connection has open are still those under the ledger's name.

SQLite continues to write to files that were deleted, moved or cut while open, and reports success.
A check takes microseconds, so one follows every commit before it is acknowledged.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import apsw

from devflow_store.health import LedgerState, LedgerUnavailable
from devflow_store.integrity.backup import corruption_error

_MAGIC = b"SQLite format 3\0"
_LOG_MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_OWNER_MAY_WRITE = 0o200
_PIECE = 1024 * 1024
"""The bytes of a deleted log that are copied at a time."""
_SALT = slice(16, 24)
"""The log header's salt, which changes each time the log restarts."""
_LOG_HEAD_BYTES, _FRAME_HEAD_BYTES = 32, 24
_INDEX_HEAD = struct.Struct("=12xBxHI4xII8s")
"""The index's header: whether it is valid, page size, last frame, that frame's checksum, salt.

From https://www.sqlite.org/walformat.html, in the byte order of the machine.
"""
_FRAME_HEAD = struct.Struct(">8x8sII")
"""A frame's header in the log: salt, and the checksum of everything up to this frame."""
_BACK = (
    "Put it back, or stop every DevFlow process and restore a backup with `devflow ledger restore"
    " BACKUP`."
)


class OpenFiles:
    """The database file, its log and its index, as one connection has them open.

    Args:
        path: the database file.
        has_moved: whether the file that the connection has open is no longer under this name.

    Raises:
        LedgerUnavailable: a file is missing, was replaced, or cannot be opened.
    """

    def __init__(self, path: Path, *, has_moved: bool) -> None:
        self._path = path
        self._names = (str(path), f"{path}-wal", f"{path}-shm")
        self.is_log_lost = False
        """Whether only the log is missing, so that its content can still be folded back."""
        if has_moved:
            raise self._explain_absence(0)
        self._known = [(found.st_dev, found.st_ino) for found in self._stat()]
        self._size = self._log_size = 0
        self._salt = b""
        # through SQLite's own layer: closing a descriptor of ours would drop all locks on the file
        flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY
        try:
            self._header = apsw.VFSFile("", str(path), [flags, 0])
            self._log = os.open(self._names[1], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (OSError, apsw.Error) as error:
            raise self._explain_absence(1) from error

    def look(self) -> None:
        """Compare the open files with those under their names.

        Raises:
            LedgerUnavailable: a file is missing, was replaced, or is read-only.
            LedgerCorrupt: a file was cut or overwritten.
        """
        main, log, index = self._stat()
        for number, found in enumerate((main, log, index)):
            self._require_same(number, found)
        if not main.st_mode & _OWNER_MAY_WRITE:
            raise LedgerUnavailable(read_only_message(self._path), LedgerState.READ_ONLY)
        if main.st_size < self._size:
            raise corruption_error(self._path, "it was cut while it was in use")
        self._size = main.st_size
        if self._header.xRead(len(_MAGIC), 0) != _MAGIC:
            raise corruption_error(self._path, "its beginning was overwritten while it was in use")
        self._look_at_log(log.st_size)

    def look_ahead(self) -> None:
        """Check what the next write would damage, while no other process can write.

        Writing to a log that was cut would leave a hole in it; beside a new log or index that other
        processes use, it would take the place of their pages in the file.

        Raises:
            LedgerUnavailable: the log or the index is missing or was replaced.
            LedgerCorrupt: the log was cut or overwritten.
        """
        number = 2
        try:
            self._require_same(number, os.stat(self._names[number]))
            number = 1
            log = os.stat(self._names[number])
        except OSError as error:
            raise self._explain_absence(number) from error
        self._require_same(number, log)
        self._look_at_log(log.st_size)

    def has_every_frame(self) -> bool:
        """Return whether the open log holds all that the processes' common index says is there.

        It does not if this log was deleted before, and another process has put it back and written
        to it. No other process may write meanwhile. True if the index cannot be read.
        """
        index = _find_descriptor(self._known[2])
        if index is None:
            return True
        is_valid, page_bytes, last, *checksum, salt = _INDEX_HEAD.unpack(
            os.pread(index, _INDEX_HEAD.size, 0)
        )
        if not is_valid or not last:
            return True
        if page_bytes == 1:  # as the format writes 65,536
            page_bytes = 65_536
        at = _LOG_HEAD_BYTES + (last - 1) * (_FRAME_HEAD_BYTES + page_bytes)
        head = os.pread(self._log, _FRAME_HEAD_BYTES, at)
        if len(head) < _FRAME_HEAD_BYTES:
            return False
        return _FRAME_HEAD.unpack(head) == (salt, *checksum)

    def put_log_back(self) -> None:
        """Write a deleted log under its name again, unless another process has put a log there.

        Everything since the last checkpoint is only in the log, which is lost with the last process
        that has it open. No other process may write meanwhile. If the database file itself was
        moved or replaced, or other processes have written to a newer log since, nothing is written.

        Raises:
            OSError: the log cannot be written; if no other process has it open, SQLite still folds
                it back when the connection closes.
        """
        if not self._is_file_there():
            return  # the log does not belong to another file
        if not self.has_every_frame():
            return  # a process that has the newer log puts that one back
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(self._names[1], flags, 0o600)
        try:
            if os.fstat(handle).st_size:
                return  # another process was faster
            size, at = os.fstat(self._log).st_size, 0
            while at < size and (piece := os.pread(self._log, _PIECE, at)):
                at += os.pwrite(handle, piece, at)
            os.fsync(handle)
            _sync_folder(self._path.parent)
        except OSError:
            os.ftruncate(handle, 0)  # a partial log would be taken for the whole one
            raise
        finally:
            os.close(handle)

    def close(self) -> None:
        """Close the two files opened here; the connection has its own."""
        os.close(self._log)
        self._header.xClose()

    def _is_file_there(self) -> bool:
        """Return whether the file under the ledger's name is the open one."""
        try:
            found = os.stat(self._names[0])
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._known[0]

    def _require_same(self, number: int, found: os.stat_result) -> None:
        """Check that a file is the open one."""
        if (found.st_dev, found.st_ino) == self._known[number]:
            return
        # an empty one was created by a process that has just opened the ledger
        self.is_log_lost = number == 1 and not found.st_size
        raise LedgerUnavailable(
            f"Another file has taken the place of {self._names[number]}. {_BACK}",
            LedgerState.REPLACED,
        )

    def _look_at_log(self, size: int) -> None:
        if not size:
            # as new, unless this connection opened it where another process's log was deleted: a
            # write would leave a hole at its beginning, and be taken for the whole log
            if not self.has_every_frame():
                raise self._explain_absence(1)
            return
        head = os.pread(self._log, _SALT.stop, 0)
        if not head.startswith(_LOG_MAGICS):
            if self._salt:
                raise corruption_error(self._path, "its log was cut or overwritten")
            return  # left by another program; the next write restarts the log
        if head[_SALT] == self._salt and size < self._log_size:
            raise corruption_error(self._path, "its log was cut while it was in use")
        self._salt, self._log_size = head[_SALT], size

    def _stat(self) -> tuple[os.stat_result, os.stat_result, os.stat_result]:
        number = 0
        try:
            main = os.stat(self._names[0])
            number = 1
            return main, os.stat(self._names[1]), os.stat(self._names[2])
        except OSError as error:
            raise self._explain_absence(number) from error

    def _explain_absence(self, number: int) -> LedgerUnavailable:
        self.is_log_lost = number > 0
        what = self._names[number]
        if number == 0 and os.path.exists(what):
            text, state = f"Another file has taken the place of {what}.", LedgerState.REPLACED
        else:
            text, state = f"{what} has been taken away while it was in use.", LedgerState.VANISHED
        return LedgerUnavailable(f"{text} {_BACK}", state)


def _find_descriptor(known: tuple[int, int]) -> int | None:
    """Return SQLite's own descriptor of a file by its device and inode; None if there is none.

    One of ours could not be closed: that would drop SQLite's locks on the file.
    """
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):
            found = os.fstat(int(name))
            if (found.st_dev, found.st_ino) == known:
                return int(name)
    return None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_only_message(path: Path) -> str:
    """Return a message about a read-only ledger file, with what to do."""
    return f"{path} is read-only, so nothing can be booked. Make it writable for its owner."
