"""What is wrong with a transcript, as far as a reader can tell: for the reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

_MAX_LISTED = 20


class LineList(NamedTuple):
    """Some lines of a file: how many, and the numbers of the first."""

    total: int = 0
    first: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {"count": self.total, "lines": list(self.first)}

    def describe(self) -> str:
        """`line 4`, or `3 lines (4, 5, 9)`."""
        numbers = ", ".join(map(str, self.first))
        more = ", …" if self.total > len(self.first) else ""
        return f"line {numbers}" if self.total == 1 else f"{self.total} lines ({numbers}{more})"


def list_lines(numbers: Iterable[int]) -> LineList:
    """These numbers, each once."""
    unique = sorted(set(numbers))
    return LineList(len(unique), tuple(unique[:_MAX_LISTED]))


class Damage(NamedTuple):
    """What a transcript has lost, and what was read of it all the same."""

    unreadable: LineList = LineList()
    """Lines with bytes that belong to no whole record; what they held is lost."""
    overlong: LineList = LineList()
    """Lines that are too long to be read."""
    salvaged: LineList = LineList()
    """Lines that are not one clean record; every whole record in them was taken."""
    bridged: LineList = LineList()
    """Rows that follow one which is not there; they were joined to the row before in the file."""

    def as_json(self) -> dict[str, Any]:
        """As the command line prints it under `damage`; empty for a sound transcript."""
        found = zip(self._fields, self, strict=True)
        return {f"{name}_lines": lines.as_json() for name, lines in found if lines.total}

    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind, for people."""
        sentences = (
            ("could not be read, and what stood there is missing", self.unreadable),
            ("skipped, being longer than any request may be", self.overlong),
            ("damaged; the whole records in it were used", self.salvaged),
            ("without the row it follows; joined to the row before in the file", self.bridged),
        )
        return tuple(f"{lines.describe()}: {words}" for words, lines in sentences if lines.total)
