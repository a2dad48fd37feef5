"""Text that a stranger may have chosen, made safe for a terminal, a spreadsheet and JSON."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Control characters, line separators and marks of direction: never part of a label."""
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")
"""What spreadsheets take for the start of a formula, full-width forms included."""
_STEERING = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""What JSON leaves as it is and a terminal obeys, hides, or turns round."""


def replace_control_characters(text: str) -> str:
    """A label without control characters, which could write to a terminal."""
    return _CONTROL.sub("\ufffd", text)


def escape_formula(text: str) -> str:
    """A label for a cell that no spreadsheet runs as a formula, and that stays in its line."""
    cell = replace_control_characters(text)
    return f"'{cell}" if _FORMULA.match(text) else cell


def escape_json(document: str) -> str:
    """The same JSON, with every character that steers a terminal written as an escape.

    They can only stand inside the document's texts, where an escape means the same.
    """
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
