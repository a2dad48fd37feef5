"""Builds the tree of a transcript's rows, and closes the gaps that missing rows leave."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from functools import cached_property
from operator import attrgetter

from devflow_claude_code.reading.rows import TranscriptRow

_GRAPH_TYPES = frozenset({"user", "assistant", "system", "attachment", "progress"})
_MAX_ROWS_BACK = 1_000
"""The most rows to look back for the row before; parallel agents may have written in between."""
_line_of = attrgetter("line", "offset")


class RowGraph:
    """Rows and their parents. Of a row that was written twice, the last version counts."""

    def __init__(self, rows: Sequence[TranscriptRow]) -> None:
        self._by_uuid: dict[str | None, TranscriptRow] = {
            row.uuid: row for row in rows if row.uuid and row.type in _GRAPH_TYPES
        }
        self.rows = sorted(self._by_uuid.values(), key=_line_of)
        """All rows, in the order of the file."""

    def get(self, uuid: str | None) -> TranscriptRow | None:
        """Return the row with this uuid; None if it is missing or not part of a conversation."""
        return self._by_uuid.get(uuid)

    def parent_of(
        self, row: TranscriptRow, passed: Collection[str | None] = ()
    ) -> TranscriptRow | None:
        """Return the row that this one follows; None for a first row.

        If the parent is missing, or already in `passed` (a loop), it is the row before it in the
        file.
        """
        if row.parent is None:
            return None
        parent = self._by_uuid.get(row.parent)
        # a parent that was passed already would make a loop
        if parent is None or parent.uuid in passed:
            return self.row_before(row, passed)
        return parent

    def path_to(self, leaf: TranscriptRow) -> list[TranscriptRow]:
        """Return the rows from the root to this one, both included."""
        path: list[TranscriptRow] = []
        passed: set[str | None] = set()
        row: TranscriptRow | None = leaf
        while row is not None:
            passed.add(row.uuid)
            path.append(row)
            row = self.parent_of(row, passed)
        path.reverse()
        return path

    def row_before(
        self, row: TranscriptRow, passed: Collection[str | None] = ()
    ) -> TranscriptRow | None:
        """Return the last earlier row in the file that was not passed; None if there is none.

        Rows of the main chain follow each other, and so do those of sub-agents.
        """
        position = bisect_left(self.rows, _line_of(row), key=_line_of)
        for one in reversed(self.rows[max(position - _MAX_ROWS_BACK, 0) : position]):
            if one.is_sidechain == row.is_sidechain and one.uuid not in passed:
                return one
        return None

    @cached_property
    def orphans(self) -> list[TranscriptRow]:
        """Rows of the main chain whose parent is not in the file."""
        return [
            row
            for row in self.rows
            if row.parent and not row.is_sidechain and row.parent not in self._by_uuid
        ]
