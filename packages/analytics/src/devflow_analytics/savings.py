"""Computes savings: what the same tokens would have cost with one other model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from devflow_core.summary import Summary
from devflow_core.usage import Price, Usage, from_pico

PriceOf = Callable[[str], Price | None]
"""Returns the present price of a model; None if it is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The model that savings are compared with."""

    model: str
    price: Price

    def cost_usd(self, summary: Summary) -> Decimal:
        """Return what the answers of a group would have cost with this model.

        This counts the tokens of the deciding attempts, with the prompt cache as recorded; attempts
        without an answer would not have been needed. Prices for long prompts are ignored: the cost
        is linear in the tokens, so that groups add up.
        """
        answers_usd = linear_cost_usd(self.price, summary.usage, requests=summary.requests)
        return answers_usd - linear_cost_usd(self.price, summary.retry_usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """The cost compared with a baseline; the groups of a report add up to its total."""

    baseline_model: str
    baseline_cost_usd: Decimal
    cost_usd: Decimal

    @property
    def saved_usd(self) -> Decimal:
        """The amount by which the baseline would have cost more; negative for a loss."""
        return self.baseline_cost_usd - self.cost_usd


def compute_savings(summary: Summary, baseline: Baseline) -> Savings:
    """Return what a group saved against the baseline."""
    return Savings(
        baseline_model=baseline.model,
        baseline_cost_usd=baseline.cost_usd(summary),
        cost_usd=from_pico(summary.cost_pico),
    )


def linear_cost_usd(price: Price, usage: Usage, *, requests: int = 0) -> Decimal:
    """Return the cost of tokens and of a number of requests, at the prices for short prompts."""
    # without tiers the cost is linear; the fee per request is added once per request
    per_token = replace(price, tiers=(), request=Decimal(0))
    return per_token.cost_usd(usage) + price.request * requests
