"""Repeats calls after transient failures: briefly, rarely, and never once a reply has begun.

Tenacity is entered only after an attempt has failed, so that the first attempt does not pay for it.
The waits use full jitter over a base of 50 ms, or 1 s when throttled, up to 20 s. The budget is
shared by all calls and follows the AWS SDKs' standard retries of 2026 (500 tokens; a retry costs 14
and gets them back when it succeeds), half of it for retries and half for fallbacks.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from devflow_core.errors import (
    DevFlowError,
    Incomplete,
    MachineExhausted,
    NotSent,
    Overloaded,
    PossiblyAccepted,
    ProtocolError,
    ProviderUnavailable,
    RateLimited,
    UpstreamError,
    UpstreamTimeout,
)
from devflow_core.events import Event
from devflow_core.ports import AttemptLog, Call, EventStream, Upstream
from devflow_core.statuses import Disposition
from devflow_core.wrapping import WrappedCall
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from devflow_upstream.transport.protocol import HOST_UNUSABLE

_RETRY_ONCE = (PossiblyAccepted, ProtocolError, Incomplete, UpstreamTimeout)
"""Errors of requests that may have been accepted and billed; they are repeated only once."""
_SLOW_FAILURES = (RateLimited, Overloaded, UpstreamTimeout)
"""Failures that last a second or more, so that another candidate should take over meanwhile."""
_TRANSIENT_CODES = frozenset(
    kind.code
    for kind in (
        UpstreamError, NotSent, PossiblyAccepted, RateLimited, Overloaded, ProviderUnavailable,
        UpstreamTimeout, ProtocolError, Incomplete,
    )
)  # fmt: skip
"""The codes of our transient errors. A list, so that an application's subclasses change nothing."""


@dataclass(slots=True, kw_only=True)
class Tokens:
    """An account of tokens that further attempts are paid from; it starts full."""

    max_tokens: float
    price: float
    """The cost of one further attempt."""
    returned: float
    """The tokens returned when that attempt succeeds."""
    is_paid_ahead: bool = True
    """Whether the price is taken when an attempt begins; otherwise it is taken at its end."""
    per_call: float = 0.0
    """The tokens earned by each request's first attempt."""
    per_success: float = 0.0
    """The tokens earned by each first attempt that succeeds."""
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.max_tokens

    def begin(self) -> bool:
        """Begin one further attempt if the tokens suffice for it; return whether they do."""
        if self.left < self.price:
            return False
        if self.is_paid_ahead:
            self.left -= self.price
        return True

    def end(self, *, is_success: bool) -> None:
        """End an attempt that was begun: it has begun to answer, or failed."""
        tokens = self.returned if is_success else 0.0
        self.add(tokens if self.is_paid_ahead else tokens - self.price)

    def add(self, tokens: float) -> None:
        """Add tokens, or take them if negative; the account stays between empty and full."""
        self.left = min(self.max_tokens, max(0.0, self.left + tokens))


class RetryBudget:
    """Pays for the retries and fallbacks of all calls, so that a failing upstream is spared.

    `adaptive` keeps two accounts of 250 tokens. Asking the same model again costs 14, which are
    returned when it succeeds. Asking another model costs 14 if it fails too, and earns 21 if it
    succeeds: it pays for itself from a success rate of 40 % on. So models that fail independently
    stand in for each other, and if all are down, fallbacks end after 17 (plus the running ones:
    many may be in flight, so they reserve nothing). A first attempt that succeeds adds 1 to each
    account.

    `strict` has one account for both: each call earns a tenth of an attempt, the account holds at
    most ten, and successes return nothing.
    """

    def __init__(self, kind: Literal["adaptive", "strict"] = "adaptive") -> None:
        if kind == "strict":
            self.retries = self.fallbacks = Tokens(
                max_tokens=100.0, price=10.0, returned=0.0, per_call=1.0
            )
            self._accounts = (self.retries,)
        else:
            self.retries = Tokens(max_tokens=250.0, price=14.0, returned=14.0, per_success=1.0)
            self.fallbacks = Tokens(
                max_tokens=250.0, price=14.0, returned=35.0, per_success=1.0, is_paid_ahead=False
            )
            self._accounts = (self.retries, self.fallbacks)

    def record_call(self) -> None:
        """Record that a first attempt is made."""
        for account in self._accounts:
            account.add(account.per_call)

    def record_success(self) -> None:
        """Record that a first attempt has begun to answer."""
        for account in self._accounts:
            account.add(account.per_success)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The limits on how often a call is repeated, and on how long to wait."""

    max_attempts: int = 3
    """The transient failures, fallbacks included, after which one request is given up."""
    base_s: float = 0.05
    """The longest wait after the first failure, in seconds; it doubles with each further one."""
    throttled_base_s: float = 1.0
    """The same wait, in seconds, after `RateLimited` and `Overloaded`."""
    max_wait_s: float = 20.0
    """The longest wait in seconds, unless the provider asks for a longer one."""
    chance: Callable[[], float] = field(default=random.random, repr=False)
    """Returns a random number, uniform in [0, 1), for the jitter."""

    def wait_s(self, error: DevFlowError, failures: int) -> float:
        """Return the seconds to wait before the next attempt, after this many failures (from 1).

        The wait has full jitter, unless the provider asks for a longer one.
        """
        is_slow = isinstance(error, RateLimited | Overloaded)
        base_s = self.throttled_base_s if is_slow else self.base_s
        max_s = min(self.max_wait_s, base_s * 2.0 ** min(failures - 1, 16))
        return max(error.retry_after_s or 0.0, max_s * self.chance())

    def may_retry(self, error: BaseException, journal: AttemptLog, *, is_last: bool) -> bool:
        """Return whether the same candidate is asked again after this error.

        Args:
            error: the error of the last attempt.
            journal: the record of the attempts so far.
            is_last: whether no other candidate could take over.
        """
        if not isinstance(error, DevFlowError) or error.disposition is not Disposition.RETRY:
            return False
        failures = count_failed_attempts(journal, error)
        if failures >= self.max_attempts or getattr(error, "error_type", None) == HOST_UNUSABLE:
            return False
        if isinstance(error, _RETRY_ONCE) and _count_repeats(journal) > 1:
            return False
        # one attempt is kept for the next candidate
        return is_last or (
            failures < self.max_attempts - 1 and not isinstance(error, _SLOW_FAILURES)
        )


def count_failed_attempts(journal: AttemptLog, error: DevFlowError) -> int:
    """Return how many attempts failed transiently; refusals and spent keys do not count.

    Args:
        journal: the record of the attempts so far.
        error: a transient error; its code counts even if it is that of a class of the user's own.
    """
    codes = _TRANSIENT_CODES | {error.code}
    return sum(1 for attempt in journal.ended if attempt.error_code in codes)


def _count_repeats(journal: AttemptLog) -> int:
    """Return how often in a row the same model failed with the last failure."""
    last = journal.ended[-1] if journal.ended else None
    count = 0
    for attempt in reversed(journal.ended):
        if last is None or (attempt.model, attempt.error_code) != (last.model, last.error_code):
            break
        count += 1
    return count


class Retrying:
    """An `Upstream` that asks a candidate again if it failed before its reply had begun.

    Args:
        inner: the upstream that makes each attempt.
        policy: when to repeat a call, and how long to wait.
        budget: shared by every call of the process.
        sleep: waits for some seconds; tests replace it.
    """

    def __init__(
        self,
        inner: Upstream,
        *,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.inner = inner
        self.policy = policy or RetryPolicy()
        self.budget = budget or RetryBudget()
        self.sleep = sleep

    def open(self, call: Call, /) -> EventStream:
        """Open the call, and retry it if necessary.

        Raises:
            DevFlowError: the error of the last attempt.
        """
        return _RetriedCall(self, call)


class _RetriedCall(WrappedCall):
    """One call, with all its attempts."""

    __slots__ = ("_call", "_retrying")

    def __init__(self, retrying: Retrying, call: Call) -> None:
        super().__init__()
        self._retrying = retrying
        self._call = call

    async def __aenter__(self) -> AsyncIterator[Event]:
        is_first = not self._call.journal.ended
        budget = self._retrying.budget
        if is_first:
            budget.record_call()
        try:
            events = await self._attempt()
        except DevFlowError as error:
            if not self._may_retry(error):
                raise
            return await self._retry(error)
        if is_first:
            budget.record_success()
        return events

    async def _attempt(self) -> AsyncIterator[Event]:
        return await self._enter(self._retrying.inner.open(self._call))

    async def _retry(self, first: DevFlowError) -> AsyncIterator[Event]:
        """Run tenacity's loop, with the failure that has happened as its first attempt."""
        failures = [first]
        tokens = self._retrying.budget.retries

        async def attempt() -> AsyncIterator[Event]:
            if failures:
                raise failures.pop()
            try:
                events = await self._attempt()
            except MachineExhausted:  # no provider was asked
                tokens.add(tokens.price)
                raise
            tokens.end(is_success=True)
            return events

        tenacious = AsyncRetrying(
            sleep=self._retrying.sleep,
            wait=self._wait,
            stop=self._stop_or_spend,
            retry=retry_if_exception(self._may_retry),
            reraise=True,
        )
        return await tenacious(attempt)

    def _wait(self, state: RetryCallState) -> float:
        return self._retrying.policy.wait_s(_last_error(state), state.attempt_number)

    def _stop_or_spend(self, state: RetryCallState) -> bool:
        """Return whether to give up: the wait would pass the deadline, or the budget is spent."""
        least_s = max(_last_error(state).retry_after_s or 0.0, state.upcoming_sleep)
        return (
            least_s >= self._call.journal.remaining_s() or not self._retrying.budget.retries.begin()
        )

    def _may_retry(self, error: BaseException) -> bool:
        call = self._call
        return self._retrying.policy.may_retry(error, call.journal, is_last=call.is_last)


def _last_error(state: RetryCallState) -> DevFlowError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, DevFlowError)  # noqa: S101 - nothing else is asked again
    return error
