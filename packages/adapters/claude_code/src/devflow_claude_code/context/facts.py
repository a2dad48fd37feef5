"""A fact about a session: its text, its place in the transcript and its weight."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact about a session."""

    kind: str
    """One of the kinds of the core's `ContextPiece.kind`."""
    text: str
    line: int
    """Line of the transcript, counted from 1."""
    weight: int
    """Higher is more important; of equal weights, the later fact comes first."""
    is_protected: bool = False
    """Cut to a third of the budget instead of the usual length, when facts have to be shortened."""
