"""Estimates what a request costs at every model, how long it takes, and what the reply is worth."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from devflow_core.routing import Complexity, Task, TaskType
from devflow_core.usage import Price

from devflow_routing.ability import Expected
from devflow_routing.decision_inputs import DecisionInputs
from devflow_routing.endpoints import weigh_speed
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
_DEFAULT_TTFT_S = 1.5
"""The time to the first event that is assumed for models that were never measured here."""
_USUAL_TOKENS_PER_S = 38.0
_SMALL_FACTOR, _FAST_MAKER_FACTOR = 1.6, 1.6
_FAST_MAKERS = frozenset({"google", "openai"})
_SMALL = re.compile(r"flash|haiku|mini\b|nano|lite|fast|instant|small|turbo|spark|\b[1-9]b\b")
"""The speed that is assumed for models that were never measured here, in tokens per second.

Fitted to the median speeds of 178 models that Artificial Analysis published in July 2026: of maker,
words in the name, price, age and reasoning, these two explain nearly all that can be explained. The
usual error of the guess is a factor of 1.7.
"""
_PATIENCE_S, _SLOW_S = 10.0, 60.0
"""A measured wait for the first word that costs nothing, and how much more halves a reply's worth.

A good model that keeps people waiting for minutes is no longer the better choice.
"""
_REST_FACTOR, _SIBLING_FACTOR = 0.5, 0.9
"""What is left of the expected quality of a model that has just failed, and of its maker's others.

A maker's own outage takes all of its models with it.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelEstimates:
    """The estimates for each model, in the order of the selector's models."""

    quality: Floats
    """The lower end of the chance of a good reply, failures and long waits included."""
    likely_quality: Floats
    """The likeliest chance of a good reply, for people."""
    cost_usd: Floats
    """The expected cost, with the prompt cache considered; NaN if the price is unknown."""
    switch_cost_usd: Floats
    """The loss from leaving the prompt cache that the session has warmed."""
    latency_s: Floats
    """The expected time to the end of the reply; published or guessed if it was never measured."""
    total_usd: Floats
    """The expected cost and what is lost by leaving a warm cache; NaN if the price is unknown."""
    output_tokens: Floats
    """The expected length of the reply, reasoning included."""
    is_measured: Flags
    """Whether the latency was measured for this model."""
    has_evidence: Flags
    """Whether anybody has measured the quality of this model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prices:
    """Prices in USD per token at one length of prompt; `request` in USD per request."""

    prompt: Floats
    completion: Floats
    cache_read: Floats
    request: Floats


class CostOptimizer:
    """Estimates cost, latency and quality of every model; built once for each catalogue.

    Args:
        selector: the models of the catalogue.
    """

    def __init__(self, selector: ModelSelector) -> None:
        self._selector = selector
        self._reasoning_factors: Floats = np.array(
            [_REASONING_FACTOR if model.reasons_by_default else 1.0 for model in selector.models]
        )
        self._usual_speeds, self._usual_waits_s = _find_speeds(selector)
        self._makers = np.unique([one.author for one in selector.models], return_inverse=True)[1]
        self._tier_breaks = _collect_tier_breaks(selector.models)
        self._tier_prices: dict[int, _Prices] = {}

    def estimate(
        self,
        inputs: DecisionInputs,
        selection: Selection,
        expected: Expected,
        has_evidence: Flags,
    ) -> ModelEstimates:
        """Return the estimates of every model for this request; pure.

        Args:
            inputs: the request's task, session, and what was measured of models.
            selection: the lengths of the prompt in tokens.
            expected: the chance of a good reply, before failures and waits.
            has_evidence: whether that chance is known from scores or from the user's answers.
        """
        output = self.estimate_output_tokens(inputs.task, selection)
        cost, switch = self._estimate_cost(inputs, selection, output)
        reliability, latency, is_measured = self._estimate_latency(inputs.performance, output)
        return ModelEstimates(
            quality=expected.lower * reliability,
            likely_quality=expected.mean * reliability,
            cost_usd=cost,
            switch_cost_usd=switch,
            latency_s=latency,
            total_usd=cost + switch,
            output_tokens=output,
            is_measured=is_measured,
            has_evidence=has_evidence,
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
        """Return what is left of each model's quality, its latency, and whether that was measured.

        What is left of the quality is a share, 0..1, after failures, long waits and rests.
        """
        rates = np.full(len(output), 0.98)
        is_measured = np.zeros(len(output), dtype=np.bool_)
        ttft, speed = self._usual_waits_s.copy(), self._usual_speeds.copy()
        for one in performance:
            index = self._selector.index.get(one.model)
            if index is None:
                continue
            wait_s = one.ttft_p50_s or float(ttft[index])
            rates[index] = one.success_rate / (1.0 + max(0.0, wait_s - _PATIENCE_S) / _SLOW_S)
            is_measured[index] = one.ttft_p50_s is not None
            ttft[index] = wait_s
            if one.output_tokens_per_s:
                speed[index] = one.output_tokens_per_s
        for one in performance:
            if one.is_resting and (index := self._selector.index.get(one.model)) is not None:
                rates[self._makers == self._makers[index]] *= _SIBLING_FACTOR
                rates[index] *= _REST_FACTOR
        return rates, ttft + output / speed, is_measured

    def _prices_for(self, tokens: float) -> _Prices:
        """Return the prices for prompts of this length; built once for each tier."""
        tier = bisect_left(self._tier_breaks, tokens)
        known = self._tier_prices.get(tier)
        if known is None:
            floor = 0 if tier == 0 else int(self._tier_breaks[tier - 1]) + 1
            known = self._tier_prices[tier] = _build_prices(self._selector.models, floor)
        return known


def _find_speeds(selector: ModelSelector) -> tuple[Floats, Floats]:
    """Return each model's speed in tokens per second, and its time to the first token in seconds.

    They are for models that were never measured here: as published, otherwise guessed.
    """
    catalogue = selector.catalogue
    published = [
        weigh_speed(known.rows) if (known := catalogue.endpoints.get(model.id)) else (None, None)
        for model in selector.models
    ]
    pairs = [
        (speed or _guess_speed(model), wait_s or _DEFAULT_TTFT_S)
        for model, (speed, wait_s) in zip(selector.models, published, strict=True)
    ]
    columns = np.array(pairs, dtype=np.float64).reshape(-1, 2).T.copy()
    return columns[0], columns[1]


def _guess_speed(model: ModelConfig) -> float:
    """Return the speed of a model that nobody has measured, in tokens per second."""
    speed = _USUAL_TOKENS_PER_S
    if _SMALL.search(model.id):
        speed *= _SMALL_FACTOR
    return speed * _FAST_MAKER_FACTOR if model.author in _FAST_MAKERS else speed


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
