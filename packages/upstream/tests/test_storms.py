"""Requests at a rate against models that fail by chance, in virtual time.

The policies are the real ones, stacked as the gateway stacks them; the models answer at once. What
latency does to the figures is measured at the door (`benchmarks/storm.py`).
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
from devflow_core.errors import DevFlowError, ProviderUnavailable
from devflow_core.events import Event
from devflow_core.metered import Metered
from devflow_core.ports import Call, EventStream
from devflow_core.testing import FakeClock, a_journal, a_request, a_route, reply_events
from devflow_upstream import (
    CircuitBreaking,
    FallbackChain,
    RetryBudget,
    Retrying,
    RetryPolicy,
)

MODELS = ("acme/one", "bolt/two", "corp/three")
FailureShare = Callable[[str, float], float]
"""Of a model, at a time in seconds."""


class FlakyModels:
    """An `Upstream` whose models fail with a chance of their own."""

    def __init__(self, share: FailureShare, clock: FakeClock, chance: random.Random) -> None:
        self.asked: list[tuple[float, str]] = []
        self._share = share
        self._clock = clock
        self._chance = chance

    def open(self, call: Call, /) -> EventStream:
        return self._open(call.candidate.model)

    @asynccontextmanager
    async def _open(self, model: str) -> AsyncGenerator[AsyncIterator[Event]]:
        now_s = self._clock()
        self.asked.append((now_s, model))
        if self._chance.random() < self._share(model, now_s):
            raise ProviderUnavailable("down", status=500)
        yield _events()


async def _events() -> AsyncIterator[Event]:
    for event in reply_events("ok"):
        yield event


@dataclass(kw_only=True)
class StormLog:
    """What became of the requests, by the second in which they were made."""

    outcomes: list[tuple[float, bool]] = field(default_factory=list[tuple[float, bool]])
    asked: Sequence[tuple[float, str]] = ()

    def success(self, from_s: float = 0.0, to_s: float = 1e9) -> float:
        """The share of the requests of a time that were answered."""
        found = [is_good for at_s, is_good in self.outcomes if from_s <= at_s < to_s]
        return sum(found) / len(found)

    def requests(self, from_s: float = 0.0, to_s: float = 1e9) -> int:
        return sum(from_s <= at_s < to_s for at_s, _ in self.outcomes)

    def attempts(self, from_s: float = 0.0, to_s: float = 1e9, model: str | None = None) -> int:
        """How often a model, or all of them, was asked."""
        return sum(from_s <= at_s < to_s and model in (None, one) for at_s, one in self.asked)

    def first_success_s(self, from_s: float) -> float:
        """The first answer from a moment on, counted from there."""
        return min(at_s for at_s, is_good in self.outcomes if is_good and at_s >= from_s) - from_s

    def last_failure_s(self, from_s: float) -> float:
        """The last failure from a moment on, counted from there; 0: there is none."""
        return max(
            (at_s - from_s for at_s, is_good in self.outcomes if not is_good and at_s >= from_s),
            default=0.0,
        )


async def _run_storm(
    share: FailureShare,
    *,
    rate_per_s: float,
    seconds: float,
    models: Sequence[str] = MODELS,
    seed: int = 1,
    budget: Literal["adaptive", "strict"] = "adaptive",
) -> StormLog:
    """Ask for the first model at a rate, evenly, with the others to fall back on."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    clock = FakeClock()
    upstream = FlakyModels(share, clock, chance)
    policy, tokens = RetryPolicy(chance=chance.random), RetryBudget(budget)
    breaking = CircuitBreaking(Metered(upstream), clock=clock)
    retrying = Retrying(breaking, policy=policy, budget=tokens, sleep=_do_not_wait)
    chain = FallbackChain(retrying, policy=policy, budget=tokens)
    request, route, log = a_request(), a_route(*models), StormLog()
    start_s = clock()
    for _ in range(int(rate_per_s * seconds)):
        try:
            async with chain.open(request, route, a_journal(clock=clock, route=route)):
                log.outcomes.append((clock() - start_s, True))
        except DevFlowError:
            log.outcomes.append((clock() - start_s, False))
        clock.advance(1 / rate_per_s)
    log.asked = [(at_s - start_s, model) for at_s, model in upstream.asked]
    return log


async def _do_not_wait(seconds: float) -> None:
    """A retry of milliseconds takes no time in a simulation of minutes."""


def _half(_model: str, _at_s: float) -> float:
    return 0.5


@pytest.mark.parametrize(("rate_per_s", "seconds"), [(1, 600), (40, 30), (200, 10)])
async def test_half_an_outage_stays_half(rate_per_s: int, seconds: int) -> None:
    alone = await _run_storm(_half, rate_per_s=rate_per_s, seconds=seconds, models=MODELS[:1])
    with_two = await _run_storm(_half, rate_per_s=rate_per_s, seconds=seconds)
    assert alone.success() >= 0.5
    assert with_two.success() >= 0.85
    for log in (alone, with_two):
        asked, requests = log.attempts(model=MODELS[0]), log.requests()
        assert asked <= 1.10 * requests + 36 * max(1.0, seconds / 60)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("rate_per_s", [1, 20])
async def test_a_model_is_asked_little_more_often_than_there_are_requests(
    share: float, rate_per_s: int
) -> None:
    log = await _run_storm(lambda _model, _at_s: share, rate_per_s=rate_per_s, seconds=70)
    most = 1.10 if share >= 0.5 else 1.30
    for start_s in (0, 10):
        requests = log.requests(start_s, start_s + 60)
        for model in MODELS:
            assert log.attempts(start_s, start_s + 60, model) <= most * requests + 36


@pytest.mark.parametrize(("rate_per_s", "outage_s"), [(1, 600), (5, 300), (40, 30), (200, 10)])
@pytest.mark.parametrize("models", [MODELS[:1], MODELS], ids=["alone", "with two"])
async def test_after_an_outage_all_is_well_at_once(
    rate_per_s: int, outage_s: int, models: Sequence[str]
) -> None:
    down_s, up_s = 5, 5 + outage_s
    log = await _run_storm(
        lambda _model, at_s: float(down_s <= at_s < up_s),
        rate_per_s=rate_per_s,
        seconds=up_s + 5,
        models=models,
    )
    assert log.success(to_s=down_s) == 1.0
    assert log.first_success_s(up_s) <= 2.0
    assert log.last_failure_s(up_s) <= 2.0
    for start_s in range(down_s, up_s, 60):
        end_s = min(start_s + 60, up_s)
        requests = log.requests(start_s, end_s)
        assert log.attempts(start_s, end_s) <= 1.10 * requests + 36
        for model in models:  # a probe a second, and what it took to notice
            assert log.attempts(start_s, end_s, model) <= 1.1 * (end_s - start_s) + 36


async def test_one_model_that_is_down_costs_its_requests_nothing() -> None:
    log = await _run_storm(
        lambda model, _at_s: float(model == MODELS[0]), rate_per_s=40, seconds=30
    )
    assert log.success() == 1.0
    assert log.attempts(model=MODELS[0]) <= 70


async def test_the_strict_budget_holds_all_attempts_under_a_tenth_more() -> None:
    for share in (0.05, 0.5):
        log = await _run_storm(
            lambda _model, _at_s, share=share: share, rate_per_s=40, seconds=30, budget="strict"
        )
        assert log.attempts() <= 1.10 * log.requests() + 10
