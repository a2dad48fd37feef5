"""Anthropic's messages, with OpenRouter's additions: what Claude Code speaks."""

from devflow_core.wire.anthropic_messages.translator import AnthropicMessages

__all__ = ["AnthropicMessages"]
