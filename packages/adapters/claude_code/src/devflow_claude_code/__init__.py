"""Claude Code sessions: read, understood, handed off and written back."""

from devflow_claude_code.context import SessionContext, piece_json
from devflow_claude_code.handoff import Handoff, HandoffReport, Target, hand_off
from devflow_claude_code.session import ClaudeCodeSession, sessions
from devflow_claude_code.spend import Spend
from devflow_claude_code.transcript import Transcript

__all__ = [
    "ClaudeCodeSession",
    "Handoff",
    "HandoffReport",
    "SessionContext",
    "Spend",
    "Target",
    "Transcript",
    "hand_off",
    "piece_json",
    "sessions",
]
