"""Writes sections of docs/reliability.md; each benchmark replaces only its own.

A section stands between `<!-- begin: NAME (command) -->` and `<!-- end: NAME -->`. A benchmark has

    section = reliability_page.Section(name="storm", command="uv run python benchmarks/storm.py")
    ...
    section.write(markdown)

and the date, the command and the load of the machine before and after are written above what it
gives. Two benchmarks may end at the same moment: the page is locked while it is changed.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A marked section of the page; create it before the run, to record the time and the load."""

    name: str
    command: str
    page: Path = PAGE
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def write(self, markdown: str) -> None:
        """Replace the section's text with `markdown`, below a line on the conditions of the run."""
        replace_section(self.page, self.name, self.command, f"{self._conditions()}\n\n{markdown}")

    def _conditions(self) -> str:
        minutes = (datetime.now(UTC) - self.started).total_seconds() / 60
        return (
            f"`{self.command}`, {self.started:%Y-%m-%d %H:%M} UTC, {minutes:.1f} minutes;"
            f" {os.cpu_count()} cores, Python {platform.python_version()}; load of the machine"
            f" {self.load_before:.1f} before and {os.getloadavg()[0]:.1f} after."
        )


def replace_section(page: Path, name: str, command: str, markdown: str) -> None:
    """Replace the text between a section's marks.

    Raises:
        LookupError: The page has no such section, or has it twice.
    """
    with page.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        marks = re.compile(
            rf"<!-- begin: {re.escape(name)} \(.*?\) -->\n.*?<!-- end: {re.escape(name)} -->",
            re.DOTALL,
        )
        section = f"<!-- begin: {name} ({command}) -->\n{markdown.strip()}\n<!-- end: {name} -->"
        changed, count = marks.subn(lambda _: section, text)
        if count != 1:
            raise LookupError(f"{page} has {count} sections named {name!r}; it needs exactly one")
        file.seek(0)
        file.write(changed)
        file.truncate()


def table(head: Sequence[str], rows: Sequence[Sequence[object]], align: str = "") -> str:
    """Return a Markdown table; `align` has `r` for a column of figures, else `l`."""
    marks = ["---:" if align[at : at + 1] == "r" else "---" for at in range(len(head))]
    lines = [head, marks, *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
