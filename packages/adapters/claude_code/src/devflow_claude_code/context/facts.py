"""Defines a fact about a session: its text, its place in the transcript and its weight."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact about a session."""

    kind: str
    """`goal`, `summary`, `decision`, `note`, `command`, `file`, `failure`, `todo`, `question` or
    `exchange`.
    """
    text: str
    line: int
    """Line of the transcript, counted from 1."""
    weight: int
    """Higher is more important; of equal weights, the later fact comes first."""
    is_protected: bool = False
    """Whether its text may take a third of the budget where other facts are cut to a few lines."""
