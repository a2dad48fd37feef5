"""Picks the title of a session from all titles its file holds."""

from __future__ import annotations

from devflow_claude_code.reading.transcript import Transcript

_KINDS = ("customTitle", "aiTitle", "agentName", "summary")
"""Titles set by the user, the model, an agent, or Claude Code 1.0; the first one present counts."""


def given_title(transcript: Transcript, session_id: str) -> str | None:
    """Return the recorded title of this session, unmasked; None if it has none.

    Titles of other sessions in the same file are ignored.
    """
    owners = {"", session_id, transcript.metadata.get("sessionId", "")}
    if any(kind == "summary" for kind, _ in transcript.titles):
        owners.update(row.uuid for row in transcript.rows if row.uuid)
    own = {kind: words for (kind, owner), words in transcript.titles.items() if owner in owners}
    return next((own[kind] for kind in _KINDS if kind in own), None)
