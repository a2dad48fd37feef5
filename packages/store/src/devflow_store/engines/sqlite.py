"""The store over one SQLite file, with the SQLite that apsw brings (free of the WAL-reset bug)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import apsw
from devflow_core.errors import StoreError
from devflow_core.private_files import ensure_private_folder, refuse_link

from devflow_store.database.engine import DatabaseUnavailable, DuplicateKey, Rows, SqlValue
from devflow_store.database.schema import SCHEMA_VERSION, migrate, read_version
from devflow_store.engines.sqlite_schema import find_foreign_object
from devflow_store.integrity.backup import (
    HeadFile,
    check_integrity,
    corruption_error,
    move_into_place,
    require_absent,
    verify_copy,
)

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for another process; a group takes milliseconds."""
_PROGRESS_STEPS = 20_000
"""Of SQLite's virtual machine, between two looks at the clock."""
_ENDINGS = ("", "-wal", "-shm", "-journal")
"""Files that SQLite opens for one database."""
CHECKPOINT_PAGES = 4_000
"""The WAL is folded back every 16 MB: fewer stalls than SQLite's 4 MB."""


class _Cursor(Protocol):
    def fetchall(self) -> Rows: ...
    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...


_Execute = Callable[[str, Sequence[SqlValue]], _Cursor]


class SqliteEngine:
    """A database file. WAL, `synchronous=FULL`, no memory mapping.

    `NORMAL` in place of `FULL` loses acknowledged commits at a power cut; `tests/test_power_cut.py`
    shows both.

    Args:
        path: the file; it is created readable by its owner only.
        vfs: name of a registered VFS, for tests that cut the power.
        synchronous: `FULL` unless a test wants to see it fail.
    """

    dialect = "sqlite"

    def __init__(self, path: Path, *, vfs: str | None = None, synchronous: str = "FULL") -> None:
        self.path = path
        self.folder = path.parent
        self._head_file = HeadFile(path)
        self._vfs = vfs
        self._synchronous = synchronous

    def prepare(self) -> None:
        """As `Engine.prepare`; an older schema is backed up before it is upgraded."""
        if self._vfs is None:
            self.create_file()
        self._head_file.refuse_link()
        session = self.open_writer()
        try:
            version = read_version(session, self.dialect)
            if version:
                check_integrity(session, self.path, session.quick_check)
            if 0 < version <= SCHEMA_VERSION and (foreign := find_foreign_object(session, version)):
                raise corruption_error(self.path, foreign)
            if 0 < version < SCHEMA_VERSION:
                self.backup(self.path.with_name(f"{self.path.name}.v{version}-{time.time_ns()}"))
            migrate(session, self.dialect)
        finally:
            session.close()

    def on_commit(self, head: str) -> None:
        """As `Engine.on_commit`."""
        self._head_file.write(head)

    def close(self) -> None:
        """As `Engine.close`."""
        self._head_file.close()

    def backup(self, target: Path) -> None:
        """As `Engine.backup`: SQLite's online copy, verified before it gets its name."""
        require_absent(target)
        draft = target.with_name(f"{target.name}.part")
        _create_private_file(draft)
        copy = SqliteEngine(draft, synchronous=self._synchronous)
        try:
            self._copy_to(copy)
            session = copy.open_reader()
            try:
                verify_copy(session, draft)
            finally:
                session.close()
            move_into_place(draft, target)
        finally:
            draft.unlink(missing_ok=True)

    def _copy_to(self, copy: SqliteEngine) -> None:
        source, into = self.open_reader(), copy.open_without_wal()
        try:
            source.copy_to(into)
            into.execute("PRAGMA journal_mode = DELETE")  # one file, complete in itself
        finally:
            into.close()
            source.close()

    def create_file(self) -> None:
        """Make the file, empty and readable by its owner only, unless it is there.

        Raises:
            ConfigurationError: it is a link, or its folder is open to others.
            StoreError: it cannot be made.
        """
        _ensure_folder(self.path)
        _create_private_file(self.path)

    def open_without_wal(self) -> SqliteSession:
        """A connection that writes without a log beside the file."""
        return self._connect(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)

    def compact(self) -> None:
        """As `Engine.compact`: the log is folded back and emptied."""
        session = self.open_writer()
        try:
            session.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            session.close()

    def open_writer(self) -> SqliteSession:
        """As `Engine.open_writer`."""
        session = self._connect(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        session.execute("PRAGMA journal_mode = WAL")
        session.execute(f"PRAGMA synchronous = {self._synchronous}")
        session.execute("PRAGMA secure_delete = ON")
        session.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return session

    def open_reader(self) -> SqliteSession:
        """As `Engine.open_reader`."""
        return self._connect(apsw.SQLITE_OPEN_READONLY)

    def _name(self) -> str:
        """The file's name for SQLite, which would refuse a link of the user's on the way to it."""
        if self._vfs is not None:
            return str(self.path)
        return str(self.path.parent.resolve() / self.path.name)

    def _connect(self, flags: int) -> SqliteSession:
        for ending in _ENDINGS:
            refuse_link(self.path.with_name(self.path.name + ending))
        try:
            connection = apsw.Connection(
                self._name(), flags=flags | apsw.SQLITE_OPEN_NOFOLLOW, vfs=self._vfs
            )
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            session = SqliteSession(connection, self.path)
            for pragma in ("trusted_schema = 0", "cell_size_check = 1", "mmap_size = 0"):
                session.execute(f"PRAGMA {pragma}")
        except apsw.Error as error:
            raise translate_error(error, self.path) from error
        return session


class SqliteSession:
    """A connection to the file."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._execute = _execute_of(self._cursor)
        self._path = path

    def execute(self, sql: str, values: Sequence[SqlValue] = (), /) -> Rows:
        """As `Session.execute`."""
        try:
            return self._execute(sql, values).fetchall()
        except apsw.Error as error:
            raise translate_error(error, self._path) from error
        except UnicodeEncodeError as error:
            raise StoreError("A text for the ledger is no Unicode; nothing was written.") from error

    def stream(self, sql: str, values: Sequence[SqlValue] = (), /) -> Iterable[tuple[Any, ...]]:
        """As `Session.stream`."""
        try:
            yield from _execute_of(self._connection.cursor())(sql, values)
        except apsw.Error as error:
            raise translate_error(error, self._path) from error

    def begin(self) -> None:
        """As `Session.begin`; IMMEDIATE, since a deferred one fails at its first write."""
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """As `Session.commit`."""
        self.execute("COMMIT")

    def quick_check(self, end_s: float) -> str:
        """SQLite's own check until a time on the monotonic clock: `ok`, or what is wrong."""
        self._connection.set_progress_handler(lambda: time.monotonic() > end_s, _PROGRESS_STEPS)
        try:
            return str(self._execute("PRAGMA quick_check(1)", ()).fetchall()[0][0])
        except apsw.InterruptError:
            return "ok"
        except apsw.Error as error:
            raise translate_error(error, self._path) from error
        finally:
            self._connection.set_progress_handler(None)

    def copy_to(self, other: SqliteSession) -> None:
        """Copy the whole database, while others go on writing.

        Raises:
            StoreError, LedgerCorrupt: it could not be read or written.
        """
        try:
            with other._connection.backup("main", self._connection, "main") as work:
                while not work.done:
                    work.step(-1)
        except apsw.Error as error:
            raise translate_error(error, other._path) from error

    def rollback(self) -> None:
        """As `Session.rollback`."""
        if self._connection.in_transaction:
            self._execute_quietly("ROLLBACK")

    def close(self) -> None:
        """As `Session.close`."""
        self.rollback()
        try:
            self._cursor.close(True)
            self._connection.close(True)
        except apsw.Error:
            return  # its last sync failed; what was acknowledged had been synced before

    def _execute_quietly(self, sql: str) -> None:
        try:
            self._execute(sql, ())
        except apsw.Error:
            return  # SQLite has rolled back by itself


def translate_error(error: apsw.Error, path: Path) -> StoreError:
    """SQLite's error as ours, with the file and what to do."""
    match error:
        case apsw.ConstraintError():
            return DuplicateKey(f"A row of {path} is there already: {error}.")
        case apsw.CorruptError() | apsw.NotADBError():
            return corruption_error(path, str(error))
        case apsw.FullError():
            return DatabaseUnavailable(
                f"No space is left for {path}. Free some; nothing else is needed."
            )
        case apsw.BusyError() | apsw.LockedError():
            return DatabaseUnavailable(f"{path} is held by another process. Try again.")
        case apsw.IOError() | apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError():
            return DatabaseUnavailable(f"{path} cannot be used: {error}.")
        case _:
            return StoreError(f"{path}: {error}.")


def _execute_of(cursor: apsw.Cursor) -> _Execute:
    # apsw's stub names `collections.abc.Buffer`, which Python 3.11 has not
    return cursor.execute  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _ensure_folder(path: Path) -> None:
    try:
        ensure_private_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be created: {error.strerror}.") from error


def _create_private_file(path: Path) -> None:
    refuse_link(path)
    if path.exists():
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        if path.exists():
            return  # another process was faster
        raise StoreError(f"{path} cannot be created: {error.strerror}.") from error
