"""The breaker: a state machine with the clock given, and the wrapper that obeys it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import pytest
from devflow_core.errors import (
    CircuitOpen,
    MachineExhausted,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    Refused,
    UpstreamTimeout,
)
from devflow_core.journal import Journal
from devflow_core.ledger import Attempt, AttemptStart
from devflow_core.memory import MemoryBook
from devflow_core.metered import Metered
from devflow_core.ports import Call, UpstreamKey
from devflow_core.statuses import Disposition
from devflow_core.testing import (
    FakeClock,
    FakeUpstream,
    ScriptStep,
    a_candidate,
    a_journal,
    a_request,
    reply_events,
)
from devflow_upstream import RateLimiter
from devflow_upstream.policies.circuit_breaker import BreakerPolicy, Circuit, CircuitBreaking
from devflow_upstream.policies.rate_limiter import RateLimiting
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

POLICY = BreakerPolicy()
BAD = ProviderUnavailable("down", status=502)
TO_SHED, TO_PROBES = 9, 22
"""Failures in a row until calls are shed, and until only the probes are left."""


class Clock(Protocol):
    def advance(self, seconds: float) -> None: ...

    async def until(self, condition: Callable[[], object]) -> None: ...


def failing(count: int, now_s: float = 0.0) -> Circuit:
    """A circuit after so many failures in a row, all at one moment."""
    circuit = Circuit(POLICY)
    for _ in range(count):
        circuit.admit(now_s)
        circuit.record(is_good=False)
    return circuit


def test_the_table_of_the_page_is_what_happens() -> None:
    assert failing(TO_SHED - 1).share == 1.0
    assert 0 < failing(TO_SHED).share < 1
    assert failing(TO_PROBES - 1).share > 0
    circuit = failing(TO_PROBES)
    shares = [circuit.share]
    for _ in range(3):
        circuit.record(is_good=True)
        shares.append(circuit.share)
    assert shares == pytest.approx([0.0, 0.75, 1.0, 1.0], abs=0.3)
    assert shares[0] == 0.0
    assert shares[1] < 1.0
    assert shares[3] == 1.0


def test_a_share_is_let_through_evenly() -> None:
    circuit = failing(TO_SHED + 5)
    circuit.admit(0.0)  # the probe of this second
    share, admitted = circuit.share, [circuit.admit(0.5) for _ in range(100)]
    assert sum(admitted) == pytest.approx(100 * share, abs=1.5)
    gaps = [len(one) for one in "".join("x" if one else "." for one in admitted).split("x")]
    assert max(gaps) <= 1 / share


def test_a_model_that_is_down_gets_one_call_a_second_of_a_thousand_callers() -> None:
    circuit = failing(TO_PROBES)
    for second in range(1, 300):
        assert sum(circuit.admit(float(second)) for _ in range(1000)) == 1
        circuit.record(is_good=False)


def test_failures_that_lie_further_apart_do_not_add_up() -> None:
    circuit = Circuit(POLICY)
    for number in range(200):
        assert circuit.admit(number * (POLICY.forget_after_s + 1))
        circuit.record(is_good=False)
    assert circuit.trust > POLICY.full_trust


def test_a_lost_probe_holds_nobody_up() -> None:
    circuit = failing(40)
    assert not circuit.admit(0.5)
    lost = circuit.admit(1.0)
    assert lost
    assert not circuit.admit(1.9)
    assert circuit.admit(2.0)


def test_who_answers_is_asked_again_at_once() -> None:
    circuit = failing(60)
    assert circuit.admit(5.0)
    circuit.record(is_good=True)
    assert circuit.admit(5.0)


def test_replies_that_break_off_count_as_failures() -> None:
    circuit = Circuit(POLICY)
    for _ in range(60):
        circuit.admit(0.0)
        circuit.record(is_good=True)
        circuit.retract()
    assert circuit.share == 0.0


class Breaker(RuleBasedStateMachine):
    """Any order of calls, answers and time: who is let through, and that somebody always is."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit(POLICY)
        self.now_s = 0.0
        self.last_admitted_s = -1e9

    @rule()
    def ask(self) -> None:
        if self.circuit.admit(self.now_s):
            self.last_admitted_s = self.now_s
        else:
            assert self.circuit.share < 1
            assert self.circuit.wait_s(self.now_s) > 0
            assert self.now_s - self.last_admitted_s <= POLICY.probe_every_s + 1e-6

    @rule(count=st.integers(1, 30))
    def fail(self, count: int) -> None:
        for _ in range(count):
            before = self.circuit.share
            self.circuit.record(is_good=False)
            assert self.circuit.share <= before

    @rule()
    def answer(self) -> None:
        before = self.circuit.share
        self.circuit.record(is_good=True)
        assert self.circuit.share >= before
        assert self.circuit.admit(self.now_s)
        self.last_admitted_s = self.now_s

    @rule()
    def break_off(self) -> None:
        self.circuit.retract()

    @rule(quarters=st.integers(0, 160))
    def pass_time(self, quarters: int) -> None:
        self.now_s += quarters / 4

    @invariant()
    def all_figures_have_limits(self) -> None:
        assert 0 <= self.circuit.trust <= 1
        assert 0 <= self.circuit.share <= 1
        assert self.circuit.wait_s(self.now_s) <= POLICY.probe_every_s + 1e-6


TestBreaker = Breaker.TestCase


def a_call(model: str = "acme/one", key: str = "k1") -> Call:
    return Call(
        request=a_request(),
        candidate=a_candidate(model),
        journal=a_journal(),
        key=UpstreamKey(secret="s", id=key, source="server"),
    )


async def ask(breaking: CircuitBreaking, call: Call) -> None:
    async with breaking.open(call) as events:
        async for _ in events:
            pass


async def fail(breaking: CircuitBreaking, count: int) -> None:
    for _ in range(count):
        with pytest.raises(ProviderUnavailable):
            await ask(breaking, a_call())


async def test_a_call_that_is_shed_asks_nobody_and_can_be_fallen_back_from() -> None:
    upstream = FakeUpstream([BAD])
    breaking = CircuitBreaking(upstream, clock=FakeClock())
    await fail(breaking, TO_SHED + 1)
    with pytest.raises(CircuitOpen) as caught:
        await fail(breaking, 3)
    assert len(upstream.calls) <= TO_SHED + 3
    assert caught.value.disposition is Disposition.FALL_BACK
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 1


async def test_keys_and_models_have_circuits_of_their_own() -> None:
    breaking = CircuitBreaking(FakeUpstream([BAD]), clock=FakeClock())
    for _ in range(40):
        with contextlib.suppress(CircuitOpen, ProviderUnavailable):
            await ask(breaking, a_call())
    for other in (a_call("acme/two"), a_call(key="k2")):
        with pytest.raises(ProviderUnavailable):
            await ask(breaking, other)
        assert breaking.circuit_for(other).share == 1.0


@pytest.mark.parametrize(
    "error",
    [
        Refused("moderation", status=403),
        PaymentRequired("no credits", status=402),
        RateLimited("slow down", status=429),
        MachineExhausted("no more file descriptors"),
        asyncio.CancelledError(),
    ],
)
async def test_what_says_nothing_of_the_provider_is_not_counted(error: BaseException) -> None:
    breaking = CircuitBreaking(FakeUpstream([error]), clock=FakeClock())
    for _ in range(60):
        with pytest.raises(type(error)):
            await ask(breaking, a_call())
    assert breaking.circuit_for(a_call()).trust == 1.0


async def test_a_reply_that_breaks_off_or_begins_late_counts() -> None:
    events, clock = reply_events("x"), FakeClock()

    async def be_slow() -> None:
        clock.advance(POLICY.slow_after_s + 1)

    for script in ([*events[:2], BAD], [be_slow, *events]):
        breaking = CircuitBreaking(Metered(FakeUpstream(script)), clock=clock)
        with contextlib.suppress(ProviderUnavailable):
            await ask(breaking, a_call())
        assert breaking.circuit_for(a_call()).trust < 1.0


async def _wait_in_our_queue(
    script: Sequence[ScriptStep], journal: Journal, clock: Clock, wait_s: float
) -> float:
    """Ask behind a call that holds the only slot for a while; return the trust in the model."""
    limiter = RateLimiter(max_concurrency=1)
    breaking = CircuitBreaking(RateLimiting(Metered(FakeUpstream(script)), limiter))
    await limiter.acquire("k1", is_free=False, deadline_s=1e12)
    call = replace(a_call(), journal=journal)
    waiting = asyncio.ensure_future(ask(breaking, call))
    await clock.until(lambda: limiter.waiting)
    clock.advance(wait_s)
    limiter.release()
    await asyncio.wait([waiting])
    waiting.exception()
    return breaking.circuit_for(call).trust


async def test_a_wait_in_our_own_queue_does_not_count_against_a_model(
    loop_clock: Clock,
) -> None:
    wait_s, events = POLICY.slow_after_s * 10, reply_events("x")

    async def be_slow() -> None:
        loop_clock.advance(POLICY.slow_after_s + 1)

    assert await _wait_in_our_queue(events, a_journal(), loop_clock, wait_s) == 1.0
    assert await _wait_in_our_queue([be_slow, *events], a_journal(), loop_clock, wait_s) < 1.0


@pytest.mark.parametrize(("wait_s", "counts"), [(595.0, False), (0.0, True)])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_deadline_that_our_queue_used_up_does_not_count_against_a_model(
    loop_clock: Clock, wait_s: float, counts: bool, has_begun: bool
) -> None:
    clock = FakeClock()
    journal = a_journal(clock=clock)

    async def run_out() -> None:
        loop_clock.advance(5)
        clock.advance(600)
        raise UpstreamTimeout("late")

    script = [*reply_events("x")[:2], run_out] if has_begun else [run_out]
    assert (await _wait_in_our_queue(script, journal, loop_clock, wait_s) < 1.0) is counts


async def test_the_time_that_an_attempt_takes_to_write_is_a_wait_of_ours(
    loop_clock: Clock,
) -> None:
    class SlowBook(MemoryBook):
        async def begin(self, start: AttemptStart, /, *, ended: tuple[Attempt, ...] = ()) -> None:
            for one in (clock, loop_clock):
                one.advance(POLICY.slow_after_s + 1)
            await super().begin(start, ended=ended)

    clock = FakeClock()
    breaking = CircuitBreaking(Metered(FakeUpstream()))
    call = replace(a_call(), journal=a_journal(book=SlowBook(), clock=clock))
    await ask(breaking, call)
    assert breaking.circuit_for(call).trust == 1.0


async def test_the_circuits_kept_are_bounded() -> None:
    breaking = CircuitBreaking(FakeUpstream(), clock=FakeClock(), max_circuits=10)
    for number in range(50):
        await ask(breaking, a_call(f"acme/{number}"))
    assert len(breaking._circuits) == 10
