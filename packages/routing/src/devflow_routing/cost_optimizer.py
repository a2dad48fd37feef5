"""Estimates what a request costs at every model, how long it takes, and what the reply is worth."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from devflow_core.routing import Complexity, SelectionCriteria, Task, TaskType
from devflow_core.usage import Price

from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.model_config import ModelConfig
from devflow_routing.model_selector import Flags, Floats, ModelSelector, Selection
from devflow_routing.trackers.performance import Performance

EXPECTED_OUTPUT_TOKENS: Mapping[TaskType, float] = {
    "coding": 900,
    "math": 600,
    "reasoning": 500,
    "creative": 700,
    "knowledge": 300,
    "text_ops": 350,
    "planning": 800,
    "analysis": 700,
}
"""The expected length of a reply to a task of medium complexity, in tokens."""
_USUAL_OUTPUT_TOKENS = 600.0
"""The expected length for a kind that is not in the table: the mean of those that are."""
_LENGTH_FACTORS: Mapping[Complexity, float] = {"low": 0.5, "medium": 1.0, "high": 2.0}
_REASONING_FACTOR = 3.0
"""Output tokens of a model that reasons by default, relative to one that answers at once."""

NEGLIGIBLE_USD = 0.0005
"""A cost in USD below which halving it is hardly worth anything."""
QUALITY_PER_HALVING = 0.3
"""The quality that a priority of 1 gives up for each halving of cost, or of time."""
_NAN = float("nan")
# the time to the first event and the speed assumed for models that were never measured
_DEFAULT_TTFT_S = 1.5
_DEFAULT_TOKENS_PER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelEstimates:
    """The estimates for each model, in the order of the selector's models."""

    quality: Floats
    """The probability of a good reply, failures to reply included."""
    cost_usd: Floats
    """The expected cost, with the prompt cache considered; NaN if the price is unknown."""
    switch_cost_usd: Floats
    """The loss from leaving the prompt cache that the session has warmed."""
    latency_s: Floats
    """The expected time to the end of the reply; a default for models never measured."""
    utility: Floats
    """The ranking value: quality less the worth of cost and time; -inf if the cost is unknown."""
    output_tokens: Floats
    """The expected length of the reply, reasoning included."""
    is_measured: Flags
    """Whether the latency was measured for this model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prices:
    """Prices in USD per token at one length of prompt; `request` in USD per request."""

    prompt: Floats
    completion: Floats
    cache_read: Floats
    request: Floats


class CostOptimizer:
    """Estimates cost, latency and utility of every model; built once for each catalogue.

    Args:
        selector: the models of the catalogue.
    """

    def __init__(self, selector: ModelSelector) -> None:
        self._selector = selector
        self._reasoning_factors: Floats = np.array(
            [_REASONING_FACTOR if model.reasons_by_default else 1.0 for model in selector.models]
        )
        self._tier_breaks = _collect_tier_breaks(selector.models)
        self._tier_prices: dict[int, _Prices] = {}

    def estimate(
        self,
        inputs: DecisionInputs,
        selection: Selection,
        quality: Floats,
        criteria: SelectionCriteria,
    ) -> ModelEstimates:
        """Return the estimates of every model for this request; pure."""
        output = self.estimate_output_tokens(inputs.task, selection)
        cost, switch = self._estimate_cost(inputs, selection, output)
        rates, latency, is_measured = self._estimate_latency(inputs.performance, output)
        good = quality * rates
        utility = good - QUALITY_PER_HALVING * (
            criteria.cost_priority**3 * np.log2(1 + (cost + switch) / NEGLIGIBLE_USD)
            + criteria.performance_priority**3 * np.log2(1 + latency)
        )
        return ModelEstimates(
            quality=good,
            cost_usd=cost,
            switch_cost_usd=switch,
            latency_s=latency,
            utility=np.where(np.isnan(utility), -np.inf, utility),
            output_tokens=output,
            is_measured=is_measured,
        )

    def estimate_output_tokens(self, task: Task, selection: Selection) -> Floats:
        """Return the expected length of the reply for each model, reasoning included."""
        likely = (
            EXPECTED_OUTPUT_TOKENS.get(task.type, _USUAL_OUTPUT_TOKENS)
            * _LENGTH_FACTORS[task.complexity]
            * self._reasoning_factors
        )
        ceiling = selection.needs.max_output_tokens
        return np.minimum(likely, ceiling) if ceiling is not None else likely

    def _estimate_cost(
        self, inputs: DecisionInputs, selection: Selection, output: Floats
    ) -> tuple[Floats, Floats]:
        """Return the expected cost, and what leaving the session's warm model would lose."""
        prices = self._prices_for(float(selection.input_tokens.max(initial=0)))
        cost = selection.input_tokens * prices.prompt + output * prices.completion + prices.request
        session = inputs.session
        index = self._selector.index.get(session.model) if session else None
        if session is None or index is None:
            return cost, np.zeros_like(cost)
        warm = min(float(session.warm_tokens), float(selection.input_tokens[index]))
        saved = max(0.0, warm * float(prices.prompt[index] - prices.cache_read[index]))
        switch = np.full_like(cost, saved)
        switch[index] = 0.0
        cost[index] -= saved
        return cost, switch

    def _estimate_latency(
        self, performance: tuple[Performance, ...], output: Floats
    ) -> tuple[Floats, Floats, Flags]:
        """Return each model's success rate, the time of a reply, and whether it was measured."""
        rates = np.full(len(output), 0.98)
        is_measured = np.zeros(len(output), dtype=np.bool_)
        ttft = np.full(len(output), _DEFAULT_TTFT_S)
        speed = np.full(len(output), _DEFAULT_TOKENS_PER_S)
        for one in performance:
            index = self._selector.index.get(one.model)
            if index is None:
                continue
            rates[index] = one.success_rate
            is_measured[index] = one.ttft_p50_s is not None
            ttft[index] = one.ttft_p50_s or _DEFAULT_TTFT_S
            speed[index] = one.output_tokens_per_s or _DEFAULT_TOKENS_PER_S
        return rates, ttft + output / speed, is_measured

    def _prices_for(self, tokens: float) -> _Prices:
        """Return the prices for prompts of this length; built once for each tier."""
        tier = bisect_left(self._tier_breaks, tokens)
        known = self._tier_prices.get(tier)
        if known is None:
            floor = 0 if tier == 0 else int(self._tier_breaks[tier - 1]) + 1
            known = self._tier_prices[tier] = _build_prices(self._selector.models, floor)
        return known


def _collect_tier_breaks(models: tuple[ModelConfig, ...]) -> list[float]:
    found = {
        float(tier.min_prompt_tokens)
        for model in models
        if model.price
        for tier in model.price.tiers
    }
    return sorted(found)


def _build_prices(models: tuple[ModelConfig, ...], tokens: int) -> _Prices:
    rows = [_price_row(model.price, tokens) for model in models]
    columns = np.array(rows, dtype=np.float64).T.copy()
    return _Prices(
        prompt=columns[0], completion=columns[1], cache_read=columns[2], request=columns[3]
    )


def _price_row(price: Price | None, tokens: int) -> tuple[float, float, float, float]:
    if price is None:
        return _NAN, _NAN, _NAN, _NAN
    tier = price.resolve_tier(tokens)
    read = tier.prompt if tier.cache_read is None else tier.cache_read
    return float(tier.prompt), float(tier.completion), float(read), float(tier.request)
