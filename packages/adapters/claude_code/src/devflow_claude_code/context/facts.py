"""A thing to know about a session, with its place and its weight."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing to know about a session."""

    kind: str
    """As in the core's `ContextPiece.kind`."""
    text: str
    line: int
    """Where it stands in the transcript, from 1."""
    weight: int
    """More is more important; equal ones are taken from the end of the session."""
    is_protected: bool = False
    """Never shortened while there is room for it."""
