"""Sheds calls to a failing model, more of them the more it fails, but never all.

A breaker with an open and a closed state turns a partial outage into a full one: at 50 % random
errors it opens, and the three good probes in a row that close it come once in eight tries. So a
circuit here sheds a share of the calls, as clients do in "Site Reliability Engineering" (Google,
chapter 21, "Handling Overload"), but by counting instead of at random: the same calls and answers
always give the same decisions.

A circuit belongs to a key, the providers if some are pinned, and a model. It keeps one number, its
trust in [0, 1], from which the share of calls that it lets through follows:

    event                                         trust                       share let through
    no call for 10 s (or ever)                    1                           all
    a prompt first event                          + 0.25 of what is missing   by the new trust
    a failure, or a late first event              - 0.1 of what is present    by the new trust
    a reply that began promptly and broke off     gain undone, then failure   by the new trust
    429, 402, other 4xx, moderation, a caller
    who left, this machine exhausted, a
    deadline that a wait here used up             unchanged                   unchanged

    trust >= 0.4          everything
    0.1 < trust < 0.4     (trust - 0.1) / 0.3 of the calls, evenly
    trust <= 0.1          nothing

    at any share          one call a second, the probe; and one at once after each success

A success weighs more than a failure, so for a share of successes s trust settles at t where
0.25 s (1 - t) = 0.1 (1 - s) t: at 0.71 for one half, at 0.4 for 21 %, at 0.22 for 10 %. So a model
that fails half of the time keeps all its calls, and chance alone sheds almost none (0.4 % of them
in simulation). From full trust, 9 failures in a row start the shedding and 22 leave only the probe.
From there the first success lets at least half of the calls through, and the second one all: with
one probe a second, the first call gets through within a second of the recovery, and all of them one
or two round trips later.

A probe needs no permit. The next one is sent once its second has passed, whatever happened to the
previous one, so a probe that hangs or is lost blocks nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
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
from devflow_core.wrapping import WrappedCall

_PROVIDER_FAILURES = (
    NotSent, PossiblyAccepted, ProviderUnavailable, Overloaded, UpstreamTimeout, ProtocolError,
    Incomplete,
)  # fmt: skip
"""Errors that count against a provider; refusals, bills and callers who left do not."""

_NEGLIGIBLE_WAIT = 0.1
"""The share of a model's own time up to which a wait on this machine changes nothing.

Writing an attempt takes every call a few milliseconds.
"""

CircuitKey = tuple[str, str, str]
"""The id of the key, the providers if the candidate pins some, and the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """The parameters by which trust is gained and lost, and by which calls are let through."""

    gain: float = 0.25
    """The share of the missing trust that each prompt first event adds."""
    loss: float = 0.1
    """The share of the present trust that each failure removes."""
    full_trust: float = 0.4
    """The trust from which on every call is let through."""
    no_trust: float = 0.1
    """The trust at or below which only the probe is let through."""
    probe_every_s: float = 1.0
    """The time between two probes, in seconds."""
    forget_after_s: float = 10.0
    """Seconds without a call after which earlier failures are forgotten."""
    slow_after_s: float = 30.0
    """Seconds after a call was sent, beyond which its first event counts as a failure."""


class Circuit:
    """One circuit as a pure state machine: ask `admit`, then call `record`; time is passed in."""

    __slots__ = ("_asked_s", "_credit", "_policy", "_probe_at_s", "trust")

    def __init__(self, policy: BreakerPolicy) -> None:
        self.trust = 1.0
        self._policy = policy
        self._asked_s = -math.inf
        self._probe_at_s = -math.inf
        self._credit = 0.0
        """The shares saved up since the last call; at 1 a call is let through."""

    @property
    def share(self) -> float:
        """The share of calls that is let through at present, not counting probes."""
        policy = self._policy
        share = (self.trust - policy.no_trust) / (policy.full_trust - policy.no_trust)
        return min(1.0, max(0.0, share))

    def admit(self, now_s: float) -> bool:
        """Return whether one more call may be made."""
        policy = self._policy
        if now_s - self._asked_s > policy.forget_after_s:
            self.trust = 1.0
        self._asked_s = now_s
        if self.trust >= policy.full_trust:
            return True
        self._credit += self.share
        if self._credit < 1.0 and now_s < self._probe_at_s:
            return False
        self._credit = max(0.0, self._credit - 1.0)
        self._probe_at_s = now_s + policy.probe_every_s
        return True

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next call is certain to be let through."""
        return max(0.0, self._probe_at_s - now_s)

    def record(self, *, is_good: bool) -> None:
        """Record that a call began to answer promptly, or that it failed."""
        if is_good:
            self.trust += self._policy.gain * (1.0 - self.trust)
            self._probe_at_s = -math.inf
        else:
            self.trust -= self._policy.loss * self.trust

    def retract(self) -> None:
        """Turn a call that was recorded as good into a failure, since its reply broke off."""
        gain = self._policy.gain
        self.trust = max(0.0, (self.trust - gain) / (1.0 - gain))
        self.record(is_good=False)


class CircuitBreaking:
    """An `Upstream` that makes only the share of calls that the circuit lets through.

    Args:
        inner: the upstream that makes the calls.
        policy: the parameters of every circuit.
        clock: monotonic seconds; None: the event loop's clock.
        max_circuits: how many are kept; the least recently used are dropped first.
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
        """Open the call if its circuit lets it through.

        Raises:
            CircuitOpen: the call was shed; no provider was called.
        """
        clock = self._clock or asyncio.get_running_loop().time
        slow_after_s = self._policy.slow_after_s
        return _GuardedCall(self._inner, call, self.circuit_for(call), slow_after_s, clock)

    def circuit_for(self, call: Call) -> Circuit:
        """Return the circuit that a call goes through."""
        key = (call.key.id if call.key else "", _pinned_provider(call), call.candidate.model)
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = Circuit(self._policy)
            if len(self._circuits) > self._max_circuits:
                self._circuits.popitem(last=False)
        else:
            self._circuits.move_to_end(key)
        return circuit


class _GuardedCall(WrappedCall):
    """One call through a circuit."""

    __slots__ = (
        "_admitted_s", "_call", "_circuit", "_clock", "_is_good", "_slow_after_s", "_upstream",
        "_waited_s",
    )  # fmt: skip

    def __init__(
        self,
        upstream: Upstream,
        call: Call,
        circuit: Circuit,
        slow_after_s: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__()
        self._upstream = upstream
        self._call = call
        self._circuit = circuit
        self._slow_after_s = slow_after_s
        self._clock = clock
        self._is_good = False
        self._admitted_s = 0.0
        self._waited_s = 0.0
        """The seconds that the request had waited here before this call."""

    async def __aenter__(self) -> AsyncIterator[Event]:
        self._admitted_s = now_s = self._clock()
        self._waited_s = self._call.journal.waited_s
        if not self._circuit.admit(now_s):
            raise self._open_error(now_s)
        try:
            events = await self._enter(self._upstream.open(self._call))
        except _PROVIDER_FAILURES as error:
            if not self._was_cut_short(error):
                self._circuit.record(is_good=False)
            raise
        self._is_good = self._answering_s() <= self._slow_after_s
        self._circuit.record(is_good=self._is_good)
        return events

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if (
            self._is_good
            and isinstance(error, _PROVIDER_FAILURES)
            and not self._was_cut_short(error)
        ):
            self._circuit.retract()
        return await super().__aexit__(kind, error, trace)

    def _answering_s(self) -> float:
        """Return the seconds that the model has had, without what this call waited here."""
        waited_s = self._call.journal.waited_s - self._waited_s
        return self._clock() - self._admitted_s - waited_s

    def _was_cut_short(self, error: BaseException) -> bool:
        """Return whether waits on this machine used up the time that the model should have had."""
        journal = self._call.journal
        if not isinstance(error, UpstreamTimeout) or journal.remaining_s() > 0:
            return False
        had_s = self._answering_s()
        return had_s < self._slow_after_s and journal.waited_s > _NEGLIGIBLE_WAIT * had_s

    def _open_error(self, now_s: float) -> CircuitOpen:
        model, wait_s = self._call.candidate.model, self._circuit.wait_s(now_s)
        return CircuitOpen(
            f"{model} has been failing; at present {self._circuit.share:.0%} of the calls to it are"
            f" made. Ask again in {math.ceil(wait_s) or 1} s, or ask another model.",
            model=model,
            retry_after_s=wait_s,
        )


def _pinned_provider(call: Call) -> str:
    """Return the providers that alone may answer, joined by commas; "" if none is pinned."""
    only = (call.candidate.provider or {}).get("only")
    return ",".join(cast("list[str]", only)) if isinstance(only, list) else ""
