"""What the same tokens would have cost at one other model: the savings, and the losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from devflow_core.summary import Summary
from devflow_core.usage import Price, Usage, from_pico

PriceOf = Callable[[str], Price | None]
"""The present price of a model; None when it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The model that savings are counted against."""

    model: str
    price: Price

    def cost_usd(self, summary: Summary) -> Decimal:
        """What the answers of a group would have cost here.

        The tokens are those of the attempts that decided, read from and written to the prompt
        cache as they were; attempts that brought no answer would not have been needed. Linear
        in the tokens, so that groups add up: prices for long prompts are left out.
        """
        answers_usd = linear_cost_usd(self.price, summary.usage, requests=summary.requests)
        return answers_usd - linear_cost_usd(self.price, summary.retry_usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Cost against a baseline; the groups of a report add up to its total."""

    baseline_model: str
    baseline_cost_usd: Decimal
    cost_usd: Decimal

    @property
    def saved_usd(self) -> Decimal:
        """Negative is a loss."""
        return self.baseline_cost_usd - self.cost_usd


def compute_savings(summary: Summary, baseline: Baseline) -> Savings:
    """What a group saved against the baseline."""
    return Savings(
        baseline_model=baseline.model,
        baseline_cost_usd=baseline.cost_usd(summary),
        cost_usd=from_pico(summary.cost_pico),
    )


def linear_cost_usd(price: Price, usage: Usage, *, requests: int = 0) -> Decimal:
    """What the tokens of so many requests cost at the prices for short prompts."""
    per_token = replace(price, tiers=(), request=Decimal(0))
    return per_token.cost_usd(usage) + price.request * requests
