"""Defines the labels that attribute a request to a session, project or key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The labels that say where a request comes from; none of them grants a permission."""

    session_id: str | None = None
    project: str | None = None
    """The path of the project's folder, or a name that the caller gave."""
    branch: str | None = None
    commit: str | None = None
    """The full hash of the commit that was checked out."""
    agent: str | None = None
    """`main`, or the id of a sub-agent."""
    client_key: str | None = None
    """The name of the gateway's client key; never the key itself."""
    node: str | None = None
    """The named task (`[nodes]` of the settings) that the request belongs to; None if none."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    """Short labels of the caller's own; booked and exported, and not grouped by."""
