"""Keeps an examination below its limit: what the next clause may cost, and what was spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from devflow_cli.conformance.recording import JsonObject
from devflow_cli.conformance.terms import Effort

UNLISTED_PRICE = (Decimal("0.000005"), Decimal("0.000025"))
"""The price assumed for a model without a listed one, in USD per token of prompt and reply.

It is that of Claude Opus 4.5, which costs more than nine of ten models.
"""
_WRITE_FACTOR = Decimal("1.25")
"""The factor on a prompt's price if it is written into a cache (Anthropic's price list)."""

_CACHE_FIELDS = ("cache_creation_input_tokens", "cache_read_input_tokens")
"""What Anthropic's dialect states beside the prompt's tokens; others include it in them."""


@dataclass(slots=True)
class Spending:
    """The budget and the spending of an examination, in USD."""

    limit_usd: Decimal
    prices: Mapping[str, tuple[Decimal, Decimal]]
    """USD per token of prompt and reply, by model."""
    spent_usd: Decimal = field(default=Decimal(0))

    def price_of(self, model: str) -> tuple[Decimal, Decimal]:
        """Return a model's listed USD per token of prompt and reply; else `UNLISTED_PRICE`."""
        return self.prices.get(model, UNLISTED_PRICE)

    def worst_case(self, effort: Effort, model: str) -> Decimal:
        """Return the most that a clause may cost, in USD."""
        prompt, reply = self.price_of(model)
        one = effort.input_tokens * prompt * _WRITE_FACTOR + effort.output_tokens * reply
        return effort.calls * one

    def allows(self, effort: Effort, model: str) -> bool:
        """Return whether the limit leaves room for the most that a clause may cost."""
        return self.spent_usd + self.worst_case(effort, model) <= self.limit_usd

    def add(self, usage: object, model: str, worst: Decimal) -> None:
        """Book one reply: at the cost that it states, else by its tokens, else at the worst case.

        Tokens of a cache count like others, also where the dialect states them beside the prompt's.
        """
        if not isinstance(usage, dict):
            self.spent_usd += worst
            return
        said = cast(JsonObject, usage)
        stated = _amount(said.get("cost"))
        if stated is not None:
            self.spent_usd += stated
            return
        prompt, reply = self.price_of(model)
        inputs = ("input_tokens", "prompt_tokens", *_CACHE_FIELDS)
        outputs = ("output_tokens", "completion_tokens")
        # as if all of it were written into a cache, the most expensive case
        self.spent_usd += _tokens(said, inputs) * prompt * _WRITE_FACTOR
        self.spent_usd += _tokens(said, outputs) * reply


def read_prices(models: list[JsonObject]) -> dict[str, tuple[Decimal, Decimal]]:
    """Return USD per token of prompt and reply by model id; models without both are left out."""
    prices: dict[str, tuple[Decimal, Decimal]] = {}
    for model in models:
        listed: Any = model.get("pricing")
        if not isinstance(listed, dict):
            continue
        said = cast(JsonObject, listed)
        prompt, reply = _amount(said.get("prompt")), _amount(said.get("completion"))
        if prompt is not None and reply is not None:
            prices[str(model.get("id"))] = (prompt, reply)
    return prices


def _amount(value: object) -> Decimal | None:
    """Return an amount that a gateway states; None if it is not an amount, or is negative."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


def _tokens(usage: JsonObject, names: tuple[str, ...]) -> int:
    found = [usage.get(name) for name in names]
    return sum(one for one in found if isinstance(one, int) and one > 0)
