"""Verifies the chain: recomputes every row, and names the first bad one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson
from devflow_core.errors import LedgerCorrupt

from devflow_store.chain.hashing import GENESIS, ChainRow, hash_body, hash_row
from devflow_store.chain.records import RowKind
from devflow_store.database.engine import Session
from devflow_store.entries import queries
from devflow_store.entries.call_rows import CALL_COLUMNS, LABELS, build_call_rows
from devflow_store.entries.day_sums import SUMS_SINCE, find_wrong_sums
from devflow_store.entries.queries import EntryFilter
from devflow_store.integrity.settings_seal import SettingsSeal

_CHAIN = "SELECT seq, kind, key, ref, at_us, body, digest, hash FROM chain ORDER BY seq"
_NO_CALLS: tuple[int, list[tuple[Any, ...]]] = (2**62, [])
"""The mark of the table's end: a number beyond that of every row, without calls."""
_TAIL_ROWS = 256
"""The number of rows at the end of the chain that every start checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainVerification:
    """The result of verifying the whole ledger."""

    ok: bool
    entries: int
    """Requests in the chain, including erased ones."""
    rows: int
    """Rows whose hashes are right, before the first that is wrong."""
    first_bad: int | None = None
    """The number of the first row that was changed, lost or inserted; None if `ok`."""
    reason: str | None = None
    """The fault of that row, in words for a person; None if `ok`."""
    head: str = ""
    """The number and hash of the last good row, as `number:hash`.

    Kept elsewhere, it later proves that no rows are missing at the end.
    """


def verify(session: Session, *, anchor: str | None = None) -> ChainVerification:
    """Recompute the chain from the first row on, then compare what is derived from it.

    The reports' tables are compared with the entries; client keys, budgets and nodes are compared
    with their recorded changes.

    Args:
        session: a reading connection, frozen if others may write meanwhile.
        anchor: a `head` noted earlier, which the chain must still contain; None: any length is
            right.

    Raises:
        StoreError: the ledger cannot be read.
    """
    walk = _ChainWalk(anchor)
    try:
        for values in session.stream(_CHAIN):
            if reason := walk.check_row(values):
                return walk.to_verification(reason)
        if fault := walk.check_complete():
            return walk.to_verification(*fault)
        if fault := (
            _find_wrong_call(session)
            or _find_wrong_sums(session)
            or walk.settings.find_difference(session)
        ):
            return walk.to_verification(*fault)
    except LedgerCorrupt as error:
        return walk.to_verification(str(error))
    return walk.to_verification(None)


def verify_tail(session: Session, anchor: str | None) -> str | None:
    """Return what is wrong with the last rows or with their number; None if nothing is.

    Args:
        session: a reading connection.
        anchor: a `head` noted earlier, which the chain must still contain; None: any length is
            right.
    """
    rows = session.execute(f"{_CHAIN} DESC LIMIT {_TAIL_ROWS}")
    walk = _ChainWalk(anchor)
    if len(rows) == _TAIL_ROWS:
        walk.start_after(rows.pop())
    for values in reversed(rows):
        if reason := walk.check_row(values):
            return reason
    return walk.check_length()


class _ChainWalk:
    def __init__(self, anchor: str | None) -> None:
        number, _, self._anchor_hash = (anchor or "0:").partition(":")
        self._anchor_seq = int(number)
        self._seq = 0
        self._hash = GENESIS
        self._entries = 0
        self._bodiless_rows: list[int] = []
        self._erased_ranges: list[tuple[int, int]] = []
        self.settings = SettingsSeal()

    def start_after(self, values: tuple[Any, ...]) -> None:
        """Trust one row, and begin after it."""
        self._seq, self._hash = values[0], values[-1]

    def check_row(self, values: tuple[Any, ...]) -> str | None:
        """Return what is wrong with the next row; if nothing is, accept it and return None."""
        seq, kind, key, ref, at_us, body, erased_digest, stored = values
        if seq != self._seq + 1:
            return f"row {self._seq + 1} is missing"
        content = erased_digest if body is None else hash_body(body)
        if content is None:
            return f"row {seq} ({key}) has lost its content"
        link_hash = hash_row(self._hash, ChainRow(seq, kind, key, ref, at_us, content))
        if link_hash != stored:
            return f"row {seq} ({key}) is not what was written"
        if seq == self._anchor_seq and stored.hex() != self._anchor_hash:
            return f"row {seq} ({key}) is not the one that was noted as the head"
        self._advance(values)
        return None

    def _advance(self, values: tuple[Any, ...]) -> None:
        self._seq, kind, _key, _ref, at_us, body, _digest, self._hash = values
        self._entries += kind == RowKind.ENTRY
        if body is None:
            self._bodiless_rows.append(self._seq)
        elif kind == RowKind.ERASURE:
            self._erased_ranges += orjson.loads(body)["rows"]
        elif kind == RowKind.CHANGE:
            self.settings.follow(self._seq, at_us, body)

    def check_length(self) -> str | None:
        """Return what is wrong if rows are missing at the end; None if none are."""
        if self._seq < self._anchor_seq:
            return f"the last rows are missing: {self._seq} are left of {self._anchor_seq}"
        return None

    def check_complete(self) -> tuple[str, int] | None:
        """Return a fault that only the whole chain shows, with the row it concerns; else None."""
        if reason := self.check_length():
            return reason, self._seq + 1
        erased = iter(sorted(self._erased_ranges))
        first, last = next(erased, (0, -1))
        for seq in self._bodiless_rows:
            while seq > last and first >= 0:
                first, last = next(erased, (-1, -1))
            if not first <= seq <= last:
                return f"row {seq} has lost its content, and no erasure says why", seq
        return None

    def to_verification(
        self, reason: str | None, first_bad: int | None = None
    ) -> ChainVerification:
        found = ChainVerification(
            ok=reason is None,
            entries=self._entries,
            rows=self._seq,
            reason=reason,
            head=f"{self._seq}:{self._hash.hex()}",
        )
        return found if reason is None else replace(found, first_bad=first_bad or self._seq + 1)


def _find_wrong_call(session: Session) -> tuple[str, int] | None:
    """Return the first entry that the reports' table shows differently from the chain."""
    with closing(_read_calls(session)) as in_table:
        seq, rows = next(in_table, _NO_CALLS)
        for number, entry in queries.read_numbered(session, EntryFilter()):
            while seq < number:
                seq, rows = next(in_table, _NO_CALLS)  # of an erased entry
            if rows != build_call_rows(number, entry):
                return f"the table for reports shows {entry.entry_id} otherwise", number
            seq, rows = next(in_table, _NO_CALLS)
    return None


def _find_wrong_sums(session: Session) -> tuple[str, int] | None:
    """Return what is wrong with the sums of reports; tables of older schemas have none."""
    ((version,),) = session.execute("SELECT version FROM store_schema")
    return find_wrong_sums(session) if version >= SUMS_SINCE else None


def _read_calls(session: Session) -> Generator[tuple[int, list[tuple[Any, ...]]]]:
    """Yield the rows of the table for each entry, by the number of its chain row.

    Tables of an older schema lack the latest labels, which no row in them has: a copy of them is
    verified before it is upgraded.
    """
    columns = ", ".join(f"c.{name}" for name in CALL_COLUMNS)
    rows = session.stream(
        f"SELECT l.*, {columns} FROM calls c JOIN labels l ON l.id = c.labels "  # noqa: S608 - constants
        "ORDER BY c.seq, c.number, c.labels"
    )
    for seq, group in groupby(rows, key=itemgetter(1 - len(CALL_COLUMNS))):
        yield seq, [_as_built(row) for row in group]


def _as_built(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row in the form of `build_call_rows`; the table orders labels as `LABELS` does."""
    _id, *labels = row[: -len(CALL_COLUMNS)]
    missing = ("",) * (len(LABELS) - len(labels))
    return (*row[-len(CALL_COLUMNS) :], *labels, *missing)
