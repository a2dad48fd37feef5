"""Wraps an open connection to an SQLite ledger: waits, checks its files, translates errors."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import apsw
from devflow_core.errors import StoreError

from devflow_store.database.engine import DuplicateKey, Rows, SqlValue
from devflow_store.engines.sqlite_identity import OpenFiles, read_only_message
from devflow_store.health import LedgerState, LedgerUnavailable
from devflow_store.integrity.backup import corruption_error

BUSY_TIMEOUT_MS = 10_000
"""Milliseconds that a writer waits for another process; a group needs only a few."""
_SHORT_WAIT_S, _LONG_WAIT_S = 0.001, 0.005
_SHORT_WAITS = 50
"""The first tries for the lock, close together since its holder needs only milliseconds."""
_PROGRESS_STEPS = 20_000
"""Steps of SQLite's virtual machine after which a check asks whether to stop."""
_MAX_TOUCHES = 1_000_000
"""The value at which `user_version` restarts from 0: SQLite keeps it in a signed 32-bit number."""
_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY_ERRNOS = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class _Cursor(Protocol):
    def fetchall(self) -> Rows: ...
    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...


_Execute = Callable[[str, Sequence[SqlValue]], _Cursor]


class SqliteSession:
    """A `Session` on an SQLite file.

    Args:
        connection: just opened.
        path: of the file.
        files: opened just before the connection, and closed with it; None disables their checks.
        on_change: called when the files are damaged or no longer those under the ledger's name.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        path: Path,
        *,
        files: OpenFiles | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.waits_for_lock = False
        self._connection = connection
        self._cursor = connection.cursor()
        self._execute = _execute_of(self._cursor)
        self._path = path
        self._on_change = on_change
        self._files = files
        self._wait_end_s = 0.0
        connection.set_busy_handler(self._wait_for_lock)

    def execute(self, sql: str, values: Sequence[SqlValue] = (), /) -> Rows:
        try:
            return self._execute(sql, values).fetchall()
        except apsw.Error as error:
            raise self._translate(error) from error
        except UnicodeEncodeError as error:
            raise StoreError("A text for the ledger is not Unicode; it was not written.") from error

    def stream(self, sql: str, values: Sequence[SqlValue] = (), /) -> Iterable[tuple[Any, ...]]:
        try:
            yield from _execute_of(self._connection.cursor())(sql, values)
        except apsw.Error as error:
            raise self._translate(error) from error

    def begin(self) -> None:
        """Begin with IMMEDIATE: a deferred transaction can still fail at its first write."""
        try:
            self.execute("BEGIN IMMEDIATE")
        finally:
            self.waits_for_lock = False

    def freeze(self) -> None:
        self.execute("BEGIN")  # the first read decides on the state

    def commit(self) -> None:
        self.execute("COMMIT")

    def touch(self) -> None:
        """Force a write by raising `user_version`: SQLite skips rows that do not change."""
        number = int(self.execute("PRAGMA user_version")[0][0])
        self.execute(f"PRAGMA user_version = {(number + 1) % _MAX_TOUCHES}")

    def has_log_in_place(self) -> bool:
        """Return whether the log that was found before the connection is still under its name."""
        return self._files is None or self._files.is_log_in_place()

    def look(self, *, is_ahead: bool = False) -> None:
        """Check that the files are still the ones that the first call saw."""
        files = self._files
        if files is None:
            return
        try:
            if not files.is_confirmed:
                files.confirm(has_moved=self._has_moved())
            elif is_ahead:
                files.look_ahead()
                return
            files.look()
        except (apsw.Error, OSError) as error:
            number = _find_errno(error, self._connection)
            raise explain_failure(error, self._path, number) from error
        except StoreError:
            self._on_change()
            if not (files.is_log_lost and self._folds_log_back(files)):
                self.keep_log()  # the files under the ledger's name stay unchanged
            raise

    def _folds_log_back(self, files: OpenFiles) -> bool:
        """Put a deleted log back for other processes to continue with.

        Returns:
            Whether SQLite should fold the log into the file at the close instead: it could not be
            put back, and holds everything that other processes have written.
        """
        try:
            if not self._connection.in_transaction:
                self._execute("BEGIN IMMEDIATE", ())
            files.put_log_back()
        except (OSError, apsw.Error):
            return files.has_every_frame()
        return False

    def keep_log(self) -> None:
        """Leave the log as it is at `close`, instead of folding it back into the file."""
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    def quick_check(self, is_over: Callable[[], bool]) -> str | None:
        """Run SQLite's own check; return `ok`, or what is wrong; None if it was stopped.

        Args:
            is_over: asked every millisecond or so whether to stop.

        Raises:
            StoreError, LedgerCorrupt: the file cannot be read.
        """
        self._connection.set_progress_handler(is_over, _PROGRESS_STEPS)
        try:
            return str(self._execute("PRAGMA quick_check(1)", ()).fetchall()[0][0])
        except apsw.InterruptError:
            return None
        except apsw.Error as error:
            raise self._translate(error) from error
        finally:
            self._connection.set_progress_handler(None)

    def copy_to(self, other: SqliteSession) -> None:
        """Copy the whole database into another session's, while other processes continue to write.

        Raises:
            StoreError, LedgerCorrupt: the source cannot be read, or the copy cannot be written.
        """
        try:
            with other._connection.backup("main", self._connection, "main") as work:
                while not work.done:
                    work.step(-1)
        except apsw.Error as error:
            raise other._translate(error) from error

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._execute_quietly("ROLLBACK")

    def close(self) -> None:
        self.rollback()
        if self._files is not None and self._files.is_confirmed:
            with suppress(StoreError):
                self.look()  # else SQLite might fold back a log that is no longer the ledger's
        try:
            self._cursor.close(True)
            self._connection.close(True)
        except apsw.Error:
            return  # its last sync failed; what was acknowledged had been synced before
        finally:
            if self._files is not None:
                self._files.close()
                self._files = None

    def _translate(self, error: apsw.Error) -> StoreError:
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            self._on_change()
        return translate_error(error, self._path, self._connection.system_errno)

    def _wait_for_lock(self, tries: int) -> bool:
        """Wait as SQLite's handler does, in smaller steps, so that a long waiter gets its turn."""
        self.waits_for_lock = True
        if not tries:
            self._wait_end_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
        time.sleep(_SHORT_WAIT_S if tries < _SHORT_WAITS else _LONG_WAIT_S)
        return time.monotonic() < self._wait_end_s

    def _has_moved(self) -> bool:
        """Return whether the open file is no longer the one under the name it was opened by."""
        answer = ctypes.c_int(0)
        address = ctypes.addressof(answer)
        is_known = self._connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, address)
        return is_known and bool(answer.value)

    def _execute_quietly(self, sql: str) -> None:
        try:
            self._execute(sql, ())
        except apsw.Error:
            return  # SQLite has rolled back on its own


def translate_error(error: apsw.Error, path: Path, system_errno: int = 0) -> StoreError:
    """Return our error for SQLite's, with the file, what to do, and the ledger's state.

    Args:
        error: as raised.
        path: of the file.
        system_errno: the system's error number for the file that could not be used last; 0 if
            unknown.
    """
    match error:
        case apsw.ConstraintError():
            return DuplicateKey(f"A row of {path} is there already: {error}.")
        case apsw.CorruptError() | apsw.NotADBError():
            return corruption_error(path, str(error))
        case apsw.FullError():
            return _full(path)
        case apsw.BusyError() | apsw.LockedError():
            return LedgerUnavailable(
                f"{path} is held by another process. Try again.", LedgerState.LOCKED
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return LedgerUnavailable(read_only_message(path), LedgerState.READ_ONLY)
        case apsw.IOError() | apsw.CantOpenError():
            return explain_failure(error, path, system_errno)
        case apsw.SQLError() if "no such table" in str(error):
            return LedgerUnavailable(
                f"A table of {path} is gone ({error}). Put it back, or stop every DevFlow process "
                "and restore a backup with `devflow ledger restore BACKUP`.",
                LedgerState.VANISHED,
            )
        case _:
            return StoreError(f"{path}: {error}.")


def explain_failure(error: Exception, path: Path, system_errno: int) -> LedgerUnavailable:
    """Return the error for a file that could not be used, by the system's error number."""
    if system_errno in _FULL_ERRNOS:
        return _full(path)
    if system_errno in _READ_ONLY_ERRNOS or _is_disk_read_only(path):
        return LedgerUnavailable(read_only_message(path), LedgerState.READ_ONLY)
    if system_errno == errno.ENOENT:
        return LedgerUnavailable(f"{path} is gone: {error}.", LedgerState.VANISHED)
    return LedgerUnavailable(f"{path} cannot be used: {error}.", LedgerState.UNREACHABLE)


def _find_errno(error: Exception, connection: apsw.Connection) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    return connection.system_errno


def _is_disk_read_only(path: Path) -> bool:
    """Return whether the file system is read-only; False if that is unknown."""
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _full(path: Path) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"No space is left for {path}. Free some; nothing else is needed.", LedgerState.FULL
    )


def _execute_of(cursor: apsw.Cursor) -> _Execute:
    # apsw's stub names `collections.abc.Buffer`, which Python 3.11 lacks
    return cursor.execute  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
