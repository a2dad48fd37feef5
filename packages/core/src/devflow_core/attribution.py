"""Labels that attribute a request to a session, project or key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Whom a request belongs to; every field is a label, none is a permission."""

    session_id: str | None = None
    project: str | None = None
    branch: str | None = None
    commit: str | None = None
    """What was checked out, in full."""
    agent: str | None = None
    """`main`, or the id of a sub-agent."""
    client_key: str | None = None
    """Name of the gateway's client key; never the key."""
    node: str | None = None
    """The named task of the gateway's configuration that this request is."""
