"""Provides what the dialects share in reporting tokens and cost."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from devflow_core.messages import JsonObject
from devflow_core.usage import ReportedCost, parse_amount, usd_text
from devflow_core.wire import json_lenient as lenient

# a larger amount is the sender's mistake
_MAX_USD = Decimal(1_000_000)
_NO_NUMBER = re.compile(rb'"cost"\s*:\s*[-+]?(?:NaN|Infinity)')
_COST = re.compile(rb'"cost"\s*:\s*"?(-?[0-9][0-9.eE+-]*)')


def parse_cost(usage: JsonObject, raw: bytes) -> ReportedCost | None:
    """Return the cost in a usage object, with its digits as in the raw bytes.

    Args:
        usage: the decoded object.
        raw: the bytes that `usage` was decoded from.

    Returns:
        None if there is no cost, or one that is negative, over a million USD or not a number.
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
    """Return whether a usage object has a cost that is not an amount (`NaN` decodes to null)."""
    if usage.get("cost") is None:
        return "cost" in usage and _NO_NUMBER.search(raw) is not None
    return parse_cost(usage, b"") is None


def cost_fields(cost: ReportedCost | None) -> dict[str, Any]:
    """Return `cost`, as the JSON number that clients expect, and `is_byok`; nothing for None."""
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
    usd = parse_amount(value)
    return None if usd is None or usd > _MAX_USD else usd


def first_present(fields: Mapping[str, Any], *keys: str) -> object:
    """Return the value of the first of these keys that has one; None if none has."""
    return next((fields[key] for key in keys if fields.get(key) is not None), None)
