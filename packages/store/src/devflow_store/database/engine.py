"""What the store asks of a database: a few blocking calls, the same over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from devflow_core.errors import StoreError

SqlValue = int | float | str | bytes | None
Rows = list[tuple[Any, ...]]


class DuplicateKey(StoreError):
    """A unique key is there already: the row was written before."""


class Session(Protocol):
    """One open connection, used by one thread at a time. Placeholders are `?`."""

    waits_for_lock: bool
    """Whether it waits for another writer just now; may be read by any thread."""

    def execute(self, sql: str, values: Sequence[SqlValue] = (), /) -> Rows:
        """Run one statement and return all its rows.

        Raises:
            DuplicateKey: a unique key is taken.
            LedgerUnavailable: disk full, file read-only, server gone.
            LedgerCorrupt: the file is damaged.
            StoreError: anything else.
        """
        ...

    def stream(self, sql: str, values: Sequence[SqlValue] = (), /) -> Iterable[tuple[Any, ...]]:
        """The rows of a query, fetched as they are read."""
        ...

    def begin(self) -> None:
        """Start a transaction that excludes every other writer."""
        ...

    def commit(self) -> None:
        """Make it durable. An error means unknown, not failed."""
        ...

    def touch(self) -> None:
        """Write what means nothing, so that the commit has to reach the disk."""
        ...

    def look(self, *, is_ahead: bool = False) -> None:
        """Check that what is open is still what others find under the ledger's name; microseconds.

        Before a commit is acknowledged it says whether anybody will find it there.

        Args:
            is_ahead: only for what a write would cover up; another look follows it.

        Raises:
            LedgerUnavailable, LedgerCorrupt: it was deleted, replaced, cut or overwritten.
        """
        ...

    def rollback(self) -> None:
        """Undo; never raises."""
        ...

    def close(self) -> None:
        """Release the connection; never raises."""
        ...


class Engine(Protocol):
    """A database that can be opened."""

    dialect: str
    """`sqlite` or `postgresql`."""
    folder: Path
    """Where files that belong to the store are kept, unless its user says otherwise."""

    def prepare(self) -> None:
        """Create or upgrade what is there; called once, before the first connection.

        Raises:
            LedgerCorrupt: what is there is damaged; it is left as it is.
            StoreError: it cannot be opened.
        """
        ...

    def open_writer(self) -> Session:
        """A connection for the one writing thread."""
        ...

    def open_reader(self) -> Session:
        """A connection that cannot write."""
        ...

    def noted_head(self) -> str | None:
        """`number:hash` of a row that was written, by this process or one before it."""
        ...

    def on_commit(self, head: str) -> None:
        """Called after every commit with `number:hash` of the last row; microseconds."""
        ...

    def backup(self, target: Path) -> None:
        """Write a verified copy to a new file, while others go on writing.

        Raises:
            InvalidRequest: the file is there already, or this database is backed up otherwise.
            StoreError, LedgerCorrupt: it could not be made, or is not whole.
        """
        ...

    def compact(self) -> None:
        """Leave no trace of deleted content in the files."""
        ...

    def close(self) -> None:
        """Release what is not a connection."""
        ...
