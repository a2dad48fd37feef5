"""Reads and writes usage in Anthropic's form: disjoint counts, sometimes of several calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from devflow_core.messages import JsonObject
from devflow_core.usage import Iteration, ReportedCost, Usage, parse_token_count
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.usage import cost_fields, first_present


def decode_iterations(usage: JsonObject) -> tuple[Iteration, ...]:
    """Return the calls that made a reply of Anthropic's dialect.

    Empty if a count is missing or impossible; nearly always one. If `usage.iterations` lists
    several, the counts beside the list cover at most the model's own calls, and only the first
    one's input; a compaction or an advisor's call comes on top (Anthropic, "Compaction" and
    "Advisor tool", 2026). Tokens beside the list that it does not cover are added as one more.
    """
    reported = _parse_counts(usage)
    if reported is None:
        return ()
    rows = usage.get("iterations")
    if not isinstance(rows, list) or not rows:
        return (Iteration(usage=reported),)
    found: list[Iteration] = []
    own = Usage()
    for row in cast("list[object]", rows):
        fields = lenient.as_object(row)
        counts = _parse_counts({"input_tokens": 0, "output_tokens": 0, **fields})
        if counts is None:
            return ()
        model = lenient.as_text(fields.get("model"))
        found.append(Iteration(usage=counts, model=model))
        if fields.get("type") in (None, "message"):
            own += counts
    rest = _excess(reported, own)
    return (*found, Iteration(usage=rest)) if rest.total_tokens else tuple(found)


def sum_of_usage(iterations: Sequence[Iteration]) -> Usage | None:
    """Return all tokens of a reply; None if there is no iteration."""
    if not iterations:
        return None
    return sum((one.usage for one in iterations[1:]), iterations[0].usage)


def _parse_counts(usage: JsonObject) -> Usage | None:
    split = lenient.as_object(usage.get("cache_creation"))
    details = lenient.as_object(usage.get("output_tokens_details"))
    counts = (
        parse_token_count(usage.get("input_tokens")),
        parse_token_count(usage.get("output_tokens")),
        _parse_optional_count(usage.get("cache_read_input_tokens")),
        _parse_optional_count(usage.get("cache_creation_input_tokens")),
        _parse_optional_count(split.get("ephemeral_5m_input_tokens")),
        _parse_optional_count(split.get("ephemeral_1h_input_tokens")),
        _parse_optional_count(first_present(details, "thinking_tokens", "reasoning_tokens")),
    )
    if None in counts:
        return None
    fresh, completion, read, written, short, hour, reasoning = cast("tuple[int, ...]", counts)
    return Usage(
        input_tokens=fresh,
        cache_read_tokens=read,
        cache_write_tokens=max(written, short + hour),
        output_tokens=completion - min(reasoning, completion),
        reasoning_tokens=min(reasoning, completion),
        cache_write_1h_tokens=hour,
    )


def _parse_optional_count(value: object) -> int | None:
    return 0 if value is None else parse_token_count(value)


def _excess(reported: Usage, counted: Usage) -> Usage:
    """Return the reported counts that the iterations do not cover, since they may omit fields."""
    read = reported.cache_read_tokens - counted.cache_read_tokens
    written = reported.cache_write_tokens - counted.cache_write_tokens
    hour = reported.cache_write_1h_tokens - counted.cache_write_1h_tokens
    return Usage(
        input_tokens=max(0, reported.input_tokens - counted.input_tokens),
        cache_read_tokens=max(0, read),
        cache_write_tokens=max(0, written),
        output_tokens=max(0, reported.completion_tokens - counted.completion_tokens),
        cache_write_1h_tokens=min(max(0, hour), max(0, written)),
    )


def encode_usage(usage: Usage, cost: ReportedCost | None) -> dict[str, Any]:
    """Return a usage object of Anthropic's dialect, with the cost if it is known."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - usage.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.completion_tokens,
        **cost_fields(cost),
    }
