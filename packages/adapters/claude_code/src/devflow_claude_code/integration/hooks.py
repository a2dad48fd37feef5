"""`devflow hook`: what Claude Code runs when a session starts, when it stops and when it ends.

At the start, it adds the context of the folder's last session to the new one. After a limit
has stopped the work, it offers the handoff. It never fails, since a failing hook disturbs the
person at work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from devflow_core.errors import DevFlowError
from devflow_core.masking import escape_invisible

from devflow_claude_code.context.injector import render_context
from devflow_claude_code.reading import paths
from devflow_claude_code.reading.content import get_string, text_of
from devflow_claude_code.reading.rows import Json, decode_line
from devflow_claude_code.session import ClaudeCodeSession, iterate_recent

HOOK_EVENTS = ("SessionStart", "Stop", "SessionEnd")
"""Events our hook handles; every Claude Code since 1.0 knows all three."""
START_BUDGET_TOKENS = 2_000
"""The token budget of the context that is added to a new session."""
# Words of the client's messages about usage limits, rate limits and an empty balance.
_LIMIT_PHRASES = ("usage limit", "rate limit", "limit reached", "hit your limit", "credit balance")


@dataclass(frozen=True, slots=True, kw_only=True)
class HookReply:
    """The output of the hook, which always exits with status 0."""

    stdout: str = ""
    """One line of JSON; empty if there is nothing to add or to offer."""


def run_hook(
    stdin: bytes, *, config_dir: Path | None = None, command: str = "devflow"
) -> HookReply:
    """Answer one hook event; unknown events and failures give an empty reply.

    Args:
        stdin: the event as Claude Code writes it.
        config_dir: Claude Code's folder; None for the default.
        command: the command that starts DevFlow, for the offer.
    """
    event = decode_line(stdin) or {}
    handler = _HANDLERS.get(get_string(event, "hook_event_name"))
    if handler is None:
        return HookReply()
    try:
        return handler(event, config_dir or paths.configuration_dir(), command)
    except (DevFlowError, OSError, ValueError):  # a name that no file can have is a ValueError
        return HookReply()


def _on_session_start(event: Json, config_dir: Path, _command: str) -> HookReply:
    """Return the context of the previous session, but only for a new session."""
    # sessions that are resumed, cleared or compacted are not new
    if get_string(event, "source") != "startup" or not get_string(event, "cwd"):
        return HookReply()
    current = get_string(event, "session_id")
    for session in iterate_recent(get_string(event, "cwd"), config_dir=config_dir):
        if session.session_id != current:
            text = render_context(session.context(START_BUDGET_TOKENS))
            return _json_reply(
                {
                    "hookSpecificOutput": {
                        "hookEventName": "SessionStart",
                        "additionalContext": text,
                    }
                }
            )
    return HookReply()


def _on_session_end(event: Json, config_dir: Path, command: str) -> HookReply:
    """Offer the handoff if a limit was the last thing that happened."""
    transcript = get_string(event, "transcript_path")
    session = ClaudeCodeSession.open(transcript, config_dir=config_dir)
    if not has_hit_limit(session):
        return HookReply()
    offer = (
        "A limit has stopped this session. To go on at another model and bring the result back:"
        f" {command} handoff {session.session_id} --write-back"
    )
    return _json_reply({"systemMessage": offer})


def has_hit_limit(session: ClaudeCodeSession) -> bool:
    """Return whether the session's last message is the client's own, saying a limit was reached.

    Raises:
        SessionError: the transcript cannot be read.
    """
    # attachments and system rows may follow the error
    last = next(
        (row for row in reversed(session.branch) if row.type in ("user", "assistant")), None
    )
    if last is None or not last.is_api_error:
        return False
    text = escape_invisible(text_of(session.transcript.load(last))).lower()
    return any(phrase in text for phrase in _LIMIT_PHRASES)


def _json_reply(body: dict[str, Any]) -> HookReply:
    return HookReply(stdout=orjson.dumps(body).decode() + "\n")


_HANDLERS: dict[str, Callable[[Json, Path, str], HookReply]] = {
    "SessionStart": _on_session_start,
    "Stop": _on_session_end,
    "SessionEnd": _on_session_end,
}
