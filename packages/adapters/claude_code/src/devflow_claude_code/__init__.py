"""Reads Claude Code's sessions, hands them off to other models, and writes replies back."""

from devflow_claude_code.context.session_context import SessionContext
from devflow_claude_code.copies import CountedSession, count_once, find_related
from devflow_claude_code.costs.blocks import CostBlock, find_blocks
from devflow_claude_code.costs.groups import CostGroup, group_costs, total_of
from devflow_claude_code.costs.items import CostItem, price_sessions
from devflow_claude_code.handoff.request import Handoff, HandoffReport, HandoffTarget, hand_off
from devflow_claude_code.handoff.writeback import AssistantReply, WrittenSession, write_back
from devflow_claude_code.integration.check import IntegrationFinding, check_integration
from devflow_claude_code.integration.hooks import HookReply, run_hook
from devflow_claude_code.integration.installer import SettingsChange, plan_install, plan_undo
from devflow_claude_code.integration.launcher import LaunchPlan, plan_launch
from devflow_claude_code.integration.mcp import McpTools, serve_mcp
from devflow_claude_code.integration.statusline import render_status_line
from devflow_claude_code.reading.hints import find_hints
from devflow_claude_code.reading.paths import belongs_to, resume_command
from devflow_claude_code.reading.session_cost import Spend
from devflow_claude_code.reading.transcript import Transcript
from devflow_claude_code.session import ClaudeCodeSession, list_sessions
from devflow_claude_code.session_digest import SessionDigest
from devflow_claude_code.session_index import SessionIndex, peek_sessions, with_index

__all__ = [
    "AssistantReply",
    "ClaudeCodeSession",
    "CostBlock",
    "CostGroup",
    "CostItem",
    "CountedSession",
    "Handoff",
    "HandoffReport",
    "HandoffTarget",
    "HookReply",
    "IntegrationFinding",
    "LaunchPlan",
    "McpTools",
    "SessionContext",
    "SessionDigest",
    "SessionIndex",
    "SettingsChange",
    "Spend",
    "Transcript",
    "WrittenSession",
    "belongs_to",
    "check_integration",
    "count_once",
    "find_blocks",
    "find_hints",
    "find_related",
    "group_costs",
    "hand_off",
    "list_sessions",
    "peek_sessions",
    "plan_install",
    "plan_launch",
    "plan_undo",
    "price_sessions",
    "render_status_line",
    "resume_command",
    "run_hook",
    "serve_mcp",
    "total_of",
    "with_index",
    "write_back",
]
