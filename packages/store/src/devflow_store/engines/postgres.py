"""The store over PostgreSQL, for gateways on several machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from devflow_core.errors import InvalidRequest, StoreError
from psycopg.errors import (
    DeadlockDetected,
    IntegrityError,
    LockNotAvailable,
    QueryCanceled,
    SerializationFailure,
)

from devflow_store.database.engine import DatabaseUnavailable, DuplicateKey, Rows, SqlValue
from devflow_store.database.schema import migrate

CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_MS = 10_000
"""How long a group waits for the groups of other processes."""
_ADVISORY_LOCK_ID = 0x6465_7666_6C6F_77
"""The advisory lock of the ledger ("devflow"): who holds it may extend the chain."""


class PostgresEngine:
    """A database on a server. One process at a time extends the chain, under an advisory lock.

    Args:
        url: `postgresql://user:password@host/database`; libpq's parameters are understood.
        folder: where files that belong to the store are kept.
    """

    dialect = "postgresql"

    def __init__(self, url: str, *, folder: Path = Path()) -> None:
        self.folder = folder
        self._url = url

    def prepare(self) -> None:
        """As `Engine.prepare`."""
        session = self.open_writer()
        try:
            migrate(session, self.dialect)
        finally:
            session.close()

    def open_writer(self) -> PostgresSession:
        """As `Engine.open_writer`; commits are durable at the server when they return."""
        session = self._connect()
        session.execute("SET synchronous_commit = on")
        session.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        return session

    def open_reader(self) -> PostgresSession:
        """As `Engine.open_reader`."""
        session = self._connect()
        session.execute("SET default_transaction_read_only = on")
        return session

    def on_commit(self, head: str) -> None:
        """As `Engine.on_commit`; the server keeps its own log, so nothing is noted."""

    def backup(self, target: Path) -> None:
        """As `Engine.backup`: not ours to do."""
        raise InvalidRequest(f"A ledger in PostgreSQL is backed up by `pg_dump`, not to {target}.")

    def compact(self) -> None:
        """As `Engine.compact`: the server vacuums by itself."""

    def close(self) -> None:
        """As `Engine.close`; nothing is held."""

    def _connect(self) -> PostgresSession:
        try:
            connection = psycopg.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
            )
        except psycopg.Error as error:
            raise _translate_error(error) from None  # its own text may quote the password
        return PostgresSession(connection)


class PostgresSession:
    """A connection to the server."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[SqlValue] = (), /) -> Rows:
        """As `Session.execute`."""
        try:
            cursor = self._connection.execute(_translate_placeholders(sql), values or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise _translate_error(error) from error
        except UnicodeEncodeError as error:
            raise StoreError("A text for the ledger is no Unicode; nothing was written.") from error

    def stream(self, sql: str, values: Sequence[SqlValue] = (), /) -> Iterable[tuple[Any, ...]]:
        """As `Session.stream`, through a cursor at the server."""
        try:
            with self._connection.transaction(), self._connection.cursor("stream") as cursor:
                cursor.itersize = 5_000
                cursor.execute(_translate_placeholders(sql), values or None)
                yield from cursor
        except psycopg.Error as error:
            raise _translate_error(error) from error

    def begin(self) -> None:
        """As `Session.begin`."""
        self.execute("BEGIN")
        self.execute(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK_ID})")

    def commit(self) -> None:
        """As `Session.commit`."""
        self.execute("COMMIT")

    def rollback(self) -> None:
        """As `Session.rollback`."""
        if not self._connection.closed and self._connection.info.transaction_status:
            try:
                self._connection.execute("ROLLBACK")
            except psycopg.Error:
                return  # the server has rolled back by itself

    def close(self) -> None:
        """As `Session.close`."""
        self._connection.close()


@lru_cache(maxsize=512)
def _translate_placeholders(sql: str) -> LiteralString:
    # SQL is made of constants of this package, none of which holds `?` or `%` in a literal
    return cast("LiteralString", sql.replace("?", "%s"))


def _translate_error(error: psycopg.Error) -> StoreError:
    """PostgreSQL's error as ours; its text may hold values, so only its kind is told."""
    kind = type(error).__name__
    if isinstance(error, IntegrityError):
        return DuplicateKey(f"A row of the ledger is there already ({kind}).")
    busy = (LockNotAvailable, DeadlockDetected, SerializationFailure, QueryCanceled)
    if isinstance(error, busy):
        return StoreError(f"The ledger's database is busy ({kind}). Try again.")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return DatabaseUnavailable(f"The ledger's PostgreSQL server cannot be used ({kind}).")
    return StoreError(f"The ledger's database refused a statement ({kind}).")
