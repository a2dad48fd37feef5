"""Lists what the bodies of all dialects share: fields that cost nothing, and those always sent.

The lists come from the router's API description of 2026-08-22, those of Anthropic and OpenAI of the
same date, and what Claude Code, Codex and the vendors' SDKs were seen to send.
"""

from __future__ import annotations

from typing import Any

FREE_FIELDS = frozenset({
    "model", "stream", "stream_options", "temperature", "top_p", "top_k", "tool_choice",
    "metadata", "user", "session_id", "trace", "cache_control", "max_tokens",
    "max_completion_tokens", "max_output_tokens", "parallel_tool_calls", "reasoning", "route",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
    "usage", "store", "transforms", "verbosity", "debug", "thinking",
})  # fmt: skip
"""Fields that cost nothing besides their tokens, in any dialect.

Fields that `devflow_core.billable` reads for their cost are not included.
"""

# JSON Schemas for the OpenAPI description
TEXT_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1}
MODEL_SCHEMA: dict[str, Any] = {"type": "string", "example": "auto"}
MESSAGES_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"enum": ["user", "assistant"]}, "content": TEXT_SCHEMA},
    },
    "minItems": 1,
}
CALL_PROPERTIES: dict[str, Any] = {"model": MODEL_SCHEMA, "stream": {"type": "boolean"}}
"""The properties of every call to a model."""
