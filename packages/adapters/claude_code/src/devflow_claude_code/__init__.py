"""Claude Code sessions: read, understood, handed off and written back."""

from devflow_claude_code.context import SessionContext, piece_json
from devflow_claude_code.handoff import Handoff, HandoffReport, Target, hand_off
from devflow_claude_code.hooks import HookReply, hook
from devflow_claude_code.installing import SettingsChange, plan_install, plan_undo
from devflow_claude_code.launcher import Launch, launch
from devflow_claude_code.mcp import McpTools, serve_mcp
from devflow_claude_code.models import catalogue_ids
from devflow_claude_code.session import ClaudeCodeSession, sessions
from devflow_claude_code.spend import Spend
from devflow_claude_code.statusline import status_line
from devflow_claude_code.transcript import Transcript
from devflow_claude_code.writeback import Reply, WrittenBack, write_back

__all__ = [
    "ClaudeCodeSession",
    "Handoff",
    "HandoffReport",
    "HookReply",
    "Launch",
    "McpTools",
    "Reply",
    "SessionContext",
    "SettingsChange",
    "Spend",
    "Target",
    "Transcript",
    "WrittenBack",
    "catalogue_ids",
    "hand_off",
    "hook",
    "launch",
    "piece_json",
    "plan_install",
    "plan_undo",
    "serve_mcp",
    "sessions",
    "status_line",
    "write_back",
]
