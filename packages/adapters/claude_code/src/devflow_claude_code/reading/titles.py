"""The title that was given to a session, among all that its file holds."""

from __future__ import annotations

from devflow_claude_code.reading.transcript import Transcript

_KINDS = ("customTitle", "aiTitle", "agentName", "summary")
"""Given by the user, by the model, by an agent, by 1.0; the first there is counts."""


def given_title(transcript: Transcript, session_id: str) -> str | None:
    """The title of this session. Files hold titles of other sessions too; those are not its own."""
    owners = {"", session_id, transcript.metadata.get("sessionId", "")}
    if any(kind == "summary" for kind, _ in transcript.titles):
        owners.update(row.uuid for row in transcript.rows if row.uuid)
    own = {kind: words for (kind, owner), words in transcript.titles.items() if owner in owners}
    return next((own[kind] for kind in _KINDS if kind in own), None)
