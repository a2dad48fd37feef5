"""Which fields, tools and plugins are known to cost nothing beside the tokens they hold.

From the router's description of 2026-08-22, Anthropic's and OpenAI's of the same time, and what
Claude Code, Codex and the vendors' SDKs were seen to send. A field that is on no list may still be
sent; only where a limit has to be kept it is refused, since nobody knows what it costs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from devflow_core.messages import WireName

_SHARED = frozenset({
    "model", "stream", "stream_options", "temperature", "top_p", "top_k", "tool_choice",
    "metadata", "user", "session_id", "trace", "cache_control", "max_tokens",
    "max_completion_tokens", "max_output_tokens", "parallel_tool_calls", "reasoning", "route",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
    "usage", "store", "transforms", "verbosity", "debug", "thinking",
})  # fmt: skip
FREE_FIELDS: Mapping[WireName, frozenset[str]] = {
    "openai_chat": _SHARED | {
        "messages", "min_p", "top_a", "frequency_penalty", "presence_penalty",
        "repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "seed", "stop",
        "response_format", "reasoning_effort", "include_reasoning", "structured_outputs",
        "safe_prompt", "functions", "function_call", "enable_thinking", "chat_template_kwargs",
        "image_config", "x_search_filter",
        # of embeddings, which go the same way
        "input", "dimensions", "encoding_format", "input_type",
    },
    "anthropic_messages": _SHARED | {
        "messages", "system", "stop_sequences", "output_config", "output_format", "safeguards",
        "betas", "anthropic_beta", "anthropic_version",
    },
    "openai_responses": _SHARED | {
        "input", "instructions", "text", "include", "truncation", "top_logprobs",
        "frequency_penalty", "presence_penalty", "client_metadata", "image_config",
    },
}  # fmt: skip
"""By dialect. Fields that are read for what they cost are not among them."""

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
