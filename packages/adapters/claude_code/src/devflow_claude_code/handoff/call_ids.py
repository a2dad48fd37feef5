"""Makes the ids of tool calls unique and safe for every provider."""

from __future__ import annotations

import re
from hashlib import sha256

_UNSAFE_CHARS = re.compile(r"[^A-Za-z0-9_-]")
# OpenAI and Anthropic document tool names as up to 64 characters of [A-Za-z0-9_-]; ids are held to
# the same limits.
_MAX_CHARS = 64
_HASH_CHARS = 8
"""The length of the hash that distinguishes names which would otherwise be equal."""


def make_safe_name(name: str) -> str:
    """Convert a name or id to the characters and length that every provider accepts.

    A name that is too long ends in a hash of the whole, so that a shared beginning does not make
    two names equal. An empty name stays empty.
    """
    safe = _UNSAFE_CHARS.sub("_", name)
    return safe if len(safe) <= _MAX_CHARS else _shorten(safe, name)


class CallIds:
    """The tool calls of a conversation: which are open, and the id each one is sent with."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._open: dict[str, str] = {}

    def open(self, recorded: str) -> str | None:
        """Return the id to send a new call with; None if the call is already open or has no id.

        A recorded id may be reused once its call is answered: some gateways count from 0 in every
        reply.
        """
        safe = make_safe_name(recorded)
        if not safe or recorded in self._open:
            return None
        candidate, times = safe, 0
        while candidate in self._used:
            times += 1
            candidate = _shorten(safe, f"{recorded} {times}")
        self._used.add(candidate)
        self._open[recorded] = candidate
        return candidate

    def close(self, recorded: str) -> str | None:
        """Return the id that the answered call was sent with; None if no such call is open."""
        return self._open.pop(recorded, None)

    def close_all(self) -> tuple[str, ...]:
        """Close all open calls and return the ids they were sent with, in order of opening."""
        closed = tuple(self._open.values())
        self._open.clear()
        return closed


def _shorten(safe: str, whole: str) -> str:
    mark = sha256(whole.encode("utf-8", "replace")).hexdigest()[:_HASH_CHARS]
    return f"{safe[: _MAX_CHARS - _HASH_CHARS - 1]}_{mark}"
