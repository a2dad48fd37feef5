"""Reads the requests that were written for the task classifier, and fills their slots."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SLOT = re.compile(r"\{([a-z]+)\}")
_MAX_VARIANTS = 3
"""The most texts that are made from one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRequest:
    """A request with its kind, and with how likely a small model is to fail at it."""

    language: str
    kind: str
    difficulty: float
    text: str
    line: int
    """The line that it was made from; its variants belong on one side of a split."""


def read_written_requests(path: Path) -> list[WrittenRequest]:
    """Return the requests of a file; the same for each reading.

    Raises:
        ValueError: a line is none of the forms that the file's head describes.
    """
    found: list[WrittenRequest] = []
    language, slots, choice = "", dict[str, list[str]](), random.Random(0)  # noqa: S311 - no secret
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("== "):
            language, slots, choice = line[3:], {}, random.Random(line)  # noqa: S311 - no secret
        elif line.startswith("="):
            name, values = line[1:].split("\t")
            slots[name] = values.split(" | ")
        elif line and not line.startswith("# "):
            kind, tenths, text = line.split("\t")
            found += (
                WrittenRequest(
                    language=language,
                    kind=kind,
                    difficulty=int(tenths) / 10,
                    text=one.replace("\\n", "\n"),
                    line=number,
                )
                for one in _fill(text, slots, choice)
            )
    return found


def _fill(text: str, slots: dict[str, list[str]], choice: random.Random) -> Iterator[str]:
    """Yield variants of a text: one without slots, two with one slot, else three.

    A passage counts as more than one slot, since it is most of a text.
    """
    names = {name for name in _SLOT.findall(text) if name in slots}
    variants = 1 if not names else 2 if names.isdisjoint({"passage"}) and len(names) == 1 else 3
    for _ in range(min(variants, _MAX_VARIANTS)):
        yield _SLOT.sub(
            lambda found: choice.choice(slots[found[1]]) if found[1] in slots else found[0], text
        )
