"""Retries and fallbacks: how often, how long, whom, and never more than the budget."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

import pytest
from devflow_core import errors
from devflow_core.errors import (
    AllCandidatesFailed,
    BudgetExceeded,
    CircuitOpen,
    ContextTooLong,
    DevFlowError,
    MachineExhausted,
    ModelUnavailable,
    NotSent,
    PossiblyAccepted,
    ProtocolError,
    ProviderUnavailable,
    RateLimited,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)
from devflow_core.events import Event
from devflow_core.journal import Journal
from devflow_core.memory import MemoryBook
from devflow_core.metered import Metered
from devflow_core.ports import AttemptLog
from devflow_core.statuses import Disposition
from devflow_core.testing import (
    FakeClock,
    FakeUpstream,
    ScriptStep,
    a_candidate,
    a_journal,
    a_request,
    a_route,
    an_attempt,
    reply_events,
)
from devflow_upstream import RetryBudget, Retrying, RetryPolicy
from devflow_upstream.policies.fallback import FallbackChain
from devflow_upstream.policies.retry import count_failed_attempts
from devflow_upstream.transport.protocol import HOST_UNUSABLE
from hypothesis import given
from hypothesis import strategies as st

OK = reply_events("ok")
DOWN = ProviderUnavailable("down", status=502)
SLOW = RateLimited("slow down", status=429)


class Stack:
    """Fallback and retry over a scripted upstream, with time that jumps."""

    def __init__(self, *scripts: Sequence[ScriptStep], budget: RetryBudget | None = None) -> None:
        self.clock = FakeClock()
        self.upstream = FakeUpstream(*scripts)
        self.budget = budget or RetryBudget()
        policy = RetryPolicy(chance=lambda: 1.0)
        retrying = Retrying(
            Metered(self.upstream), policy=policy, budget=self.budget, sleep=self.clock.sleep
        )
        self.chain = FallbackChain(retrying, policy=policy, budget=self.budget)

    async def ask(self, *models: str, journal: Journal | None = None) -> list[Event]:
        route = a_route(*models)
        journal = journal or a_journal(clock=self.clock, route=route)
        async with self.chain.open(a_request(), route, journal) as events:
            return [event async for event in events]

    @property
    def waits_s(self) -> list[float]:
        return self.clock.slept_s


async def test_a_first_success_waits_for_nothing_and_keeps_the_budget() -> None:
    stack = Stack(OK)
    assert len(await stack.ask()) == 3
    assert stack.waits_s == []
    assert stack.budget.retries.left == stack.budget.fallbacks.left == 250.0


async def test_waits_double_and_are_longer_when_throttled() -> None:
    passing, throttled = Stack([DOWN]), Stack([SLOW])
    for stack in (passing, throttled):
        with pytest.raises(DevFlowError):
            await stack.ask()
    assert passing.waits_s == [0.05, 0.1]
    assert throttled.waits_s == [1.0, 2.0]


async def test_a_retry_after_is_the_least_wait() -> None:
    stack = Stack([RateLimited("wait", status=429, retry_after_s=7.0)], OK)
    await stack.ask()
    assert stack.waits_s == [7.0]


async def test_no_wait_passes_the_deadline() -> None:
    stack = Stack([RateLimited("wait", status=429, retry_after_s=7.0)], OK)
    journal = Journal(a_request(), book=MemoryBook(), deadline_s=5.0, clocks=stack.clock.clocks)
    with pytest.raises(RateLimited):
        await stack.ask(journal=journal)
    assert stack.waits_s == []


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (UpstreamRejected("no", status=400), 1),
        (ModelUnavailable("no", status=404), 1),
        (ContextTooLong("no"), 1),
        (CircuitOpen("no"), 1),
        (NotSent("no", error_type=HOST_UNUSABLE), 1),
        (PossiblyAccepted("no"), 2),
        (ProtocolError("no"), 2),
        (UpstreamTimeout("no"), 2),
        (NotSent("no"), 3),
        (DOWN, 3),
        (SLOW, 3),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_how_often_the_only_candidate_is_asked(error: DevFlowError, attempts: int) -> None:
    stack = Stack([error])
    with pytest.raises(type(error)):
        await stack.ask()
    assert len(stack.upstream.calls) == attempts


async def test_a_blip_is_asked_again_at_the_same_model_and_the_next_one_comes_last() -> None:
    stack = Stack([DOWN])
    with pytest.raises(AllCandidatesFailed) as caught:
        await stack.ask("a/one", "b/two", "c/three")
    assert stack.upstream.models == ["a/one", "a/one", "b/two"]
    assert len(caught.value.errors) == 2


async def test_what_takes_long_to_pass_is_taken_over_at_once() -> None:
    stack = Stack([SLOW], OK)
    await stack.ask("a/one", "b/two")
    assert stack.upstream.models == ["a/one", "b/two"]
    assert stack.waits_s == []


async def test_what_the_caller_caused_never_falls_back() -> None:
    stack = Stack([UpstreamRejected("wrong", status=400)])
    with pytest.raises(UpstreamRejected):
        await stack.ask("a/one", "b/two")
    assert stack.upstream.models == ["a/one"]


async def test_refusals_do_not_use_up_the_attempts() -> None:
    gone = [ModelUnavailable("gone", status=404)]
    stack = Stack(gone, gone, gone, gone, OK)
    await stack.ask("a/1", "b/2", "c/3", "d/4", "e/5")
    assert stack.upstream.models == ["a/1", "b/2", "c/3", "d/4", "e/5"]
    assert stack.budget.fallbacks.left == 250.0


async def test_a_window_no_larger_is_not_asked_after_one_too_small() -> None:
    stack = Stack([ContextTooLong("too long")], OK)
    sizes = {"a/one": 8_000, "b/two": 8_000, "c/three": 100_000}
    route = replace(
        a_route(),
        candidates=tuple(a_candidate(name, max_input_tokens=size) for name, size in sizes.items()),
    )
    journal = a_journal(clock=stack.clock, route=route)
    async with stack.chain.open(a_request(), route, journal) as events:
        assert [event async for event in events]
    assert stack.upstream.models == ["a/one", "c/three"]


async def test_a_request_s_ceiling_holds_for_every_candidate() -> None:
    stack = Stack(OK)
    dear = tuple(a_candidate(name, worst_case_usd=Decimal(1)) for name in ("a/one", "b/two"))
    request = a_request(max_cost_usd=Decimal("0.5"))
    with pytest.raises(BudgetExceeded):
        async with stack.chain.open(request, replace(a_route(), candidates=dear), a_journal()):
            pass
    assert stack.upstream.calls == []


async def test_nothing_is_asked_again_once_the_reply_has_begun() -> None:
    stack = Stack([*OK[:2], DOWN])
    with pytest.raises(ProviderUnavailable):
        await stack.ask("a/one", "b/two")
    assert stack.upstream.models == ["a/one"]
    assert stack.upstream.closed == 1


async def test_a_caller_who_leaves_is_not_retried() -> None:
    stack = Stack([asyncio.CancelledError()])
    with pytest.raises(asyncio.CancelledError):
        await stack.ask("a/one", "b/two")
    assert len(stack.upstream.calls) == 1


async def test_a_fallback_that_succeeds_pays_for_the_next_ones() -> None:
    stack = Stack([SLOW], OK)
    stack.budget.fallbacks.left = 14.0
    await stack.ask("a/one", "b/two")
    assert (stack.budget.retries.left, stack.budget.fallbacks.left) == (250.0, 35.0)


async def test_a_call_that_is_shed_is_not_paid_for() -> None:
    stack = Stack([SLOW], [CircuitOpen("no")], OK)
    stack.budget.fallbacks.left = 100.0
    await stack.ask("a/one", "b/two", "c/three")
    assert stack.budget.fallbacks.left == 121.0


async def test_what_this_machine_lacks_costs_no_tokens_and_is_not_asked_again() -> None:
    for models in (["a/one"], ["a/one", "b/two"]):
        stack = Stack([DOWN if len(models) == 1 else SLOW], [MachineExhausted("no descriptor")])
        stack.budget.retries.left = stack.budget.fallbacks.left = 100.0
        with pytest.raises(MachineExhausted):
            await stack.ask(*models)
        assert len(stack.upstream.calls) == 2
        assert stack.budget.retries.left == stack.budget.fallbacks.left == 100.0


async def test_what_is_under_way_holds_no_tokens() -> None:
    fallbacks = RetryBudget().fallbacks
    assert all(fallbacks.begin() for _ in range(1000))
    for _ in range(17):
        assert fallbacks.begin()
        fallbacks.end(is_success=False)
    assert not fallbacks.begin()


async def test_without_tokens_nobody_else_is_asked() -> None:
    stack = Stack([SLOW], OK)
    stack.budget.fallbacks.left = 13.9
    with pytest.raises(RateLimited):
        await stack.ask("a/one", "b/two")
    assert stack.upstream.models == ["a/one"]


async def test_where_every_circuit_is_open_the_shortest_wait_is_told() -> None:
    stack = Stack([CircuitOpen("no", retry_after_s=0.9)], [CircuitOpen("no", retry_after_s=0.2)])
    with pytest.raises(CircuitOpen) as caught:
        await stack.ask("a/one", "b/two")
    assert caught.value.retry_after_s == 0.2


@given(st.lists(st.sampled_from(["call", "retry", "fall back", "first", "again"]), max_size=300))
def test_the_budget_is_never_overdrawn_nor_overfilled(steps: list[str]) -> None:
    for budget in (RetryBudget(), RetryBudget("strict")):
        for step in steps:
            if step == "call":
                budget.record_call()
            elif step == "first":
                budget.record_success()
            else:
                tokens = budget.retries if step == "retry" else budget.fallbacks
                before = tokens.left
                if step == "again":
                    tokens.end(is_success=before % 2 == 0)
                else:
                    assert tokens.begin() is (before >= tokens.price)
            for tokens in (budget.retries, budget.fallbacks):
                assert 0 <= tokens.left <= tokens.max_tokens


@given(
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 10_000),
    st.none() | st.floats(0, 60),
    st.sampled_from([RateLimited, ProviderUnavailable]),
)
def test_a_wait_stays_under_its_cap_and_obeys_retry_after(
    chance: float, failures: int, retry_after_s: float | None, kind: type[DevFlowError]
) -> None:
    policy = RetryPolicy(chance=lambda: chance)
    wait_s = policy.wait_s(kind("x", retry_after_s=retry_after_s), failures)
    assert (retry_after_s or 0.0) <= wait_s <= max(policy.max_wait_s, retry_after_s or 0.0)


def test_every_kind_of_error_says_what_may_be_done() -> None:
    assert ContextTooLong.disposition is Disposition.FALL_BACK
    assert not RetryPolicy().may_retry(ValueError(), a_journal(), is_last=True)


KINDS = [
    one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, DevFlowError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_errors_that_are_repeated_are_those_that_count(kind: type[DevFlowError]) -> None:
    log = SimpleNamespace(ended=[an_attempt(outcome="failed", error_code=kind.code)])
    is_repeated = kind.disposition is Disposition.RETRY or kind.code == RateLimited.code
    assert count_failed_attempts(cast("AttemptLog", log), SLOW) == is_repeated


async def test_an_error_class_of_ones_own_is_repeated_as_often_as_ours() -> None:
    class Hiccup(UpstreamError):
        code = "hiccup"

    stack = Stack([Hiccup("hic")])
    with pytest.raises(Hiccup):
        await stack.ask()
    assert len(stack.upstream.calls) == 3
