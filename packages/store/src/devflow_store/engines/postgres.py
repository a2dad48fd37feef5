"""Keeps the store in PostgreSQL, for gateways on several machines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from devflow_core.errors import InvalidRequest, LedgerCorrupt, StoreError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import (
    DeadlockDetected,
    DiskFull,
    IntegrityError,
    InvalidCatalogName,
    LockNotAvailable,
    QueryCanceled,
    ReadOnlySqlTransaction,
    SerializationFailure,
    UndefinedTable,
)

from devflow_store.chain.transaction import require_row
from devflow_store.database.engine import DuplicateKey, Rows, SqlValue
from devflow_store.database.schema import migrate, read_version
from devflow_store.health import LedgerState, LedgerUnavailable
from devflow_store.integrity.backup import HeadFile

LOCK_TIMEOUT_MS = 10_000
"""Milliseconds that a group waits for the groups of other processes."""
_CONNECTION: dict[str, int] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Defaults that the URL may override. A server that vanished silently is noticed after about 10 s.
"""
_ADVISORY_LOCK_ID = 0x6465_7666_6C6F_77
"""The ledger's advisory lock ("devflow"): only its holder may extend the chain."""


class PostgresEngine:
    """A database on a server. An advisory lock lets one process at a time extend the chain.

    Args:
        url: `postgresql://user:password@host/database`; libpq's parameters are accepted.
        folder: for the store's own files, among them the noted head.
    """

    dialect = "postgresql"

    def __init__(self, url: str, *, folder: Path) -> None:
        self.folder = folder
        self._url = url
        self._head_file = HeadFile(folder / f"postgresql-{_name_database(url)}")

    def prepare(self) -> None:
        self._head_file.refuse_link()
        noted, session = self.noted_head(), self.open_writer()
        try:
            if read_version(session, self.dialect):
                require_row(session, noted)
            elif noted is not None and not noted.startswith("0:"):
                raise self._missing_error(noted)
            migrate(session, self.dialect)
        except LedgerUnavailable as error:
            if error.state == LedgerState.REPLACED and noted is not None:
                raise self._missing_error(noted) from error
            raise
        finally:
            session.close()

    def _missing_error(self, noted: str) -> LedgerCorrupt:
        error = LedgerCorrupt(
            f"The ledger in PostgreSQL is not the one that was written last: "
            f"{self._head_file.path} notes {noted.partition(':')[0]} rows that are not in it. Put "
            "it back with `pg_restore`. To go on with what is there, or to begin anew, remove "
            "that note."
        )
        error.state = LedgerState.REPLACED
        return error

    def check_rest(self, is_over: Callable[[], bool]) -> None:
        """Do nothing: the server checks its own files."""

    def noted_head(self) -> str | None:
        return self._head_file.read()

    def open_writer(self) -> PostgresSession:
        """Open the writer's session; its commits are durable at the server when they return."""
        session = self._connect()
        session.execute("SET synchronous_commit = on")
        session.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        return session

    def open_reader(self) -> PostgresSession:
        session = self._connect()
        session.execute("SET default_transaction_read_only = on")
        return session

    def on_commit(self, head: str) -> None:
        """Note the chain's head in a local file, which a replaced database would not match."""
        self._head_file.write(head)

    def backup(self, target: Path) -> None:
        """Refuse: a database on a server is backed up with the server's own tools."""
        raise InvalidRequest(f"A ledger in PostgreSQL is backed up by `pg_dump`, not to {target}.")

    def compact(self) -> None:
        """Do nothing: the server vacuums by itself."""

    def close(self) -> None:
        self._head_file.close()

    def _connect(self) -> PostgresSession:
        try:
            where = make_conninfo("", **{**_CONNECTION, **conninfo_to_dict(self._url)})
            connection = psycopg.connect(where, autocommit=True)
        except psycopg.Error as error:
            raise _translate_error(error) from None  # its own text may quote the password
        return PostgresSession(connection)


class PostgresSession:
    """A connection to the server, made by `PostgresEngine`."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.waits_for_lock = False
        self._connection = connection

    def execute(self, sql: str, values: Sequence[SqlValue] = (), /) -> Rows:
        try:
            cursor = self._connection.execute(_translate_placeholders(sql), values or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise _translate_error(error) from error
        except UnicodeEncodeError as error:
            raise StoreError("A text for the ledger is not Unicode; it was not written.") from error

    def stream(self, sql: str, values: Sequence[SqlValue] = (), /) -> Iterable[tuple[Any, ...]]:
        """Stream the rows through a server-side cursor."""
        try:
            with self._connection.transaction(), self._connection.cursor("stream") as cursor:
                cursor.itersize = 5_000
                cursor.execute(_translate_placeholders(sql), values or None)
                yield from cursor
        except psycopg.Error as error:
            raise _translate_error(error) from error

    def begin(self) -> None:
        self.execute("BEGIN")
        self.waits_for_lock = True
        try:
            self.execute(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK_ID})")
        finally:
            self.waits_for_lock = False

    def freeze(self) -> None:
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def commit(self) -> None:
        self.execute("COMMIT")

    def touch(self) -> None:
        """Force a write by updating a row of ours to the value it already has."""
        self.execute("UPDATE store_schema SET version = version")

    def look(self, *, is_ahead: bool = False) -> None:
        """Do nothing: the server guards its own files."""

    def rollback(self) -> None:
        if not self._connection.closed and self._connection.info.transaction_status:
            try:
                self._connection.execute("ROLLBACK")
            except psycopg.Error:
                return  # the server has rolled back on its own

    def close(self) -> None:
        self._connection.close()


@lru_cache(maxsize=512)
def _translate_placeholders(sql: str) -> LiteralString:
    # SQL is made of constants of this package, none of which holds `?` or `%` in a literal
    return cast("LiteralString", sql.replace("?", "%s"))


def _translate_error(error: psycopg.Error) -> StoreError:
    """Return our error for PostgreSQL's, naming only its kind, since its text may hold values."""
    kind = type(error).__name__
    if isinstance(error, IntegrityError):
        return DuplicateKey(f"A row of the ledger is there already ({kind}).")
    if isinstance(error, DeadlockDetected | SerializationFailure):
        return StoreError(f"The ledger's database is busy ({kind}). Try again.")
    for kinds, state, message in _STATES:
        if isinstance(error, kinds):
            return LedgerUnavailable(f"{message} ({kind}).", state)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        if _NO_DATABASE.search(str(error)):
            return LedgerUnavailable(_GONE, LedgerState.VANISHED)
        return LedgerUnavailable(
            f"The ledger's PostgreSQL server cannot be used ({kind}).", LedgerState.UNREACHABLE
        )
    return StoreError(f"The ledger's database refused a statement ({kind}).")


_GONE = "The ledger's database is gone from its PostgreSQL server. Put it back with `pg_restore`"
_NO_DATABASE = re.compile(r'database "[^"]*" does not exist')
_STATES: tuple[tuple[tuple[type[psycopg.Error], ...], LedgerState, str], ...] = (
    (
        (LockNotAvailable, QueryCanceled),
        LedgerState.LOCKED,
        "The ledger's database is busy. Try again",
    ),
    ((DiskFull,), LedgerState.FULL, "No space is left for the ledger's PostgreSQL server"),
    ((ReadOnlySqlTransaction,), LedgerState.READ_ONLY, "The ledger's database is read-only"),
    ((UndefinedTable, InvalidCatalogName), LedgerState.VANISHED, _GONE),
)


def _name_database(url: str) -> str:
    """Return a name for the database of a URL, independent of the user."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        parts = dict[str, str]()  # connecting reports what is wrong
    where = [str(parts.get(one, "")) for one in ("host", "hostaddr", "port", "dbname")]
    return sha256("\0".join(where).encode()).hexdigest()[:12]
