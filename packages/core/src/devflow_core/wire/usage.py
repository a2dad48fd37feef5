"""Tokens and cost as three dialects report them, made disjoint and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from devflow_core.messages import JsonObject
from devflow_core.usage import Iteration, ReportedCost, Usage, parse_token_count, usd_text
from devflow_core.wire import json_lenient as lenient

_MAX_USD = Decimal(1_000_000)
_NO_NUMBER = re.compile(rb'"cost"\s*:\s*[-+]?(?:NaN|Infinity)')
_COST = re.compile(rb'"cost"\s*:\s*"?(-?[0-9][0-9.eE+-]*)')


def usage_from_openai(usage: JsonObject) -> Usage | None:
    """Usage of chat completions or of Responses; None when its totals are missing or impossible.

    Cached and written tokens are inside the prompt's, reasoning inside the completion's. Gemini
    reports tokens as both read and written: what exceeds the prompt is not counted twice.
    """
    prompt = parse_token_count(_first_present(usage, "prompt_tokens", "input_tokens"))
    completion = parse_token_count(_first_present(usage, "completion_tokens", "output_tokens"))
    if prompt is None or completion is None:
        return None
    into = lenient.as_object(_first_present(usage, "prompt_tokens_details", "input_tokens_details"))
    out = lenient.as_object(
        _first_present(usage, "completion_tokens_details", "output_tokens_details")
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


def iterations_from_anthropic(usage: JsonObject) -> tuple[Iteration, ...]:
    """The calls that made a reply of Anthropic messages, whose input counts are disjoint already.

    Nearly always one; none where a count is missing or impossible. `usage.iterations` tells of
    several: the counts beside it are those of the model's own calls at most (of their input only
    the first's), a compaction and an advisor's call come on top (Anthropic, "Compaction" and
    "Advisor tool", 2026).
    """
    reported = _parse_anthropic_counts(usage)
    if reported is None:
        return ()
    rows = usage.get("iterations")
    if not isinstance(rows, list) or not rows:
        return (Iteration(usage=reported),)
    found: list[Iteration] = []
    own = Usage()
    for row in cast("list[object]", rows):
        fields = lenient.as_object(row)
        counts = _parse_anthropic_counts({"input_tokens": 0, "output_tokens": 0, **fields})
        if counts is None:
            return ()
        model = lenient.as_text(fields.get("model"))
        found.append(Iteration(usage=counts, model=model))
        if fields.get("type") in (None, "message"):
            own += counts
    rest = _excess(reported, own)
    return (*found, Iteration(usage=rest)) if rest.total_tokens else tuple(found)


def sum_of_usage(iterations: Sequence[Iteration]) -> Usage | None:
    """All tokens of a reply; None where there is no iteration."""
    if not iterations:
        return None
    return sum((one.usage for one in iterations[1:]), iterations[0].usage)


def _parse_anthropic_counts(usage: JsonObject) -> Usage | None:
    split = lenient.as_object(usage.get("cache_creation"))
    details = lenient.as_object(usage.get("output_tokens_details"))
    counts = (
        parse_token_count(usage.get("input_tokens")),
        parse_token_count(usage.get("output_tokens")),
        _parse_optional_count(usage.get("cache_read_input_tokens")),
        _parse_optional_count(usage.get("cache_creation_input_tokens")),
        _parse_optional_count(split.get("ephemeral_5m_input_tokens")),
        _parse_optional_count(split.get("ephemeral_1h_input_tokens")),
        _parse_optional_count(_first_present(details, "thinking_tokens", "reasoning_tokens")),
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
    """What the counts beside the iterations hold beyond them: where those leave a field out."""
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


def parse_cost(usage: JsonObject, raw: bytes) -> ReportedCost | None:
    """The cost in a usage object, with its digits as they stand in the raw bytes.

    Args:
        usage: decoded.
        raw: the bytes `usage` was decoded from.

    Returns:
        None when there is no cost, or one that is negative, over a million USD or no number.
    """
    cost = usage.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float | str):
        return None
    text = _find_digits(cost, raw)
    usd = _parse_usd(text)
    if usd is None:
        return None
    details = lenient.as_object(usage.get("cost_details"))
    return ReportedCost(
        usd=usd,
        text=text,
        is_byok=usage.get("is_byok") is True,
        upstream_usd=_parse_usd(details.get("upstream_inference_cost")),
    )


def has_bad_cost(usage: JsonObject, raw: bytes) -> bool:
    """Whether a usage object has a cost that is no amount; `NaN` is null once it is decoded."""
    if usage.get("cost") is None:
        return "cost" in usage and _NO_NUMBER.search(raw) is not None
    return parse_cost(usage, b"") is None


def to_openai_chat_usage(usage: Usage, cost: ReportedCost | None) -> dict[str, Any]:
    """A usage object of chat completions, with the cost where it is known."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        **_cost_fields(cost),
    }


def to_openai_responses_usage(usage: Usage, cost: ReportedCost | None) -> dict[str, Any]:
    """A usage object of Responses, with the cost where it is known."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
        **_cost_fields(cost),
    }


def to_anthropic_usage(usage: Usage, cost: ReportedCost | None) -> dict[str, Any]:
    """A usage object of Anthropic messages, with the cost where it is known."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - usage.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.completion_tokens,
        **_cost_fields(cost),
    }


def _cost_fields(cost: ReportedCost | None) -> dict[str, Any]:
    """The cost as a JSON number, since that is what readers of `usage.cost` expect."""
    return {} if cost is None else {"cost": float(cost.usd), "is_byok": cost.is_byok}


def _find_digits(cost: float | str, raw: bytes) -> str:
    if isinstance(cost, str):
        return cost
    for match in _COST.finditer(raw):
        text = match[1].decode()
        usd = _parse_usd(text)
        if usd is not None and float(usd) == cost:
            return text
    return usd_text(Decimal(repr(cost))) if math.isfinite(cost) else repr(cost)


def _parse_usd(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        usd = Decimal(str(value))
    except ArithmeticError:
        return None
    return usd if usd.is_finite() and 0 <= usd <= _MAX_USD else None


def _first_present(fields: Mapping[str, Any], *keys: str) -> object:
    return next((fields[key] for key in keys if fields.get(key) is not None), None)
