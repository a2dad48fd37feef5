"""Rates, gaps, slots and the queue before them."""

import asyncio
from itertools import pairwise
from typing import cast

import pytest
from devflow_core.errors import QueueFull, RateLimited
from devflow_core.ports import Call
from devflow_core.testing import FakeUpstream, a_candidate, a_journal, a_request
from devflow_upstream import RateLimiter, RateLimiting
from devflow_upstream.policies.rate_limiter import FREE_REQUESTS_PER_MIN
from hypothesis import given
from hypothesis import strategies as st


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose waits take no time: its clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def _run_once(self) -> None:
        scheduled = cast("list[asyncio.TimerHandle]", vars(self)["_scheduled"])
        ready = vars(self)["_ready"]
        if not ready and scheduled:
            # and a little further, as real time does; the limiter's sums are rounded
            self.now_s = max(self.now_s, scheduled[0].when()) + 1e-6
        super()._run_once()  # type: ignore[misc]


def starts(limiter_of: "type[RateLimiter]", count: int, **limits: float) -> list[float]:
    """When each of so many calls that ask at once may start."""
    loop = VirtualLoop()
    begun: list[float] = []

    async def one(limiter: RateLimiter) -> None:
        await limiter.acquire("k", is_free=False, deadline_s=1e9)
        begun.append(loop.time())
        limiter.release()

    async def all_of_them() -> None:
        limiter = limiter_of(**limits)  # type: ignore[arg-type]
        await asyncio.gather(*(one(limiter) for _ in range(count)))

    try:
        loop.run_until_complete(all_of_them())
    finally:
        loop.close()
    return sorted(begun)


@given(st.integers(1, 40), st.integers(1, 120))
def test_no_window_of_a_minute_holds_more_starts_than_allowed(per_min: int, count: int) -> None:
    begun = starts(RateLimiter, count, requests_per_min=per_min)
    assert len(begun) == count
    for at_s in begun:
        assert sum(at_s <= other < at_s + 60.0 - 1e-3 for other in begun) <= per_min


def test_two_starts_keep_their_gap() -> None:
    begun = starts(RateLimiter, 5, min_gap_s=0.5)
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    assert all(gap == pytest.approx(0.5, abs=1e-4) for gap in gaps)


def deadline(seconds: float = 60.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_full_queue_answers_at_once() -> None:
    limiter = RateLimiter(max_concurrency=1, max_queue=1)
    await limiter.acquire("k", is_free=False, deadline_s=deadline())
    waiting = asyncio.ensure_future(limiter.acquire("k", is_free=False, deadline_s=deadline()))
    await asyncio.sleep(0)
    assert limiter.waiting == 1
    with pytest.raises(QueueFull) as caught:
        await limiter.acquire("k", is_free=False, deadline_s=deadline())
    assert caught.value.retry_after_s == 1.0
    limiter.release()
    await waiting
    assert limiter.waiting == 0


async def test_a_wait_ends_at_the_deadline() -> None:
    limiter = RateLimiter(max_concurrency=1)
    await limiter.acquire("k", is_free=False, deadline_s=deadline())
    with pytest.raises(QueueFull, match="deadline"):
        await limiter.acquire("k", is_free=False, deadline_s=deadline(0.02))
    assert limiter.waiting == 0


async def test_a_slow_key_does_not_hold_the_slots_of_others(loop_clock: object) -> None:
    limiter = RateLimiter(max_concurrency=1)
    for _ in range(2):
        await limiter.acquire("slow", is_free=True, deadline_s=deadline())
        limiter.release()
    waiting = asyncio.ensure_future(limiter.acquire("slow", is_free=True, deadline_s=deadline(60)))
    await asyncio.sleep(0)
    await limiter.acquire("other", is_free=False, deadline_s=deadline())
    assert not waiting.done()
    waiting.cancel()


def a_call(model: str) -> Call:
    return Call(request=a_request(), candidate=a_candidate(model), journal=a_journal())


async def test_a_limit_is_learned_from_a_refusal_and_a_slot_is_given_back() -> None:
    error = RateLimited("slow down", status=429)
    error.limit_per_min = 7
    limiter = RateLimiter(max_concurrency=1)
    limiting = RateLimiting(FakeUpstream([error]), limiter)
    for _ in range(2):
        with pytest.raises(RateLimited):
            async with limiting.open(a_call("acme/one")):
                pass
    assert limiter.limit_per_min("", is_free=False) == 7
    assert limiter.limit_per_min("", is_free=True) == FREE_REQUESTS_PER_MIN


def test_a_limit_is_learned_from_the_keys_status() -> None:
    limiter = RateLimiter(requests_per_min=100)
    for status in ({}, {"rate_limit": None}, {"rate_limit": {"requests": -1, "interval": "10s"}},
                 {"rate_limit": {"requests": 5, "interval": "soon"}}):  # fmt: skip
        limiter.learn_from_key_status("k", status)
        assert limiter.limit_per_min("k", is_free=False) == 100
    limiter.learn_from_key_status("k", {"rate_limit": {"requests": 10, "interval": "10s"}})
    assert limiter.limit_per_min("k", is_free=False) == 60
    limiter.learn_from_key_status("k", {"rate_limit": {"requests": 1000, "interval": "1m"}})
    assert limiter.limit_per_min("k", is_free=False) == 100


async def test_the_slot_is_held_until_the_reply_has_ended() -> None:
    limiter = RateLimiter(max_concurrency=1)
    limiting = RateLimiting(FakeUpstream(), limiter)
    async with limiting.open(a_call("acme/one")):
        with pytest.raises(QueueFull):
            await limiter.acquire("k", is_free=False, deadline_s=deadline(0.02))
    await limiter.acquire("k", is_free=False, deadline_s=deadline())
