"""Laws of every policy around a call: it lets through what it is not for, and keeps nothing.

They run over each policy of the stack by itself and over all of them; a new line in
`build_policies` is judged as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import reduce
from types import TracebackType

import pytest
from devflow_core.errors import ContextTooLong, Incomplete, ModelUnavailable, UpstreamRejected
from devflow_core.events import Event
from devflow_core.ports import Call, EventStream, Upstream
from devflow_core.settings import Settings
from devflow_core.testing import FakeUpstream, a_candidate, a_journal, a_request, reply_events
from devflow_upstream import KeyPool, RateLimiter
from devflow_upstream.stack import Policy, build_policies

REPLY = reply_events("Hel", "lo")
SECRET = "sk-of-the-laws-0123456789"


def policies() -> tuple[Policy, ...]:
    """As tight as can be: what a call does not give back, the next one lacks."""
    limiter = RateLimiter(max_concurrency=1, max_queue=0)
    return build_policies(Settings(), KeyPool([SECRET]), limiter)


NAMES = [type(policy(FakeUpstream())).__name__ for policy in policies()]
each_policy = pytest.mark.parametrize("which", [*NAMES, "all of them"])


def wrapped(which: str, inner: Upstream) -> Upstream:
    chosen = [
        one for name, one in zip(NAMES, policies(), strict=True) if which in (name, "all of them")
    ]
    return reduce(lambda upstream, policy: policy(upstream), reversed(chosen), inner)


def a_call() -> Call:
    return Call(request=a_request(), candidate=a_candidate(), journal=a_journal())


async def read(upstream: Upstream) -> tuple[Event, ...]:
    async with upstream.open(a_call()) as events:
        return tuple([event async for event in events])


@each_policy
async def test_a_reply_comes_through_as_it_is(which: str) -> None:
    inner = FakeUpstream(REPLY)
    upstream = wrapped(which, inner)
    for _ in range(3):
        assert await read(upstream) == REPLY
    assert len(inner.calls) == inner.closed == 3


@each_policy
@pytest.mark.parametrize(
    "error",
    [ContextTooLong("too long"), ModelUnavailable("gone"), UpstreamRejected("no", status=400)],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_not_its_business_is_raised_as_it_is(which: str, error: Exception) -> None:
    inner = FakeUpstream([error], REPLY)
    upstream = wrapped(which, inner)
    with pytest.raises(type(error)) as raised:
        await read(upstream)
    assert raised.value is error
    assert await read(upstream) == REPLY
    assert len(inner.calls) == inner.closed == 2


@each_policy
async def test_a_reply_that_breaks_off_breaks_off_and_is_left(which: str) -> None:
    error = Incomplete("cut")
    inner = FakeUpstream([*REPLY[:2], error], REPLY)
    upstream = wrapped(which, inner)
    with pytest.raises(Incomplete) as raised:
        await read(upstream)
    assert raised.value is error
    assert await read(upstream) == REPLY
    assert len(inner.calls) == inner.closed == 2


@each_policy
async def test_a_reader_who_leaves_early_leaves_nothing_behind(which: str) -> None:
    inner = FakeUpstream(REPLY)
    upstream = wrapped(which, inner)
    async with upstream.open(a_call()) as events:
        await anext(events)
    assert await read(upstream) == REPLY
    assert len(inner.calls) == inner.closed == 2


class Silent:
    """An upstream that takes a call and never begins to answer."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()

    def open(self, _call: Call, /) -> EventStream:
        return _SilentCall(self.entered)


class _SilentCall:
    def __init__(self, entered: asyncio.Event) -> None:
        self._entered = entered

    async def __aenter__(self) -> AsyncIterator[Event]:
        self._entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


class Turns:
    """An upstream that is another one for each call."""

    def __init__(self, *upstreams: Upstream) -> None:
        self._left = list(upstreams)

    def open(self, call: Call, /) -> EventStream:
        return self._left.pop(0).open(call)


@each_policy
async def test_a_call_that_is_cancelled_before_it_begins_gives_everything_back(which: str) -> None:
    silent = Silent()
    upstream = wrapped(which, Turns(silent, FakeUpstream(REPLY)))
    asking = asyncio.ensure_future(read(upstream))
    await silent.entered.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await read(upstream) == REPLY
