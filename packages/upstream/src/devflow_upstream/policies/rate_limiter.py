"""Limits the calls in flight, the rate at which they start, and the number that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import cast

from aiolimiter import AsyncLimiter
from devflow_core.errors import QueueFull, RateLimited
from devflow_core.events import Event
from devflow_core.ports import Call, EventStream, Upstream
from devflow_core.wrapping import WrappedCall

FREE_REQUESTS_PER_MIN = 20
"""Requests per minute to models ending in `:free`, applied to each key.

The provider applies it to all keys of an account (its description of limits, 2026-10).
"""
_MINUTE_S = 60.0


class RateLimiter:
    """Admits calls: each needs a slot among those in flight, then a start within its key's rate.

    The provider's answers set the limits of keys; a lower one in the settings stays.

    Args:
        max_concurrency: calls in flight at once, each from its start to the end of its reply.
        max_queue: calls that may wait; further ones are refused at once.
        requests_per_min: for one key, without its calls to free models; None: unlimited until the
            provider reports a limit.
        min_gap_s: the least time between two starts with one key, in seconds.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 256,
        max_queue: int = 1024,
        requests_per_min: int | None = None,
        min_gap_s: float = 0.0,
    ) -> None:
        self._slots = asyncio.Semaphore(max_concurrency)
        self._max_queue = max_queue
        self._requests_per_min = requests_per_min
        self._min_gap_s = min_gap_s
        self._waiting = 0
        self._rates: dict[tuple[str, bool], _KeyRate | None] = {}
        self._next_start_s: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """The number of calls that are waiting."""
        return self._waiting

    async def acquire(self, key_id: str, *, is_free: bool, deadline_s: float) -> None:
        """Wait for a slot and a start; the caller gives the slot back with `release`.

        Args:
            key_id: the key that the call is sent with.
            is_free: whether the model is a free one; those have a separate limit.
            deadline_s: the time on the event loop's clock until which to wait.

        Raises:
            QueueFull: too many calls wait already, or the deadline passed while waiting.
        """
        rate = self._rate_for(key_id, is_free=is_free)
        if not self._slots.locked() and self._try_start(key_id, rate):
            if rate is not None:
                await rate.bucket.acquire()
            await self._slots.acquire()
            return
        if self._waiting >= self._max_queue:
            raise QueueFull(
                f"{self._waiting} calls wait for the upstream already. Try again shortly.",
                retry_after_s=1.0,
            )
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._wait_in_queue(key_id, rate)
        except TimeoutError:
            raise QueueFull(
                "The deadline passed before the upstream had room. Allow more time, or send less.",
                retry_after_s=1.0,
            ) from None
        finally:
            self._waiting -= 1

    def release(self) -> None:
        """Give the slot back."""
        self._slots.release()

    def limit_per_min(self, key_id: str, *, is_free: bool) -> int | None:
        """Return the limit in force for a key's calls, free or not; None if it is unknown."""
        rate = self._rate_for(key_id, is_free=is_free)
        return rate.per_min if rate else None

    def learn_limit(self, key_id: str, *, is_free: bool, requests_per_min: int) -> None:
        """Apply a limit that the provider reported for a key's calls, free or not.

        A lower one from the settings stays; it is for calls that are not free.
        """
        if self._requests_per_min is not None and not is_free:
            requests_per_min = min(requests_per_min, self._requests_per_min)
        known = self._rates.get((key_id, is_free))
        if requests_per_min > 0 and (known is None or known.per_min != requests_per_min):
            self._rates[key_id, is_free] = _KeyRate(requests_per_min)

    def learn_from_key_status(self, key_id: str, status: Mapping[str, object]) -> None:
        """Apply the `rate_limit` in the JSON of `GET /key`, unless it holds no positive number."""
        rate = status.get("rate_limit")
        if not isinstance(rate, Mapping):
            return
        rate = cast("Mapping[str, object]", rate)  # decoded JSON
        requests, interval = rate.get("requests"), rate.get("interval")
        seconds = _parse_interval_s(interval) if isinstance(interval, str) else None
        if isinstance(requests, int) and requests > 0 and seconds:
            per_min = max(1, int(requests * _MINUTE_S / seconds))
            self.learn_limit(key_id, is_free=False, requests_per_min=per_min)

    async def _wait_in_queue(self, key_id: str, rate: _KeyRate | None) -> None:
        # the slot comes last: a call that waits for a slow key must not hold a slot that others
        # could use
        if rate is not None:
            await rate.bucket.acquire()
        await self._wait_for_gap(key_id)
        await self._slots.acquire()

    async def _wait_for_gap(self, key_id: str) -> None:
        """Keep the least time between two starts; waiting calls take turns."""
        if not self._min_gap_s:
            return
        now_s = asyncio.get_running_loop().time()
        start_s = max(now_s, self._next_start_s.get(key_id, 0.0))
        self._next_start_s[key_id] = start_s + self._min_gap_s
        if start_s > now_s:
            await asyncio.sleep(start_s - now_s)

    def _try_start(self, key_id: str, rate: _KeyRate | None) -> bool:
        """Return whether a call may start at once; with a minimum gap, also take its turn."""
        if rate is not None and not rate.bucket.has_capacity():
            return False
        if not self._min_gap_s:
            return True
        now_s = asyncio.get_running_loop().time()
        if self._next_start_s.get(key_id, 0.0) > now_s:
            return False
        self._next_start_s[key_id] = now_s + self._min_gap_s
        return True

    def _rate_for(self, key_id: str, *, is_free: bool) -> _KeyRate | None:
        key = (key_id, is_free)
        if key not in self._rates:
            per_min = FREE_REQUESTS_PER_MIN if is_free else self._requests_per_min
            self._rates[key] = _KeyRate(per_min) if per_min else None
        return self._rates[key]


class _KeyRate:
    """A leaky bucket that keeps every minute within `per_min` starts (within 2 if it is 1).

    A bucket as large as the limit would admit twice the limit in the first minute, so a tenth may
    start at once and the rest follows gradually.
    """

    def __init__(self, per_min: int) -> None:
        self.per_min = per_min
        burst = max(1, per_min // 10)
        trickle_per_min = max(1, per_min - burst)
        self.bucket = AsyncLimiter(burst, burst * _MINUTE_S / trickle_per_min)


class RateLimiting:
    """An `Upstream` that waits for its limiter, and reports to it the limits that refusals name.

    Args:
        inner: the upstream that makes the call.
        limiter: shared by every call of the process.
    """

    def __init__(self, inner: Upstream, limiter: RateLimiter) -> None:
        self._inner = inner
        self._limiter = limiter

    def open(self, call: Call, /) -> EventStream:
        """Wait for a slot within the key's rate limit, then open the call.

        Raises:
            QueueFull: too many calls wait already, or the deadline passed; no provider was called.
        """
        return _LimitedCall(self._inner, call, self._limiter)


class _LimitedCall(WrappedCall):
    """One call that holds a slot."""

    __slots__ = ("_call", "_limiter", "_upstream")

    def __init__(self, upstream: Upstream, call: Call, limiter: RateLimiter) -> None:
        super().__init__()
        self._upstream = upstream
        self._call = call
        self._limiter = limiter

    async def __aenter__(self) -> AsyncIterator[Event]:
        call = self._call
        key_id = call.key.id if call.key else ""
        is_free = call.candidate.model.endswith(":free")
        time = asyncio.get_running_loop().time
        asked_s = time()
        deadline_s = asked_s + call.journal.remaining_s()
        await self._limiter.acquire(key_id, is_free=is_free, deadline_s=deadline_s)
        call.journal.waited_s += time() - asked_s
        try:
            return await self._enter(self._upstream.open(call))
        except BaseException as error:
            self._limiter.release()
            if isinstance(error, RateLimited) and error.limit_per_min is not None:
                per_min = error.limit_per_min
                self._limiter.learn_limit(key_id, is_free=is_free, requests_per_min=per_min)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            return await super().__aexit__(kind, error, trace)
        finally:
            self._limiter.release()


def _parse_interval_s(text: str) -> float | None:
    """Convert `10s`, `1m` or `1h` to seconds; return None for anything else, and for zero."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit()) or unit not in units:
        return None
    return int(number) * units[unit] or None
