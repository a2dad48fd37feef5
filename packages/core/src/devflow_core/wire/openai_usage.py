"""Reads and writes usage in the form of OpenAI's dialects, and makes its counts disjoint."""

from __future__ import annotations

from typing import Any

from devflow_core.messages import JsonObject
from devflow_core.usage import ReportedCost, Usage, parse_token_count
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.usage import cost_fields, first_present


def usage_from_openai(usage: JsonObject) -> Usage | None:
    """Return the usage of a reply; None if its prompt or completion count is missing or impossible.

    Cached and written tokens are part of the prompt's, reasoning of the completion's. Gemini
    reports some tokens as both read and written; if together they exceed the prompt, fewer count
    as written.
    """
    prompt = parse_token_count(first_present(usage, "prompt_tokens", "input_tokens"))
    completion = parse_token_count(first_present(usage, "completion_tokens", "output_tokens"))
    if prompt is None or completion is None:
        return None
    into = lenient.as_object(first_present(usage, "prompt_tokens_details", "input_tokens_details"))
    out = lenient.as_object(
        first_present(usage, "completion_tokens_details", "output_tokens_details")
    )
    read = min(parse_token_count(into.get("cached_tokens")) or 0, prompt)
    written = min(parse_token_count(into.get("cache_write_tokens")) or 0, prompt - read)
    reasoning = min(parse_token_count(out.get("reasoning_tokens")) or 0, completion)
    return Usage(
        input_tokens=prompt - read - written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=completion - reasoning,
        reasoning_tokens=reasoning,
    )


def encode_usage(usage: Usage, cost: ReportedCost | None) -> dict[str, Any]:
    """Return a usage object of chat completions, with the cost if it is known."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        **cost_fields(cost),
    }
