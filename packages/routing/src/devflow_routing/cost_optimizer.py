"""Estimates what a request costs at every model, how long it takes, and what the reply is worth."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from devflow_core.routing import Complexity, TaskType
from devflow_core.usage import Price

from devflow_routing.ability import Expected
from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.kept import keep
from devflow_routing.live_speeds import LiveSpeeds, ReplyKind
from devflow_routing.model_config import ModelConfig
from devflow_routing.model_selector import Flags, Floats, ModelSelector, Selection

EXPECTED_OUTPUT_TOKENS: Mapping[TaskType, float] = {
    "coding": 900,
    "math": 600,
    "reasoning": 500,
    "creative": 700,
    "knowledge": 300,
    "text_ops": 350,
    "planning": 800,
    "analysis": 700,
    "background": 60,
}
"""The expected length of a reply to a task of medium complexity, in tokens."""
_USUAL_OUTPUT_TOKENS = 600.0
"""The expected length for a kind that is not in the table: the mean of those that are."""
_LENGTH_FACTORS: Mapping[Complexity, float] = {"low": 0.5, "medium": 1.0, "high": 2.0}
_REASONING_FACTOR = 3.0
"""Output tokens of a model that reasons by default, relative to one that answers at once."""

NEGLIGIBLE_USD = 0.0005
"""A cost in USD below which halving it is hardly worth anything."""
_NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelEstimates:
    """The estimates for each model, in the order of the selector's models; all are read-only."""

    expected: Expected
    """The chance of a good reply, failures and waits left aside."""
    quality: Floats
    """The lower end of the chance of a good reply, failures and long waits included."""
    reliability: Floats
    """What failures and long waits leave of the quality."""
    cost_usd: Floats
    """The expected cost, with the prompt cache considered; NaN if the price is unknown."""
    switch_cost_usd: Floats
    """The loss from leaving the prompt cache that the session has warmed."""
    total_usd: Floats
    """The expected cost and what is lost by leaving a warm cache; NaN if the price is unknown."""
    latency_s: Floats
    """The expected time to the end of the reply; published or guessed if it was never measured."""
    slowness: Floats
    """The same in doublings of a second."""
    output_tokens: Floats
    """The expected length of the reply, reasoning included."""
    is_measured: Flags
    """Whether the latency was measured for this model."""

    def likely_quality(self, index: int) -> float:
        """Return the likeliest chance of a good reply by one model, for people."""
        return float(self.expected.mean[index] * self.reliability[index])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prices:
    """Prices in USD per token at one length of prompt; `request` in USD per request."""

    prompt: Floats
    completion: Floats
    cache_read: Floats
    request: Floats


class CostOptimizer:
    """Estimates cost, latency and quality of every model; built once for each catalogue.

    What depends on the kind of task alone is kept, so that a request adds its own lengths.

    Args:
        selector: the models of the catalogue.
    """

    def __init__(self, selector: ModelSelector) -> None:
        self._selector = selector
        self._reasoning_factors: Floats = np.array(
            [_REASONING_FACTOR if model.reasons_by_default else 1.0 for model in selector.models]
        )
        self._speeds = LiveSpeeds(selector)
        self._tier_breaks = _collect_tier_breaks(selector.models)
        self._tier_prices: dict[int, _Prices] = {}
        self._no_switch: Floats = np.zeros(len(selector.models))
        self._outputs: dict[ReplyKind, Floats] = {}
        self._output_usd: dict[tuple[ReplyKind, int], Floats] = {}

    def estimate(
        self, inputs: DecisionInputs, selection: Selection, expected: Expected
    ) -> ModelEstimates:
        """Return the estimates of every model for this request; pure.

        Args:
            inputs: the request's task and session, and what was measured of models.
            selection: the lengths of the prompt in tokens.
            expected: the chance of a good reply, before failures and waits.
        """
        task = inputs.task
        kind = (task.type, task.complexity, selection.needs.max_output_tokens)
        output = self._find_output(kind)
        speeds = self._speeds.at(inputs.performance)
        latency, slowness = speeds.times(kind, output)
        cost, switch = self._estimate_cost(inputs, selection, kind)
        return ModelEstimates(
            expected=expected,
            quality=expected.lower * speeds.reliability,
            reliability=speeds.reliability,
            cost_usd=cost,
            switch_cost_usd=switch,
            total_usd=cost if switch is self._no_switch else cost + switch,
            latency_s=latency,
            slowness=slowness,
            output_tokens=output,
            is_measured=speeds.is_measured,
        )

    def _find_output(self, kind: ReplyKind) -> Floats:
        """Return the expected length of the reply for each model, reasoning included."""
        known = self._outputs.get(kind)
        if known is not None:
            return known
        task_type, complexity, ceiling = kind
        likely = (
            EXPECTED_OUTPUT_TOKENS.get(task_type, _USUAL_OUTPUT_TOKENS)
            * _LENGTH_FACTORS[complexity]
            * self._reasoning_factors
        )
        if ceiling is not None:
            likely = np.minimum(likely, ceiling)
        return keep(self._outputs, kind, likely)

    def _estimate_cost(
        self, inputs: DecisionInputs, selection: Selection, kind: ReplyKind
    ) -> tuple[Floats, Floats]:
        """Return the expected cost, and what leaving the session's warm model would lose."""
        tier = bisect_left(self._tier_breaks, selection.counts.most)
        prices = self._prices_of(tier)
        cost = selection.input_tokens * prices.prompt
        cost += self._find_output_usd(kind, tier, prices)
        cost += prices.request
        session = inputs.session
        index = self._selector.index.get(session.model) if session else None
        if session is None or index is None:
            return cost, self._no_switch
        warm = min(float(session.warm_tokens), float(selection.input_tokens[index]))
        saved = max(0.0, warm * float(prices.prompt[index] - prices.cache_read[index]))
        switch = np.full_like(cost, saved)
        switch[index] = 0.0
        cost[index] -= saved
        return cost, switch

    def _find_output_usd(self, kind: ReplyKind, tier: int, prices: _Prices) -> Floats:
        """Return the expected cost of the reply alone."""
        known = self._output_usd.get((kind, tier))
        if known is not None:
            return known
        usd = self._find_output(kind) * prices.completion
        return keep(self._output_usd, (kind, tier), usd)

    def _prices_of(self, tier: int) -> _Prices:
        """Return the prices in a tier of prompt lengths; built once."""
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
