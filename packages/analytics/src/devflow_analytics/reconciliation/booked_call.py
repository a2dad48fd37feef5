"""Reads amounts and counts of a call from the provider's `GET /generation`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from devflow_core.usage import Usage, parse_amount


def parse_cost(booked: Mapping[str, Any]) -> tuple[Decimal, str | None] | None:
    """Return the cost of a call in USD, and its decimal text; None without a valid figure.

    The text is None if the provider's figure is not the whole cost: `upstream_inference_cost`,
    which is set only for a key of the user's own (BYOK), comes on top.
    """
    total = parse_amount(booked.get("total_cost"))
    if total is None:
        return None
    upstream = (
        parse_amount(booked.get("upstream_inference_cost")) if booked.get("is_byok") else None
    )
    return (total + upstream, None) if upstream else (total, f"{total:f}")


def parse_usage(booked: Mapping[str, Any]) -> Usage | None:
    """Return the provider's counts of a call; None if they are missing or impossible.

    They serve for a reply that broke off before it reported its own.
    """
    prompt, cached, completion, reasoning = (
        count if isinstance(count := booked.get(f"native_tokens_{name}"), int) else 0
        for name in ("prompt", "cached", "completion", "reasoning")
    )
    if prompt <= 0 or min(cached, completion, reasoning) < 0:
        return None
    return Usage(
        input_tokens=max(0, prompt - cached),
        cache_read_tokens=min(prompt, cached),
        output_tokens=max(0, completion - reasoning),
        reasoning_tokens=min(completion, reasoning),
    )
