"""Checks that the files a connection has open are still those under the ledger's name.

SQLite continues to write to files that were deleted, moved or cut while open, and reports success.
A check takes microseconds, so one follows every commit before it is acknowledged.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from pathlib import Path

import apsw

from devflow_store.health import LedgerState, LedgerUnavailable
from devflow_store.integrity.backup import corruption_error

_UNKNOWN = (0, 0)
"""Stands for a file whose identity has not been read yet: no device, no inode."""
_MAGIC = b"SQLite format 3\0"
_LOG_MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_OWNER_MAY_WRITE = 0o200
_PIECE = 1024 * 1024
"""Bytes of a deleted log that are copied at a time."""
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

    Make it just before the connection is opened: what is under a name later need not be what SQLite
    has opened under it. `close` ends it.

    Args:
        path: the database file; an empty log is created beside it if there is none.

    Raises:
        OSError: the log can be neither opened nor created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = (str(path), f"{path}-wal", f"{path}-shm")
        self.is_log_lost = False
        """Whether only the log is missing, so that its content can still be folded back."""
        self._log = _open_log(path, os.O_RDONLY)
        self._known = [_UNKNOWN, _identify(os.fstat(self._log)), _UNKNOWN]
        self._header: apsw.VFSFile | None = None
        self._size = self._log_size = 0
        self._salt = b""

    @property
    def is_confirmed(self) -> bool:
        """Whether the files that SQLite has open were seen under their names."""
        return self._header is not None

    def is_log_in_place(self) -> bool:
        """Return whether the open log is the file under its name."""
        return self._is_in_place(1)

    def confirm(self, *, has_moved: bool) -> None:
        """Check that SQLite has opened the files that are under their names now.

        Args:
            has_moved: what SQLite says of the database file.

        Raises:
            LedgerUnavailable: a file is missing, was replaced, or cannot be opened.
        """
        if has_moved:
            raise self._explain_absence(0)
        for number in (0, 2):
            self._known[number] = _identify(self._stat(number))
        self._require_same(1, self._stat(1))
        if self._find_index() is None:
            raise self._explain_exchange(2)
        # through SQLite's own layer: closing a descriptor of ours would drop all locks on the file
        flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY
        try:
            self._header = apsw.VFSFile("", self._names[0], [flags, 0])
        except apsw.Error as error:
            raise self._explain_absence(0) from error

    def look(self) -> None:
        """Compare the open files with those under their names.

        Raises:
            LedgerUnavailable: a file is missing, was replaced, or is read-only.
            LedgerCorrupt: a file was cut or overwritten.
        """
        main, log, index = map(self._stat, range(3))
        for number, found in enumerate((main, log, index)):
            self._require_same(number, found)
        if not main.st_mode & _OWNER_MAY_WRITE:
            raise LedgerUnavailable(read_only_message(self._path), LedgerState.READ_ONLY)
        if main.st_size < self._size:
            raise corruption_error(self._path, "it was cut while it was in use")
        self._size = main.st_size
        if self._header and self._header.xRead(len(_MAGIC), 0) != _MAGIC:
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
        self._require_same(2, self._stat(2))
        log = self._stat(1)
        self._require_same(1, log)
        self._look_at_log(log.st_size)

    def has_every_frame(self) -> bool:
        """Return whether the open log holds every frame that the processes' common index lists.

        It does not if this log was deleted before, and another process has put it back and written
        to it. No other process may write meanwhile. False if the index is not known.
        """
        index = self._find_index()
        if index is None:
            return False
        head = os.pread(index, _INDEX_HEAD.size, 0)
        if len(head) < _INDEX_HEAD.size:
            return True  # just created: it says nothing yet
        is_valid, page_bytes, last, *checksum, salt = _INDEX_HEAD.unpack(head)
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
        if not self._is_in_place(0):
            return  # the log does not belong to another file
        if not self.has_every_frame():
            return  # a process that has the newer log puts that one back
        handle = _open_log(self._path, os.O_RDWR)
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
        if self._header is not None:
            self._header.xClose()

    def _is_in_place(self, number: int) -> bool:
        """Return whether the file under a name is the open one."""
        try:
            return _identify(os.stat(self._names[number])) == self._known[number]
        except OSError:
            return False

    def _require_same(self, number: int, found: os.stat_result) -> None:
        """Check that a file is the open one."""
        if _identify(found) == self._known[number]:
            return
        # an empty one was created by a process that has just opened the ledger
        self.is_log_lost = number == 1 and not found.st_size
        raise self._explain_exchange(number)

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

    def _stat(self, number: int) -> os.stat_result:
        try:
            return os.stat(self._names[number])
        except OSError as error:
            raise self._explain_absence(number) from error

    def _find_index(self) -> int | None:
        """Return SQLite's own descriptor of the index; None if it has another one open.

        A descriptor of ours could not be closed: that would drop SQLite's locks on the file.
        """
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):
                if _identify(os.fstat(int(name))) == self._known[2]:
                    return int(name)
        return None

    def _explain_absence(self, number: int) -> LedgerUnavailable:
        self.is_log_lost = number > 0
        what = self._names[number]
        if number == 0 and os.path.exists(what):
            return self._explain_exchange(number)
        text = f"{what} has been taken away while it was in use. {_BACK}"
        return LedgerUnavailable(text, LedgerState.VANISHED)

    def _explain_exchange(self, number: int) -> LedgerUnavailable:
        text = f"Another file has taken the place of {self._names[number]}. {_BACK}"
        return LedgerUnavailable(text, LedgerState.REPLACED)


def _open_log(path: Path, flags: int) -> int:
    """Open a ledger's log, or create it as SQLite does: with the owner and mode of the ledger."""
    name, flags = f"{path}-wal", flags | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileNotFoundError):
        return os.open(name, flags)
    ledger = path.stat()
    handle = os.open(name, flags | os.O_CREAT, stat.S_IMODE(ledger.st_mode))
    if not os.geteuid():
        os.fchown(handle, ledger.st_uid, ledger.st_gid)
    return handle


def _identify(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_only_message(path: Path) -> str:
    """Return a message about a read-only ledger file, with what to do."""
    return f"{path} is read-only, so nothing can be booked. Make it writable for its owner."
