"""Defines the database interface: a few blocking calls, over SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from devflow_core.errors import StoreError

SqlValue = int | float | str | bytes | None
"""A value that both databases can store."""
Rows = list[tuple[Any, ...]]
"""All rows of a result, each with its columns in the order of the statement."""


class DuplicateKey(StoreError):
    """A unique key already exists: the row was written before."""


class Session(Protocol):
    """An open connection, used by one thread at a time. Placeholders are `?`."""

    waits_for_lock: bool
    """Whether it is waiting for another writer; may be read from any thread."""

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
        """Yield the rows of a query, fetched as they are read; raises the errors of `execute`."""
        ...

    def begin(self) -> None:
        """Begin a transaction that excludes every other writer.

        Raises:
            LedgerUnavailable: another writer held the lock for too long, or the database is gone.
            StoreError: anything else.
        """
        ...

    def freeze(self) -> None:
        """Read the state of now until the connection is closed, whatever others write meanwhile.

        Raises:
            StoreError: the database cannot be read.
        """
        ...

    def commit(self) -> None:
        """Commit durably. An error means that the outcome is unknown, not that it failed."""
        ...

    def touch(self) -> None:
        """Make a change without effect, so that the commit has to reach the disk."""
        ...

    def look(self, *, is_ahead: bool = False) -> None:
        """Check that the open files are still those under the ledger's name; takes microseconds.

        Called before a commit is acknowledged: a commit to a deleted file would be lost.

        Args:
            is_ahead: whether to check only what a write would hide; a full check follows it.

        Raises:
            LedgerUnavailable, LedgerCorrupt: a file was deleted, replaced, cut or overwritten.
        """
        ...

    def rollback(self) -> None:
        """Roll the transaction back; never raises."""
        ...

    def close(self) -> None:
        """Close the connection; never raises."""
        ...


class Engine(Protocol):
    """A database that sessions can be opened on."""

    dialect: str
    """`sqlite` or `postgresql`."""
    folder: Path
    """The default folder for the store's own files."""

    def prepare(self) -> None:
        """Create or upgrade the tables; called once, before the first connection.

        Raises:
            LedgerCorrupt: the ledger is damaged; it is left unchanged.
            StoreError: the database cannot be opened.
        """
        ...

    def check_rest(self, is_over: Callable[[], bool]) -> None:
        """Look for damage in what `prepare` has not checked, for some seconds at the most.

        Args:
            is_over: asked every millisecond or so whether to stop; may be asked from any thread.

        Raises:
            LedgerCorrupt: the ledger is damaged; the next writer checks it in full.
            StoreError: the database cannot be read.
        """
        ...

    def open_writer(self) -> Session:
        """Open a session for the writing thread; the caller closes it.

        Raises:
            LedgerUnavailable, LedgerCorrupt: the ledger is missing, replaced or damaged.
            StoreError: anything else.
        """
        ...

    def open_reader(self) -> Session:
        """Open a session that cannot write; the caller closes it.

        Raises:
            LedgerUnavailable, LedgerCorrupt: the ledger is missing or cannot be reached.
            StoreError: anything else.
        """
        ...

    def noted_head(self) -> str | None:
        """Return `number:hash` of the row noted last, by any process; None if none is noted."""
        ...

    def on_commit(self, head: str) -> None:
        """Note `number:hash` of the last row; called after every commit; takes microseconds."""
        ...

    def backup(self, target: Path) -> None:
        """Write a verified copy to a new file, while other processes continue to write.

        Raises:
            InvalidRequest: the file exists already, or this database has its own backup tools.
            StoreError, LedgerCorrupt: the copy could not be written, or does not verify.
        """
        ...

    def compact(self) -> None:
        """Remove traces of deleted content from the files."""
        ...

    def close(self) -> None:
        """Release the engine's own files; sessions are closed by their callers."""
        ...
