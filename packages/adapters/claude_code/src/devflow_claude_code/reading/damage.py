"""Describes the damage of a transcript, as far as a reader can detect it, for the reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

_MAX_LISTED = 20
"""The most line numbers listed; the rest is only counted, so that a report stays readable."""


class LineList(NamedTuple):
    """Lines of a file: their total, and the numbers of the first ones, from 1."""

    total: int = 0
    first: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return `{"count": total, "lines": [first numbers]}`."""
        return {"count": self.total, "lines": list(self.first)}

    def describe(self) -> str:
        """Describe the lines: `line 4`, or `3 lines (4, 5, 9)`; at least one is needed."""
        numbers = ", ".join(map(str, self.first))
        more = ", …" if self.total > len(self.first) else ""
        return f"line {numbers}" if self.total == 1 else f"{self.total} lines ({numbers}{more})"


def list_lines(numbers: Iterable[int]) -> LineList:
    """Count line numbers, each once, and list the lowest of them."""
    unique = sorted(set(numbers))
    return LineList(len(unique), tuple(unique[:_MAX_LISTED]))


class Damage(NamedTuple):
    """The damage of a transcript: lines that are lost, and lines that were read in spite of it."""

    unreadable: LineList = LineList()
    """Lines with bytes that belong to no complete record; their content is lost."""
    overlong: LineList = LineList()
    """Lines that are too long to be read."""
    salvaged: LineList = LineList()
    """Lines that are not one clean record; every complete record in them was used."""
    bridged: LineList = LineList()
    """Rows whose parent is missing; they were attached to the row before them in the file."""

    def as_json(self) -> dict[str, Any]:
        """Return the lines of each kind of damage found, such as `unreadable_lines`.

        The object is empty for an intact transcript.
        """
        found = zip(self._fields, self, strict=True)
        return {f"{name}_lines": lines.as_json() for name, lines in found if lines.total}

    def notes(self) -> tuple[str, ...]:
        """Describe each kind of damage found, for people: `line 4: damaged; …`."""
        sentences = (
            ("could not be read; the content is lost", self.unreadable),
            ("longer than any request can be; skipped", self.overlong),
            ("damaged; the complete records were used", self.salvaged),
            ("parent row missing; attached to the row before in the file", self.bridged),
        )
        return tuple(f"{lines.describe()}: {words}" for words, lines in sentences if lines.total)
