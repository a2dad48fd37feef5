"""Which tools and plugins are known to cost nothing beside the tokens they hold.

From the router's description of 2026-08-22, Anthropic's and OpenAI's of the same time, and what
Claude Code, Codex and the vendors' SDKs were seen to send. One that is on no list may still be
sent; only where a limit has to be kept it is refused, since nobody knows what it costs.
"""

from __future__ import annotations

import re

CLIENT_TOOLS = frozenset({
    None, "function", "custom", "local_shell", "apply_patch", "computer_use_preview", "computer",
})  # fmt: skip
"""Tools that the client itself runs, by their type."""
DATED_CLIENT_TOOLS = re.compile(r"(bash|text_editor|computer|memory)_20\d{6}")
"""Anthropic's names for tools that the client runs."""

SEARCH_TOOLS = re.compile(r"web_(search|search_preview|fetch)(_20\d{2}_?\d{2}_?\d{2})?")
"""The vendors' own names for a search of the web, or for fetching a page."""
SEARCH_FIELDS = frozenset({
    "type", "id", "name", "enabled", "engine", "max_results", "max_uses", "mode", "filters",
    "search_context_size", "user_location", "allowed_domains", "blocked_domains",
    "excluded_domains", "include_domains", "exclude_domains", "max_total_results",
    "max_characters", "search_prompt", "cache_control", "allowed_callers", "parameters",
    "external_web_access", "defer_loading", "max_content_tokens", "citations",
})  # fmt: skip

FREE_PLUGINS = frozenset({"response-healing", "context-compression"})
MODEL_KEYS = frozenset({
    "model", "models", "analysis_models", "fallbacks", "fallback_models", "allowed_models",
    "pin_model",
})  # fmt: skip
"""Keys under which a tool's or plugin's parameters name models."""
