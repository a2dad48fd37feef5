"""Text that a stranger may have chosen, made safe for where it is shown or kept.

Whole texts go on to a terminal, a spreadsheet or JSON; names (of providers, models, calls, kinds
of errors) into headers, rows of the ledger, tables and pages. What may hold a secret is masked.
"""

from __future__ import annotations

import re

from devflow_core.masking import mask

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Control characters, line separators and marks of direction: never part of a label."""
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")
"""What spreadsheets take for the start of a formula, full-width forms included."""
_STEERING = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""What JSON leaves as it is and a terminal obeys, hides, or turns round."""
_MARKUP = re.compile(r"<(script|style)\b.*?(</\1>|$)|<[^>]*>?", re.DOTALL | re.IGNORECASE)
_MAX_SECRET_CHARS = 1024
MAX_NAME_CHARS = 200
_CHARS = r"\w .:/@+~(){}\[\]&',*!=-"
_PLAIN = re.compile(rf"[{_CHARS}]{{0,{MAX_NAME_CHARS}}}", re.ASCII)
_OTHER = re.compile(rf"[^{_CHARS}]", re.ASCII)
_WORD = re.compile(r"[\w.:/-]{1,64}")


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


def excerpt(raw: bytes | str, limit: int = 200) -> str:
    """At most `limit` characters in one line, without control characters, markup or secrets."""
    most = limit * 8 + _MAX_SECRET_CHARS
    text = raw[:most] if isinstance(raw, str) else raw[:most].decode(errors="replace")
    text = mask(text)[: limit * 8]  # before it is cut, lest half a key be missed
    text = _MARKUP.sub(" ", text)
    text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def are_plain_names(*names: str | None) -> bool:
    """Whether each may be used as it is, as far as its characters and its length go."""
    return all(name is None or _PLAIN.fullmatch(name) is not None for name in names)


def clean_name(name: str | None) -> str | None:
    """The name without secrets, with `?` for what no name holds, and cut; None stays None."""
    if name is None:
        return None
    return _OTHER.sub("?", mask(name))[:MAX_NAME_CHARS]


def plain_word(name: object) -> str:
    """A caller's name for something, where it is a plain word; else words that stand for it."""
    return name if isinstance(name, str) and _WORD.fullmatch(name) else "of that name"
