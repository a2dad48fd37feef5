"""Claude Code sessions: read, understood, handed off and written back."""

from devflow_claude_code.context.session_context import SessionContext, piece_json
from devflow_claude_code.handoff.handoff import Handoff, HandoffReport, Target, hand_off
from devflow_claude_code.handoff.writeback import Reply, WrittenBack, write_back
from devflow_claude_code.integration.hooks import HookReply, hook
from devflow_claude_code.integration.installer import SettingsChange, plan_install, plan_undo
from devflow_claude_code.integration.launcher import Launch, launch
from devflow_claude_code.integration.mcp import McpTools, serve_mcp
from devflow_claude_code.integration.statusline import status_line
from devflow_claude_code.model_ids import catalogue_ids
from devflow_claude_code.reading.session_cost import Spend
from devflow_claude_code.reading.transcript import Transcript
from devflow_claude_code.session import ClaudeCodeSession, sessions

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
