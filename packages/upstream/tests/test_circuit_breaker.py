"""The breaker: a state machine with the clock given, and the wrapper that obeys it."""

import asyncio
from dataclasses import replace

import pytest
from devflow_core.errors import (
    CircuitOpen,
    Disposition,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    Refused,
)
from devflow_core.ports import Call, UpstreamKey
from devflow_core.testing import (
    FakeClock,
    FakeUpstream,
    a_candidate,
    a_journal,
    a_request,
    reply_events,
)
from devflow_upstream.policies.circuit_breaker import (
    BreakerPolicy,
    Circuit,
    CircuitBreaking,
    CircuitState,
)
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

POLICY = BreakerPolicy()
BAD = ProviderUnavailable("down", status=502)


def tripped(clock_s: float = 0.0) -> Circuit:
    circuit = Circuit(POLICY, chance=lambda: 0.5)
    for _ in range(POLICY.min_calls):
        permit = circuit.admit(clock_s)
        assert permit is not None
        circuit.record(permit, clock_s, is_failure=True)
    return circuit


def test_it_opens_at_half_of_twenty_calls_within_ten_seconds() -> None:
    circuit = Circuit(POLICY)
    for number in range(POLICY.min_calls):
        assert circuit.state is CircuitState.CLOSED
        permit = circuit.admit(1.0)
        assert permit is not None
        circuit.record(permit, 1.0, is_failure=number % 2 == 1)
    assert circuit.state is CircuitState.OPEN


def test_failures_that_lie_further_apart_do_not_add_up() -> None:
    circuit = Circuit(POLICY)
    for second in range(200):
        permit = circuit.admit(float(second))
        assert permit is not None
        circuit.record(permit, float(second), is_failure=True)
    assert circuit.state is CircuitState.CLOSED


def test_slowness_opens_it_too() -> None:
    circuit = Circuit(POLICY)
    for number in range(POLICY.min_calls):
        permit = circuit.admit(1.0)
        assert permit is not None
        circuit.record(permit, 1.0, is_failure=False, is_slow=number >= 4)
    assert circuit.state is CircuitState.OPEN


def test_each_failed_probe_doubles_the_wait_up_to_a_minute() -> None:
    circuit, now_s, waits = tripped(), 0.0, list[float]()
    for _ in range(6):
        waits.append(circuit.wait_s(now_s))
        now_s += waits[-1]
        probe = circuit.admit(now_s)
        assert probe is not None
        assert circuit.admit(now_s) is None
        circuit.record(probe, now_s, is_failure=True)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_three_good_probes_close_it() -> None:
    circuit = tripped()
    for _ in range(3):
        probe = circuit.admit(5.0)
        assert probe is not None
        assert circuit.state is CircuitState.HALF_OPEN
        circuit.record(probe, 5.0, is_failure=False)
    assert circuit.state is CircuitState.CLOSED


def test_a_lost_probe_frees_its_place_and_counts_no_more() -> None:
    circuit = tripped()
    lost = circuit.admit(5.0)
    assert lost is not None
    assert circuit.admit(5.0 + POLICY.probe_timeout_s - 1) is None
    assert circuit.admit(5.0 + POLICY.probe_timeout_s) is not None
    circuit.record(lost, 70.0, is_failure=True)
    assert circuit.state is CircuitState.HALF_OPEN


class Breaker(RuleBasedStateMachine):
    """Any order of calls, answers and time: at most one probe is out, and waits have a limit."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit(replace(POLICY, min_calls=4), chance=lambda: 1.0)
        self.now_s = 0.0
        self.out: list[tuple[int, float]] = []

    @rule()
    def ask(self) -> None:
        was_half_open = self.circuit.state is not CircuitState.CLOSED
        permit = self.circuit.admit(self.now_s)
        if permit is None:
            assert was_half_open
            return
        if self.circuit.state is CircuitState.HALF_OPEN:
            fresh = [p for p, at_s in self.out if at_s + POLICY.probe_timeout_s > self.now_s]
            assert permit not in fresh
        self.out.append((permit, self.now_s))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), is_failure=st.booleans())
    def answer(self, data: st.DataObject, is_failure: bool) -> None:
        place = data.draw(st.integers(0, len(self.out) - 1))
        permit, _ = self.out.pop(place)
        self.circuit.record(permit, self.now_s, is_failure=is_failure)

    @precondition(lambda self: self.out)
    @rule()
    def leave(self) -> None:
        self.circuit.discard(self.out.pop()[0])

    @rule(seconds=st.floats(0, 40))
    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def a_wait_has_a_limit(self) -> None:
        max_s = max(POLICY.max_open_s * (1 + POLICY.jitter), POLICY.probe_timeout_s)
        assert self.circuit.wait_s(self.now_s) <= max_s

    @invariant()
    def an_open_circuit_admits_nobody(self) -> None:
        if self.circuit.state is CircuitState.OPEN and self.circuit.wait_s(self.now_s) > 0:
            assert self.circuit.admit(self.now_s) is None


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


async def test_an_open_circuit_is_not_asked_and_can_be_fallen_back_from() -> None:
    clock, upstream = FakeClock(), FakeUpstream([BAD])
    breaking = CircuitBreaking(upstream, clock=clock)
    for _ in range(20):
        with pytest.raises(ProviderUnavailable):
            await ask(breaking, a_call())
    with pytest.raises(CircuitOpen) as caught:
        await ask(breaking, a_call())
    assert len(upstream.calls) == 20
    assert caught.value.disposition is Disposition.FALL_BACK
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 6.25


async def test_keys_and_models_have_circuits_of_their_own() -> None:
    clock, upstream = FakeClock(), FakeUpstream([BAD])
    breaking = CircuitBreaking(upstream, clock=clock)
    for _ in range(20):
        with pytest.raises(ProviderUnavailable):
            await ask(breaking, a_call())
    for other in (a_call("acme/two"), a_call(key="k2")):
        with pytest.raises(ProviderUnavailable):
            await ask(breaking, other)


@pytest.mark.parametrize(
    "error",
    [
        Refused("moderation", status=403),
        PaymentRequired("no credits", status=402),
        RateLimited("slow down", status=429),
        asyncio.CancelledError(),
    ],
)
async def test_what_says_nothing_of_the_provider_is_not_counted(error: BaseException) -> None:
    breaking = CircuitBreaking(FakeUpstream([error]), clock=FakeClock())
    for _ in range(60):
        with pytest.raises(type(error)):
            await ask(breaking, a_call())
    assert breaking.circuit_for(a_call()).state is CircuitState.CLOSED


async def test_a_reply_that_breaks_off_counts() -> None:
    events = reply_events("x")
    breaking = CircuitBreaking(FakeUpstream([*events[:2], BAD]), clock=FakeClock())
    for _ in range(10):  # each is counted when it begins and when it breaks
        with pytest.raises(ProviderUnavailable):
            await ask(breaking, a_call())
    assert breaking.circuit_for(a_call()).state is CircuitState.OPEN


async def test_a_thousand_callers_make_one_probe() -> None:
    clock = FakeClock()
    gate = asyncio.Event()
    good = reply_events("ok")

    async def wait() -> None:
        await gate.wait()

    upstream = FakeUpstream(*[[BAD]] * 20, [good[0], wait, *good[1:]])
    breaking = CircuitBreaking(upstream, clock=clock)
    for _ in range(20):
        with pytest.raises(ProviderUnavailable):
            await ask(breaking, a_call())
    clock.advance(7.0)
    first = breaking.circuit_for(a_call())
    permits = [first.admit(clock()) for _ in range(1000)]
    assert sum(permit is not None for permit in permits) == 1


async def test_the_circuits_kept_are_bounded() -> None:
    breaking = CircuitBreaking(FakeUpstream(), clock=FakeClock(), max_circuits=10)
    for number in range(50):
        await ask(breaking, a_call(f"acme/{number}"))
    assert len(breaking._circuits) == 10
