"""Keeps the store in one SQLite file, with apsw's own SQLite (free of the WAL-reset bug)."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw
from devflow_core.errors import StoreError
from devflow_core.private_files import ensure_private_folder, refuse_link

from devflow_store.chain.transaction import has_row, replaced_error
from devflow_store.database.schema import SCHEMA_VERSION, migrate, read_version
from devflow_store.engines.sqlite_identity import OpenFiles
from devflow_store.engines.sqlite_schema import find_foreign_object
from devflow_store.engines.sqlite_session import SqliteSession, explain_failure, translate_error
from devflow_store.health import LedgerState, LedgerUnavailable
from devflow_store.integrity.backup import (
    CHECK_TIMEOUT_S,
    START_CHECK_S,
    HeadFile,
    check_integrity,
    corruption_error,
    move_into_place,
    require_absent,
    verify_copy,
)
from devflow_store.integrity.presence import has_content, refuse_successor, require_ledger

_ENDINGS = ("", "-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite opens for one database."""
_PRAGMAS = ("trusted_schema = 0", "cell_size_check = 1", "mmap_size = 0")
"""The pragmas that every connection sets."""
_MAX_OPENINGS = 100
"""The most tries to open the ledger while other processes close it; each takes a millisecond."""
CHECKPOINT_PAGES = 4_000
"""Pages of the WAL per checkpoint, 16 MB: fewer stalls than with SQLite's default of 4 MB."""
MAX_FOLDER_WAIT_S = 20.0
"""Seconds that a start waits for others that create the ledger; each takes milliseconds."""
_LOCK_PAUSE_S = 0.01
"""Seconds between two tries for the folder's lock; its holder needs only milliseconds."""


class SqliteEngine:
    """A database file with WAL, `synchronous=FULL` and no memory mapping.

    `NORMAL` instead of `FULL` loses acknowledged commits at a power cut; `tests/test_power_cut.py`
    shows both.

    Args:
        path: the file; it is created so that only its owner can read it.
        vfs: name of a registered VFS, for tests that cut the power.
        synchronous: `FULL`, except in tests that show what a weaker setting loses.
    """

    dialect = "sqlite"

    def __init__(self, path: Path, *, vfs: str | None = None, synchronous: str = "FULL") -> None:
        self.path = path
        self.folder = path.parent
        self._head_file = HeadFile(path)
        self._head: str | None = None
        """The last row that this process knows to be written."""
        self._is_suspect = False
        """Whether the file has to be checked in full before it is written again."""
        self._is_checked = True
        """Whether the check at the start has come to its end."""
        self._opened: tuple[int, int] | None = None
        """Device and inode of the file that was last opened for writing."""
        self._vfs = vfs
        self._synchronous = synchronous

    def prepare(self) -> None:
        """Create or upgrade the file; an older schema is backed up before it is upgraded."""
        self._head_file.refuse_link()
        _ensure_folder(self.path)
        with _hold_folder(self.path.parent):
            self._create_or_refuse()
        session = self._open_wal()
        try:
            version = read_version(session, self.dialect)
            if version:
                self._is_checked = check_integrity(
                    session, self.path, session.quick_check, START_CHECK_S
                )
            if 0 < version <= SCHEMA_VERSION and (foreign := find_foreign_object(session, version)):
                raise corruption_error(self.path, foreign)
            if 0 < version < SCHEMA_VERSION:
                self.backup(self.path.with_name(f"{self.path.name}.v{version}-{time.time_ns()}"))
            migrate(session, self.dialect)
        finally:
            session.close()

    def check_rest(self, is_over: Callable[[], bool]) -> None:
        if self._is_checked:
            return
        end_s = time.monotonic() + CHECK_TIMEOUT_S
        session = self.open_reader()
        try:
            reason = session.quick_check(lambda: is_over() or time.monotonic() > end_s)
        finally:
            session.close()
        if reason not in (None, "ok"):
            self._suspect()
            raise corruption_error(self.path, reason)

    def noted_head(self) -> str | None:
        return self._head_file.read()

    def on_commit(self, head: str) -> None:
        self._head = head
        self._head_file.write(head)

    def close(self) -> None:
        self._head_file.close()

    def backup(self, target: Path) -> None:
        """Copy with SQLite's online backup; the copy is verified before it gets its name."""
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
        """Create an empty file that only its owner can read, unless it exists.

        Raises:
            ConfigurationError: the path is a link, or others can write to its folder.
            StoreError: the file cannot be created.
        """
        _ensure_folder(self.path)
        _create_private_file(self.path)

    def open_without_wal(self) -> SqliteSession:
        """Open a session on a draft or a copy, without a write-ahead log; the caller closes it.

        The file is created if it is missing.
        """
        return self._connect(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)

    def compact(self) -> None:
        """Fold the write-ahead log back into the file and truncate it."""
        session = self.open_writer()
        try:
            session.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            session.close()

    def open_writer(self) -> SqliteSession:
        """Open the writer's session; a file that seems to have changed is checked in full first."""
        try:
            require_ledger(self.path)
        except StoreError:
            self._is_suspect = True
            raise
        if self._is_suspect:
            self._look_through()
        return self._open_wal()

    def open_reader(self) -> SqliteSession:
        require_ledger(self.path)
        return self._connect(apsw.SQLITE_OPEN_READONLY)

    def _create_or_refuse(self) -> None:
        """Create a new ledger if there is none and never was one.

        One process at a time: SQLite switches a file to WAL without waiting for others.
        """
        if has_content(self.path):
            return
        refuse_successor(self.path)
        _create_private_file(self.path)
        session = self._open_wal()
        try:
            migrate(session, self.dialect)
        finally:
            session.close()

    def _look_through(self) -> None:
        """Check that a file that was missing or changed is the ledger that was written, undamaged.

        Raises:
            LedgerUnavailable: it is another ledger, or an older copy.
            LedgerCorrupt: it is damaged.
        """
        is_same = self._identify() == self._opened
        session = self._connect(apsw.SQLITE_OPEN_READWRITE)
        session.keep_log()
        try:
            self._require_head(session, is_same=is_same)
            check_integrity(session, self.path, session.quick_check)
            if not is_same:
                verify_copy(session, self.path)  # our log may lie beside a file that is not ours
        finally:
            session.close()
        self._is_suspect = False

    def _require_head(self, session: SqliteSession, *, is_same: bool) -> None:
        if read_version(session, self.dialect) and has_row(session, self._head):
            return
        if is_same:
            raise corruption_error(self.path, "rows that were written are missing")
        raise replaced_error(int((self._head or "0:").partition(":")[0]))

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open_wal(self) -> SqliteSession:
        """Open a session that writes; it is closed and opened again until its log is in place.

        The last process to close a ledger deletes the log, also one that was just found there.
        """
        for _ in range(_MAX_OPENINGS - 1):
            session = self._connect_for_writing()
            if session.has_log_in_place():
                return session
            session.close()
        return self._connect_for_writing()  # its first look says what is wrong

    def _connect_for_writing(self) -> SqliteSession:
        session = self._connect(
            apsw.SQLITE_OPEN_READWRITE,
            (
                "journal_mode = WAL",
                f"synchronous = {self._synchronous}",
                "secure_delete = ON",
                f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            ),
            is_watched=True,
        )
        self._opened = self._identify()
        return session

    def _suspect(self) -> None:
        self._is_suspect = True

    def _name(self) -> str:
        """Return the file's name with its folder's links resolved, since SQLite refuses links."""
        if self._vfs is not None:
            return str(self.path)
        return str(self.path.parent.resolve() / self.path.name)

    def _connect(
        self, flags: int, pragmas: tuple[str, ...] = (), *, is_watched: bool = False
    ) -> SqliteSession:
        for ending in _ENDINGS:
            refuse_link(self.path.with_name(self.path.name + ending))
        with ExitStack() as on_failure:
            files = None
            if is_watched:
                files = self._open_files()
                on_failure.callback(files.close)
            connection = self._open_connection(flags | apsw.SQLITE_OPEN_NOFOLLOW)
            on_failure.callback(connection.close, True)
            session = SqliteSession(connection, self.path, files=files, on_change=self._suspect)
            for pragma in (*_PRAGMAS, *pragmas):
                session.execute(f"PRAGMA {pragma}")
            on_failure.pop_all()
        return session

    def _open_connection(self, flags: int) -> apsw.Connection:
        try:
            return apsw.Connection(self._name(), flags=flags, vfs=self._vfs)
        except apsw.Error as error:
            raise translate_error(error, self.path) from error

    def _open_files(self) -> OpenFiles:
        try:
            return OpenFiles(self.path)
        except OSError as error:
            raise explain_failure(error, self.path, error.errno or 0) from error


@contextmanager
def _hold_folder(folder: Path) -> Generator[None]:
    """Keep other processes from creating a ledger in a folder at the same time.

    Raises:
        LedgerUnavailable: another process has kept it for `MAX_FOLDER_WAIT_S`.
        StoreError: the folder cannot be used.
    """
    end_s = time.monotonic() + MAX_FOLDER_WAIT_S
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(f"{folder} cannot be used: {error.strerror}.") from error
    try:
        while not _try_lock(handle):
            if time.monotonic() > end_s:
                raise LedgerUnavailable(
                    f"Another process is making a ledger in {folder}. Try again.",
                    LedgerState.LOCKED,
                )
            time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
