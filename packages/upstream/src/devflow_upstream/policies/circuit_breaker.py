"""Stops asking what has been failing, and finds out by single probes when it is back.

None of the libraries has a window of time, a share of failures, one probe at a time and a clock
that is given; so the state machine is ours, and pure: the wrapper around it only carries it out.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import cast

from devflow_core.errors import (
    CircuitOpen,
    Incomplete,
    NotSent,
    Overloaded,
    PossiblyAccepted,
    ProtocolError,
    ProviderUnavailable,
    UpstreamTimeout,
)
from devflow_core.events import Event
from devflow_core.ports import Call, EventStream, Upstream

_PROVIDER_FAILURES = (
    NotSent, PossiblyAccepted, ProviderUnavailable, Overloaded, UpstreamTimeout, ProtocolError,
    Incomplete,
)  # fmt: skip
"""What speaks against a provider; a refusal, a bill, or a caller who left does not."""

CircuitKey = tuple[str, str, str]
"""Id of the key, provider where the request pins one, model."""


class CircuitState(Enum):
    """The state of a circuit."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a circuit opens and how it closes again."""

    window_s: int = 10
    min_calls: int = 20
    """In the window, before a share means anything."""
    failure_share: float = 0.5
    slow_share: float = 0.8
    slow_after_s: float = 30.0
    """A first event later than this is slow."""
    open_s: float = 5.0
    max_open_s: float = 60.0
    """Each opening that follows a failed probe doubles the time it stays open, up to here."""
    jitter: float = 0.25
    closing_successes: int = 3
    probe_timeout_s: float = 60.0
    """A probe that has not come back by then no longer counts."""


class Circuit:
    """One circuit as a pure state machine: ask `admit`, then tell `record`; time is given.

    Args:
        policy: its numbers.
        chance: uniform in [0, 1), for the jitter.
    """

    def __init__(self, policy: BreakerPolicy, chance: Callable[[], float] = random.random) -> None:
        self.state = CircuitState.CLOSED
        self._policy = policy
        self._chance = chance
        self._seconds: OrderedDict[int, list[int]] = OrderedDict()  # second → calls, failed, slow
        self._open_until_s = 0.0
        self._openings = 0
        self._successes = 0
        self._probe_until_s: float | None = None
        self._permit = 0

    def admit(self, now_s: float) -> int | None:
        """A permit for one more call, or None. From a half-open circuit it is the one probe's."""
        if self.state is CircuitState.OPEN and now_s >= self._open_until_s:
            self.state, self._successes, self._probe_until_s = CircuitState.HALF_OPEN, 0, None
        if self.state is CircuitState.CLOSED:
            return self._permit
        if self.state is CircuitState.OPEN:
            return None
        if self._probe_until_s is not None and now_s < self._probe_until_s:
            return None
        self._probe_until_s = now_s + self._policy.probe_timeout_s
        self._permit += 1
        return self._permit

    def wait_s(self, now_s: float) -> float:
        """How long until another call may be admitted, as far as is known."""
        until_s = self._open_until_s if self.state is CircuitState.OPEN else self._probe_until_s
        return max(0.0, (until_s or now_s) - now_s)

    def record(self, permit: int, now_s: float, *, is_failure: bool, is_slow: bool = False) -> None:
        """The call with this permit has begun to answer, or failed.

        A permit from before the circuit last changed its mind says nothing any more.
        """
        if permit != self._permit:
            return
        if self.state is CircuitState.HALF_OPEN:
            self._record_probe(now_s, is_failure=is_failure)
        elif self.state is CircuitState.CLOSED:
            self._record_call(now_s, is_failure=is_failure, is_slow=is_slow)

    def discard(self, permit: int) -> None:
        """The call with this permit ended in a way that says nothing about the provider."""
        if permit == self._permit:
            self._probe_until_s = None

    def _record_probe(self, now_s: float, *, is_failure: bool) -> None:
        self._probe_until_s = None
        if is_failure:
            self._trip(now_s)
            return
        self._successes += 1
        if self._successes >= self._policy.closing_successes:
            self.state, self._openings = CircuitState.CLOSED, 0
            self._permit += 1
            self._seconds.clear()

    def _record_call(self, now_s: float, *, is_failure: bool, is_slow: bool) -> None:
        second = int(now_s)
        counts = self._seconds.setdefault(second, [0, 0, 0])
        counts[0] += 1
        counts[1] += is_failure
        counts[2] += is_slow
        while next(iter(self._seconds)) <= second - self._policy.window_s:
            self._seconds.popitem(last=False)
        if is_failure or is_slow:
            calls, failed, slow = (
                sum(column) for column in zip(*self._seconds.values(), strict=True)
            )
            if calls >= self._policy.min_calls and (
                failed >= self._policy.failure_share * calls
                or slow >= self._policy.slow_share * calls
            ):
                self._trip(now_s)

    def _trip(self, now_s: float) -> None:
        policy = self._policy
        open_s = min(policy.open_s * 2**self._openings, policy.max_open_s)
        open_s *= 1 + policy.jitter * (2 * self._chance() - 1)
        self._openings = min(self._openings + 1, 16)
        self.state, self._open_until_s = CircuitState.OPEN, now_s + open_s
        self._permit += 1
        self._seconds.clear()


class CircuitBreaking:
    """An `Upstream` that asks only where the circuit is closed, or as its one probe.

    Args:
        inner: what is asked.
        policy: the numbers of every circuit.
        clock: monotonic seconds; None is the event loop's.
        max_circuits: kept at the most; the ones longest unused go first.
    """

    def __init__(
        self,
        inner: Upstream,
        *,
        policy: BreakerPolicy | None = None,
        clock: Callable[[], float] | None = None,
        max_circuits: int = 4096,
    ) -> None:
        self._inner = inner
        self._policy = policy or BreakerPolicy()
        self._clock = clock
        self._max_circuits = max_circuits
        self._circuits: OrderedDict[CircuitKey, Circuit] = OrderedDict()

    def open(self, call: Call, /) -> EventStream:
        """As `Upstream.open`.

        Raises:
            CircuitOpen: nobody was asked.
        """
        clock = self._clock or asyncio.get_running_loop().time
        return _GuardedCall(self._inner, call, self.circuit_for(call), self._policy, clock)

    def circuit_for(self, call: Call) -> Circuit:
        """The circuit that a call goes through."""
        key = (call.key.id if call.key else "", _pinned_provider(call), call.candidate.model)
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = Circuit(self._policy)
            if len(self._circuits) > self._max_circuits:
                self._circuits.popitem(last=False)
        else:
            self._circuits.move_to_end(key)
        return circuit


class _GuardedCall:
    """One call through a circuit."""

    __slots__ = ("_call", "_circuit", "_clock", "_inner", "_permit", "_policy", "_upstream")

    def __init__(
        self,
        upstream: Upstream,
        call: Call,
        circuit: Circuit,
        policy: BreakerPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._upstream = upstream
        self._call = call
        self._circuit = circuit
        self._policy = policy
        self._clock = clock
        self._inner: EventStream | None = None
        self._permit = 0

    async def __aenter__(self) -> AsyncIterator[Event]:
        sent_s = self._clock()
        permit = self._circuit.admit(sent_s)
        if permit is None:
            model, wait_s = self._call.candidate.model, self._circuit.wait_s(sent_s)
            raise CircuitOpen(
                f"{model} has been failing and is not asked for another {wait_s:.0f} s.",
                model=model,
                retry_after_s=wait_s,
            )
        self._permit = permit
        inner = self._upstream.open(self._call)
        try:
            events = await inner.__aenter__()
        except _PROVIDER_FAILURES:
            self._circuit.record(self._permit, self._clock(), is_failure=True)
            raise
        except BaseException:
            self._circuit.discard(permit)
            raise
        now_s = self._clock()
        is_slow = now_s - sent_s > self._policy.slow_after_s
        self._circuit.record(permit, now_s, is_failure=False, is_slow=is_slow)
        self._inner = inner
        return events

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if isinstance(error, _PROVIDER_FAILURES):
            self._circuit.record(self._permit, self._clock(), is_failure=True)
        assert self._inner is not None  # noqa: S101 - it was entered
        return await self._inner.__aexit__(kind, error, trace)


def _pinned_provider(call: Call) -> str:
    """The only provider that may answer, where the candidate pins one."""
    only = (call.candidate.provider or {}).get("only")
    return ",".join(cast("list[str]", only)) if isinstance(only, list) else ""
