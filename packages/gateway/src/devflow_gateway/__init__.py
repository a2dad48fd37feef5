"""Offers DevFlow as a library: one import for programs that call models through the gateway."""

from devflow_claude_code import ClaudeCodeSession
from devflow_core import ChatRequest, SelectionCriteria
from devflow_openrouter import OpenRouterGateway

from devflow_gateway.wiring import open_gateway

__all__ = [
    "ChatRequest",
    "ClaudeCodeSession",
    "OpenRouterGateway",
    "SelectionCriteria",
    "open_gateway",
]
