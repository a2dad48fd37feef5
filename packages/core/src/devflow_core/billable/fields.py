"""Lists the types and fields of tools and plugins whose effect on the cost is known.

Client tools and free plugins cost nothing besides their tokens, searches cost a fee, and model keys
name other models that may be asked. The lists come from the router's API description of 2026-08-22,
those of Anthropic and OpenAI of the same date, and what Claude Code, Codex and the vendors' SDKs
were seen to send. A tool that is known neither here nor in `tools` may still be sent; it is refused
only where a limit has to be kept, since its cost is unknown.
"""

from __future__ import annotations

import re

CLIENT_TOOLS = frozenset({
    None, "function", "custom", "local_shell", "apply_patch", "computer_use_preview", "computer",
})  # fmt: skip
"""Types of tools that the client itself runs; a tool without a type is a function."""
DATED_CLIENT_TOOLS = re.compile(r"(bash|text_editor|computer|memory)_20\d{6}")
"""Anthropic's dated tool types that the client runs."""

SEARCH_TOOLS = re.compile(r"web_(search|search_preview|fetch)(_20\d{2}_?\d{2}_?\d{2})?")
"""The vendors' own tool types that search the web or fetch a page."""
SEARCH_FIELDS = frozenset({
    "type", "id", "name", "enabled", "engine", "max_results", "max_uses", "mode", "filters",
    "search_context_size", "user_location", "allowed_domains", "blocked_domains",
    "excluded_domains", "include_domains", "exclude_domains", "max_total_results",
    "max_characters", "search_prompt", "cache_control", "allowed_callers", "parameters",
    "external_web_access", "defer_loading", "max_content_tokens", "citations",
})  # fmt: skip
"""Parameters of a search that do not change its price beyond what `tools._add_search` reads."""

FREE_PLUGINS = frozenset({"response-healing", "context-compression"})
"""Plugins that the router runs without a fee."""
MODEL_KEYS = frozenset({
    "model", "models", "analysis_models", "fallbacks", "fallback_models", "allowed_models",
    "pin_model",
})  # fmt: skip
"""Keys under which the parameters of a tool or plugin name models."""
