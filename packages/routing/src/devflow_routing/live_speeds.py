"""Keeps how fast and how reliable each model of a catalogue is, as its performance changes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from devflow_core.routing import Complexity, TaskType

from devflow_routing.endpoints import weigh_speed
from devflow_routing.kept import keep
from devflow_routing.model_config import ModelConfig
from devflow_routing.model_selector import Flags, Floats, ModelSelector
from devflow_routing.trackers.performance import PerformanceView

ReplyKind = tuple[TaskType, Complexity, int | None]
"""What the expected length of a reply depends on: the task, and the caller's limit."""
_UNKNOWN_RELIABILITY = 0.98
"""The success rate of a model that was never asked here."""
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
class Speeds:
    """How fast and how reliable each model is at one moment; the arrays are never changed."""

    view: PerformanceView
    """The performance that they follow from."""
    answer_rates: Floats
    """What failures and long waits leave of the quality, if none rests."""
    reliability: Floats
    """The same with the models that rest, and their makers', put back."""
    ttft_s: Floats
    tokens_per_s: Floats
    is_measured: Flags
    """Whether the latency was measured for this model."""
    _times: dict[ReplyKind, tuple[Floats, Floats]] = field(
        default_factory=dict[ReplyKind, tuple[Floats, Floats]]
    )

    def times(self, kind: ReplyKind, output_tokens: Floats) -> tuple[Floats, Floats]:
        """Return the seconds to the end of such a reply, and the same in doublings of a second."""
        known = self._times.get(kind)
        if known is not None:
            return known
        latency_s = self.ttft_s + output_tokens / self.tokens_per_s
        return keep(self._times, kind, (latency_s, np.log2(1.0 + latency_s)))


class LiveSpeeds:
    """The speeds of a catalogue's models, which follow the performance model by model.

    Args:
        selector: the models of the catalogue.
    """

    def __init__(self, selector: ModelSelector) -> None:
        self._index = selector.index
        self._makers = np.unique([one.author for one in selector.models], return_inverse=True)[1]
        usual_speeds, usual_waits_s = _find_speeds(selector)
        count = len(selector.models)
        rates = np.full(count, _UNKNOWN_RELIABILITY)
        self._usual = self._latest = Speeds(
            view=PerformanceView(),
            answer_rates=rates,
            reliability=rates,
            ttft_s=usual_waits_s,
            tokens_per_s=usual_speeds,
            is_measured=np.zeros(count, dtype=np.bool_),
        )

    def at(self, view: PerformanceView) -> Speeds:
        """Return the speeds at this performance; only what has changed since the last is read."""
        latest = self._latest
        if latest.view is view:
            return latest
        changed = view.find_changes(latest.view)
        if changed is None:
            latest, changed = self._usual, view.known
        self._latest = found = self._with(latest, view, changed)
        return found

    def _with(self, base: Speeds, view: PerformanceView, changed: Iterable[str]) -> Speeds:
        rates, ttft, speed = base.answer_rates.copy(), base.ttft_s.copy(), base.tokens_per_s.copy()
        is_measured = base.is_measured.copy()
        for name in changed:
            index = self._index.get(name)
            if index is None:
                continue
            one = view.known[name]
            wait_s = one.ttft_p50_s or float(self._usual.ttft_s[index])
            rates[index] = one.success_rate / (1.0 + max(0.0, wait_s - _PATIENCE_S) / _SLOW_S)
            is_measured[index] = one.ttft_p50_s is not None
            ttft[index] = wait_s
            speed[index] = one.output_tokens_per_s or float(self._usual.tokens_per_s[index])
        return Speeds(
            view=view,
            answer_rates=rates,
            reliability=self._put_back(rates, view.resting),
            ttft_s=ttft,
            tokens_per_s=speed,
            is_measured=is_measured,
        )

    def _put_back(self, rates: Floats, resting: Iterable[str]) -> Floats:
        """Return the reliability where some models have just failed."""
        places = [index for one in resting if (index := self._index.get(one)) is not None]
        if not places:
            return rates
        rates = rates.copy()
        for index in places:
            rates[self._makers == self._makers[index]] *= _SIBLING_FACTOR
            rates[index] *= _REST_FACTOR
        return rates


def _find_speeds(selector: ModelSelector) -> tuple[Floats, Floats]:
    """Return the speed of each model in tokens per second, and its wait for the first in seconds.

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
