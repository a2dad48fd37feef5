"""Makes text that a stranger may have chosen safe where it is shown or kept.

Whole texts are written to a terminal, a spreadsheet or JSON; names (of providers, models, calls,
kinds of errors) to headers, rows of the ledger, tables and pages. Possible secrets are masked.
"""

from __future__ import annotations

import re

from devflow_core.masking import mask

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Control characters, line separators and direction marks: never part of a label."""
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")
"""The beginning of a text that spreadsheets take for a formula, full-width forms included."""
_STEERING = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Characters that JSON leaves unescaped and that a terminal obeys, hides or reverses."""
_MARKUP = re.compile(r"<(script|style)\b.*?(</\1>|$)|<[^>]*>?", re.DOTALL | re.IGNORECASE)
_MAX_SECRET_CHARS = 1024
"""Characters read beyond an excerpt, so that a secret that begins in it is masked whole."""
MAX_NAME_CHARS = 200
"""The length to which names are cut."""
_CHARS = r"\w .:/@+~(){}\[\]&',*!=-"
_PLAIN = re.compile(rf"[{_CHARS}]{{0,{MAX_NAME_CHARS}}}", re.ASCII)
_OTHER = re.compile(rf"[^{_CHARS}]", re.ASCII)
_WORD = re.compile(r"[\w.:/-]{1,64}")


def replace_control_characters(text: str) -> str:
    """Return a label with U+FFFD for each character that could control a terminal."""
    return _CONTROL.sub("\ufffd", text)


def escape_formula(text: str) -> str:
    """Return a label for a spreadsheet's cell, with `'` before what would be a formula."""
    cell = replace_control_characters(text)
    return f"'{cell}" if _FORMULA.match(text) else cell


def escape_json(document: str) -> str:
    """Return the same JSON with every character that controls a terminal escaped.

    Such characters occur only inside the document's strings, where an escape means the same.
    """
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def excerpt(raw: bytes | str, limit: int = 200) -> str:
    """Return a text as one line of at most `limit` characters, without markup or secrets."""
    most = limit * 8 + _MAX_SECRET_CHARS
    text = raw[:most] if isinstance(raw, str) else raw[:most].decode(errors="replace")
    text = mask(text)[: limit * 8]  # before it is cut, otherwise half a key could be missed
    text = _MARKUP.sub(" ", text)
    text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def are_plain_names(*names: str | None) -> bool:
    """Return whether each name is None, or is short enough and has only ordinary characters."""
    return all(name is None or _PLAIN.fullmatch(name) is not None for name in names)


def clean_name(name: str | None) -> str | None:
    """Return the name masked, shortened, and with `?` for unusual characters; None stays None."""
    if name is None:
        return None
    return _OTHER.sub("?", mask(name))[:MAX_NAME_CHARS]


def plain_word(name: object) -> str:
    """Return a caller's name for something if it is a plain word, otherwise "of that name"."""
    return name if isinstance(name, str) and _WORD.fullmatch(name) else "of that name"
