"""Asks again what failed in passing: briefly, rarely, and never what has begun to answer.

The first attempt does not pay for the machinery of the second: tenacity is entered when an
attempt has failed. Numbers: full jitter over a base of 50 ms, or 1 s when throttled, up to 20 s,
and a budget shared by all calls (AWS SDKs' standard retries of 2026: 500 tokens, a retry costs 14).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from devflow_core.errors import (
    DevFlowError,
    Disposition,
    Incomplete,
    Overloaded,
    PossiblyAccepted,
    ProtocolError,
    RateLimited,
    UpstreamTimeout,
)
from devflow_core.events import Event
from devflow_core.ports import AttemptLog, Call, EventStream, Upstream
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from devflow_upstream.transport.protocol import HOST_UNUSABLE

_RETRY_ONCE = (PossiblyAccepted, ProtocolError, Incomplete, UpstreamTimeout)
"""What may have been accepted, and billed, is asked for a second time but not a third."""
_SLOW_FAILURES = (RateLimited, Overloaded, UpstreamTimeout)
"""What takes a second or more to pass; another candidate can take over at once."""


class RetryBudget:
    """Tokens that retries and fallbacks of all calls share, so that a failing upstream is spared.

    `adaptive` starts with 500 tokens; a further attempt costs 14, gives them back when it
    succeeds, and a first attempt that succeeds earns 1. `strict` earns a tenth of an attempt with
    each call and keeps at most ten, whatever comes of them.
    """

    def __init__(self, kind: Literal["adaptive", "strict"] = "adaptive") -> None:
        self._is_strict = kind == "strict"
        self._cost = 10.0 if self._is_strict else 14.0
        self._max_tokens = 100.0 if self._is_strict else 500.0
        self.tokens = self._max_tokens

    def record_call(self) -> None:
        """A first attempt is made."""
        if self._is_strict:
            self.tokens = min(self._max_tokens, self.tokens + 1.0)

    def spend(self) -> bool:
        """Take the price of one further attempt; False when there is not enough left."""
        if self.tokens < self._cost:
            return False
        self.tokens -= self._cost
        return True

    def record_success(self, *, is_first: bool) -> None:
        """An attempt has begun to answer."""
        if not self._is_strict:
            self.tokens = min(self._max_tokens, self.tokens + (1.0 if is_first else self._cost))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, how long, and with which chance a call is asked again."""

    max_attempts: int = 3
    """Of one request in all, fallbacks included."""
    base_s: float = 0.05
    throttled_base_s: float = 1.0
    max_wait_s: float = 20.0
    chance: Callable[[], float] = field(default=random.random, repr=False)
    """Uniform in [0, 1)."""

    def wait_s(self, error: DevFlowError, failures: int) -> float:
        """How long to wait before the next attempt, after so many failures (from 1).

        Never shorter than the provider asks for; else full jitter.
        """
        is_slow = isinstance(error, RateLimited | Overloaded)
        base_s = self.throttled_base_s if is_slow else self.base_s
        max_s = min(self.max_wait_s, base_s * 2.0 ** min(failures - 1, 16))
        return max(error.retry_after_s or 0.0, max_s * self.chance())

    def may_retry(self, error: BaseException, journal: AttemptLog, *, is_last: bool) -> bool:
        """Whether the same candidate is asked again after this error.

        Args:
            error: of the last attempt.
            journal: with the attempts made.
            is_last: no other candidate could take over.
        """
        if not isinstance(error, DevFlowError) or error.disposition is not Disposition.RETRY:
            return False
        failures = count_failed_attempts(journal)
        if failures >= self.max_attempts or getattr(error, "error_type", None) == HOST_UNUSABLE:
            return False
        if isinstance(error, _RETRY_ONCE) and _count_repeats(journal) > 1:
            return False
        # one attempt is kept for the candidate that comes next
        return is_last or (
            failures < self.max_attempts - 1 and not isinstance(error, _SLOW_FAILURES)
        )


def count_failed_attempts(journal: AttemptLog) -> int:
    """Attempts that failed in passing; refusals and spent keys are not counted."""
    return sum(1 for attempt in journal.ended if attempt.error_code in _RETRYABLE_CODES)


def _count_repeats(journal: AttemptLog) -> int:
    """How often the last failure came in a row from the same model."""
    last = journal.ended[-1] if journal.ended else None
    count = 0
    for attempt in reversed(journal.ended):
        if last is None or (attempt.model, attempt.error_code) != (last.model, last.error_code):
            break
        count += 1
    return count


def _retryable_codes(kind: type[DevFlowError]) -> set[str]:
    own = {kind.code} if kind.disposition is Disposition.RETRY else set[str]()
    return own.union(*(_retryable_codes(child) for child in kind.__subclasses__()))


_RETRYABLE_CODES = frozenset(_retryable_codes(DevFlowError))


class Retrying:
    """An `Upstream` that asks a candidate again when it failed before its first event.

    Args:
        inner: what is asked.
        policy: when and how long to wait.
        budget: shared by every call of the process.
        sleep: how to wait.
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
        """As `Upstream.open`; raises the error of the last attempt."""
        return _RetriedCall(self, call)


class _RetriedCall:
    """One call, with the attempts it takes."""

    __slots__ = ("_call", "_inner", "_retrying")

    def __init__(self, retrying: Retrying, call: Call) -> None:
        self._retrying = retrying
        self._call = call
        self._inner: EventStream | None = None

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
        budget.record_success(is_first=is_first)
        return events

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._inner is not None  # noqa: S101 - it was entered
        return await self._inner.__aexit__(kind, error, trace)

    async def _attempt(self) -> AsyncIterator[Event]:
        inner = self._retrying.inner.open(self._call)
        events = await inner.__aenter__()
        self._inner = inner
        return events

    async def _retry(self, first: DevFlowError) -> AsyncIterator[Event]:
        """Hand the loop to tenacity, with the failure that has happened as its first attempt."""
        failures = [first]

        async def attempt() -> AsyncIterator[Event]:
            if failures:
                raise failures.pop()
            events = await self._attempt()
            self._retrying.budget.record_success(is_first=False)
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
        """Whether to give up: the wait would pass the deadline, or the budget is spent."""
        least_s = max(_last_error(state).retry_after_s or 0.0, state.upcoming_sleep)
        return least_s >= self._call.journal.remaining_s() or not self._retrying.budget.spend()

    def _may_retry(self, error: BaseException) -> bool:
        call = self._call
        return self._retrying.policy.may_retry(error, call.journal, is_last=call.is_last)


def _last_error(state: RetryCallState) -> DevFlowError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, DevFlowError)  # noqa: S101 - nothing else is asked again
    return error
