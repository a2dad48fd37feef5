"""Where a command's session comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devflow_claude_code import ClaudeCodeSession
    from devflow_core.settings import Settings


def find_session(settings: Settings, name: str) -> ClaudeCodeSession:
    """A Claude Code session by its id, the unique start of one, a path, or `latest`.

    Raises:
        SessionError: there is none, or it is no transcript; names file and line.
    """
    from devflow_claude_code import ClaudeCodeSession

    if name == "latest":
        session = ClaudeCodeSession.latest(config_dir=settings.claude_dir)
    else:
        session = ClaudeCodeSession.find(name, config_dir=settings.claude_dir)
    session.context_budget_tokens = settings.context_tokens
    return session
