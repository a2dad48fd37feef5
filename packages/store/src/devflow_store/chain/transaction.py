"""Builds one group of writes in memory, and sends it to the database in few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

from devflow_store.chain.hashing import GENESIS, ChainRow, hash_body, hash_row
from devflow_store.chain.records import RowKind
from devflow_store.database.engine import Rows, Session, SqlValue
from devflow_store.database.insert import Insert
from devflow_store.database.schema import require_tables
from devflow_store.health import LedgerState, LedgerUnavailable

_CHUNK_SIZES = (64, 16, 4, 1)
"""Rows per INSERT: few and large ones, as every statement releases the interpreter lock."""
T = TypeVar("T")
_CHAIN = Insert("chain", ("seq", "kind", "key", "ref", "at_us", "body", "hash"))


class Transaction:
    """The operations that a job may use; rows are buffered, the writer flushes and commits them.

    Args:
        session: inside a transaction that excludes other writers.
        now_us: the time of this group, in microseconds since 1970.
    """

    def __init__(self, session: Session, now_us: int) -> None:
        self.now_us = now_us
        self.seq, self.hash = read_head(session)
        """The number and hash of the last row of the chain, buffered ones included."""
        self.base_hash, self._base_seq, self._is_touched = self.hash, self.seq, False
        self.before_flush: list[Callable[[], None]] = []
        """Called once when the group is complete, to add what was collected in memory."""
        self._session = session
        self._pending_deletes: dict[tuple[str, str], list[SqlValue]] = {}
        self._pending_inserts: dict[Insert, list[tuple[SqlValue, ...]]] = {}

    def append(
        self,
        kind: RowKind,
        key: str,
        body: bytes,
        *,
        at_us: int | None = None,
        ref: int | None = None,
    ) -> int:
        """Add a row to the chain and return its number.

        Args:
            kind: the kind of the row.
            key: a text that no other row has; a duplicate fails when the rows are sent.
            body: sealed by the row's hash.
            at_us: when the row's subject began, in microseconds since 1970; None: now.
            ref: the number of the row that this one changes; None: it changes none.
        """
        self.seq += 1
        row = ChainRow(self.seq, kind, key, ref, at_us or self.now_us, hash_body(body))
        self.hash = hash_row(self.hash, row)
        self.insert(_CHAIN, (row.seq, kind, key, ref, row.at_us, body, self.hash))
        return row.seq

    def insert(self, into: Insert, row: tuple[SqlValue, ...]) -> None:
        """Buffer a row for a table."""
        self._pending_inserts.setdefault(into, []).append(row)

    def delete(self, table: str, column: str, value: SqlValue) -> None:
        """Buffer a deletion, which is carried out after all buffered rows are inserted."""
        self._pending_deletes.setdefault((table, column), []).append(value)

    def execute(self, sql: str, values: Sequence[SqlValue] = (), /) -> Rows:
        """Run a statement now and return its rows; it does not see buffered rows."""
        return self._session.execute(sql, values)

    def find_seq(self, key: str) -> int | None:
        """Return the number of the row with this key; None if there is none, or it is buffered."""
        rows = self._session.execute("SELECT seq FROM chain WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def touch(self) -> None:
        """Make a change without effect, so that the commit shows whether writing works.

        Raises:
            LedgerUnavailable: a table is gone, or the change is impossible.
        """
        require_tables(self._session)
        self._session.touch()
        self._is_touched = True

    @property
    def is_proof(self) -> bool:
        """Whether the commit has to reach the disk, and so proves that writing works."""
        return self._is_touched or self.seq > self._base_seq

    def finish(self) -> None:
        """Call `before_flush`, then send all buffered rows; the writer commits."""
        for gather in self.before_flush:
            gather()
        self.flush()

    def flush(self) -> None:
        """Send the buffered rows, so that queries see them."""
        for into, rows in self._pending_inserts.items():
            for chunk in _chunks(rows):
                values = [value for row in chunk for value in row]
                self._session.execute(into.sql(len(chunk)), values)
        self._pending_inserts.clear()
        for (table, column), deletes in self._pending_deletes.items():
            for chunk in _chunks(deletes):
                self._session.execute(_delete_sql(table, column, len(chunk)), chunk)
        self._pending_deletes.clear()


def require_row(session: Session, noted: str | None) -> None:
    """Check that the chain still contains a row that was written.

    Args:
        session: a connection that has read nothing since before the row was noted.
        noted: `number:hash` of the row; None skips the check.

    Raises:
        LedgerUnavailable: the row is missing: another ledger or an older copy was put in place.
    """
    if not has_row(session, noted):
        raise replaced_error(int((noted or "0:").partition(":")[0]))


def has_row(session: Session, noted: str | None) -> bool:
    """Return whether the chain contains the row `number:hash`; True for None and for row 0."""
    number, _, digest = (noted or "0:").partition(":")
    if number == "0":
        return True
    rows = session.execute("SELECT hash FROM chain WHERE seq = ?", (int(number),))
    return bool(rows) and bytes(rows[0][0]).hex() == digest


def replaced_error(number: int) -> LedgerUnavailable:
    """Return the error for a ledger that lacks the row `number`, which was written."""
    return LedgerUnavailable(
        f"Another ledger has taken the place of this one, or an older copy of it: row {number}, "
        "which was written, is not in it. Put the right one back; nothing is booked until then. "
        "With a backup in its place (`devflow ledger restore`) start anew.",
        LedgerState.REPLACED,
    )


def read_head(session: Session) -> tuple[int, bytes]:
    """Return the number and the hash of the last row; 0 and `GENESIS` for an empty chain."""
    rows = session.execute("SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1")
    return rows[0] if rows else (0, GENESIS)


def _chunks(rows: list[T]) -> Iterator[list[T]]:
    at = 0
    while at < len(rows):
        size = next(size for size in _CHUNK_SIZES if size <= len(rows) - at)
        yield rows[at : at + size]
        at += size


@lru_cache(maxsize=64)
def _delete_sql(table: str, column: str, count: int) -> str:
    return f"DELETE FROM {table} WHERE {column} IN ({', '.join('?' * count)})"  # noqa: S608 - constants
