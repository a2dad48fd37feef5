"""Handles invisible characters, which hide instructions from people and secrets from patterns."""

from __future__ import annotations

import re

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
ZERO_WIDTH = "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f"
"""Characters without width, joiners included, for use inside a character class."""
_HIDDEN = re.compile(
    rf"[{ZERO_WIDTH}]|\\u(?:00ad|061c|180e|200[b-f]|202[a-e]|206[0-9]|feff)", re.IGNORECASE
)


def escape_invisible(text: str) -> str:
    """Return the text with control, zero-width, bidirectional and tag characters escaped.

    They can hide instructions from the person who looks at a prompt, or move the cursor of a
    terminal. Tabs and line ends stay, and so do joiners (U+200C, U+200D): emoji and several scripts
    need them.
    """
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def strip_zero_width(text: str) -> str:
    """Return the text without zero-width characters, including those that JSON has escaped."""
    return text if text.isascii() and "\\u" not in text else _HIDDEN.sub("", text)
