"""Provides fakes and builders for tests of DevFlow and of code that extends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from devflow_core.attribution import Attribution
from devflow_core.clocks import Clocks
from devflow_core.events import Event, Finished, FinishReason, Frame, Started, TextDelta
from devflow_core.ids import new_id
from devflow_core.journal import Journal
from devflow_core.ledger import Attempt, AttemptStart, LedgerEntry
from devflow_core.memory import MemoryBook, MemoryLedger
from devflow_core.messages import WireName
from devflow_core.ports import AttemptLog, Call, EventStream, Router, Upstream
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, Route, ScoreTerms, Task
from devflow_core.usage import Price, ReportedCost, Usage
from devflow_core.wire.dialect import Dialect
from devflow_core.wire.table import DEFAULT_DIALECT, DIALECTS

EPOCH = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
"""The date and time at which a `FakeClock` starts."""


class FakeClock:
    """A clock that only a test moves: `clock()` is seconds, `await clock.sleep(s)` jumps ahead.

    Args:
        start_s: where the monotonic clock begins.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self.now_s = start_s
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        """Return the monotonic time in seconds."""
        return self.now_s

    def now(self) -> datetime:
        """Return the date and time, in step with the monotonic clock."""
        return EPOCH + timedelta(seconds=self.now_s)

    def advance(self, seconds: float) -> None:
        """Move the time ahead."""
        self.now_s += seconds

    async def sleep(self, seconds: float) -> None:
        """Move the time ahead and let other tasks run."""
        self.slept_s.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)

    @property
    def clocks(self) -> Clocks:
        """This clock as the `Clocks` of a pipeline."""
        return Clocks(monotonic=self, now=self.now)


ScriptStep = Event | BaseException | Callable[[], Awaitable[None]]
"""An event to yield, an error to raise, or a function to await in between."""


class FakeUpstream:
    """An `Upstream` that follows scripts: one sequence of steps for each call, in order.

    A script whose first step is an error fails on entry, like an upstream that refuses. The last
    script serves all further calls. `calls` holds the calls made, `closed` the number of calls
    whose context was left.
    """

    def __init__(self, *scripts: Sequence[ScriptStep]) -> None:
        self._scripts = scripts or (reply_events("ok"),)
        self.calls: list[Call] = []
        self.closed = 0

    @property
    def models(self) -> list[str]:
        """The models that were asked, in order."""
        return [call.candidate.model for call in self.calls]

    def open(self, call: Call, /) -> EventStream:
        return self._open(call)

    @asynccontextmanager
    async def _open(self, call: Call) -> AsyncGenerator[AsyncIterator[Event]]:
        steps = self._scripts[min(len(self.calls), len(self._scripts) - 1)]
        self.calls.append(call)
        try:
            if steps and isinstance(steps[0], BaseException):
                raise steps[0]
            yield _play(steps)
        finally:
            self.closed += 1


async def _play(steps: Sequence[ScriptStep]) -> AsyncIterator[Event]:
    for step in steps:
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            await step()
        else:
            yield step


class DirectExecutor:
    """An `Executor` that asks only the first candidate, without policies."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def open(self, request: ChatRequest, route: Route, journal: AttemptLog, /) -> EventStream:
        return self._upstream.open(Call(request=request, candidate=route.chosen, journal=journal))


class FixedClassifier:
    """A `Classifier` that always returns the same task."""

    def __init__(self, task: Task | None = None) -> None:
        self._task = task or a_task()

    def classify(self, _request: ChatRequest, /) -> Task:
        return self._task


class FixedRouter(Router):
    """A `Router` that always returns the same candidates."""

    def __init__(self, *candidates: Candidate) -> None:
        self._candidates = candidates or (a_candidate(),)

    def route(self, request: ChatRequest, task: Task, /) -> Route:
        return Route(candidates=self._candidates, task=task, requested=request.model)


def a_request(text: str = "Why does test_login fail?", **changes: Any) -> ChatRequest:
    """Return a request with one user message; `changes` are fields of `ChatRequest`."""
    return replace(ChatRequest.from_text(text), **changes)


def a_task(**changes: Any) -> Task:
    """Return a coding task."""
    return replace(Task(type="coding", complexity="medium", confidence=0.8), **changes)


def a_price(**changes: Any) -> Price:
    """Return a price per million tokens of 1 USD (input), 5 USD (output) and 0.1 USD (cached)."""
    price = Price(
        prompt=Decimal("0.000001"),
        completion=Decimal("0.000005"),
        cache_read=Decimal("0.0000001"),
        cache_write=Decimal("0.00000125"),
        version="test-1",
    )
    return replace(price, **changes)


def a_candidate(model: str = "anthropic/claude-haiku-4.5", **changes: Any) -> Candidate:
    """Return a candidate with a price, a window of 200,000 tokens and a worst case of one cent."""
    candidate = Candidate(
        model=model,
        reason="cheapest that is able",
        score=0.7,
        terms=ScoreTerms(quality=0.8, cost_usd=0.001, latency_s=1.0),
        price=a_price(),
        max_input_tokens=200_000,
        max_output_tokens=1_000,
        worst_case_usd=Decimal("0.01"),
    )
    return replace(candidate, **changes)


def a_route(*models: str, **changes: Any) -> Route:
    """Return a route over these models, or over one."""
    candidates = tuple(a_candidate(model) for model in models) or (a_candidate(),)
    return replace(Route(candidates=candidates, task=a_task()), **changes)


def a_journal(
    request: ChatRequest | None = None,
    *,
    book: MemoryBook | None = None,
    clock: FakeClock | None = None,
    route: Route | None = None,
    bills_on_cancel: bool = True,
) -> Journal:
    """Return a journal with a book in memory, a deadline of 600 s and its route already set."""
    clock = clock or FakeClock()
    request = request or a_request()
    journal = Journal(
        request,
        book=book or MemoryBook(),
        deadline_s=clock() + 600.0,
        clocks=clock.clocks,
        bills_on_cancel=lambda _provider: bills_on_cancel,
    )
    journal.set_route(route or a_route())
    return journal


def a_usage(**changes: Any) -> Usage:
    """Return a usage of 100 input and 20 output tokens."""
    return replace(Usage(input_tokens=100, output_tokens=20), **changes)


def a_cost(text: str = "0.0002", **changes: Any) -> ReportedCost:
    """Return a reported cost with this decimal text."""
    return replace(ReportedCost(usd=Decimal(text), text=text), **changes)


def reply_events(
    *texts: str,
    usage: Usage | None = None,
    cost: ReportedCost | None = None,
    finish_reason: FinishReason = "stop",
    model: str = "anthropic/claude-haiku-4.5",
) -> tuple[Event, ...]:
    """Return the events of a reply: started, one delta per text, finished with usage and cost."""
    return (
        Started(generation_id="gen-1780944465-test", model=model, provider="Anthropic"),
        *(TextDelta(text=text) for text in texts),
        Finished(finish_reason=finish_reason, usage=usage or a_usage(), cost=cost or a_cost()),
    )


def an_attempt(**changes: Any) -> Attempt:
    """Return a settled attempt."""
    attempt = Attempt(
        attempt_id="att_1",
        number=1,
        model="anthropic/claude-haiku-4.5",
        started_at=EPOCH,
        outcome="succeeded",
        cost_status="settled",
        cost_usd=Decimal("0.0002"),
        cost_text="0.0002",
        usage=a_usage(),
        provider="Anthropic",
        generation_id="gen-1780944465-test",
        finish_reason="stop",
        status=None,
        ttft_s=0.4,
        total_s=1.2,
        price_version="test-1",
        reserved_usd=Decimal("0.01"),
    )
    return replace(attempt, **changes)


def an_entry(**changes: Any) -> LedgerEntry:
    """Return an entry with one settled attempt."""
    entry = LedgerEntry(
        entry_id="req_1",
        started_at=EPOCH,
        requested_model="auto",
        outcome="succeeded",
        attempts=(an_attempt(),),
        task_type="coding",
        complexity="medium",
        ttft_s=0.41,
        total_s=1.25,
        overhead_s=0.001,
    )
    return replace(entry, **changes)


def a_booked_request(
    *,
    cost_usd: str = "0.00123",
    reserved_usd: str | None = "0.01",
    attribution: Attribution | None = None,
    at: datetime = EPOCH,
    generation_id: str = "gen-1780944465-test",
) -> tuple[AttemptStart, LedgerEntry]:
    """Return what a book receives for one request with one attempt: its start, and its entry.

    Every call makes new ids.
    """
    start = AttemptStart(
        attempt_id=new_id("att"),
        entry_id=new_id("req"),
        number=1,
        model="anthropic/claude-haiku-4.5",
        started_at=at,
        reserved_usd=None if reserved_usd is None else Decimal(reserved_usd),
        task_type="coding",
        attribution=attribution or Attribution(session_id="s1", project="shop"),
    )
    attempt = an_attempt(
        attempt_id=start.attempt_id,
        started_at=at,
        cost_usd=Decimal(cost_usd),
        cost_text=cost_usd,
        usage=Usage(input_tokens=1200, output_tokens=300),
        generation_id=generation_id,
        reserved_usd=start.reserved_usd,
        price_version=None,
    )
    entry = an_entry(
        entry_id=start.entry_id,
        started_at=at,
        attempts=(attempt,),
        complexity="low",
        attribution=start.attribution,
    )
    return start, entry


def sse_frames(*data: str, wire: WireName = DEFAULT_DIALECT.name) -> tuple[Frame, ...]:
    """Return server-sent events as a provider would send them, one frame each."""
    return tuple(Frame(wire=wire, data=f"data: {one}\n\n".encode()) for one in data)


@contextmanager
def dialect_in_table(dialect: Dialect) -> Generator[None]:
    """Add a dialect to the table inside the block; decoders and servers built there support it."""
    table = cast("dict[WireName, Dialect]", DIALECTS)
    table[dialect.name] = dialect
    try:
        yield
    finally:
        del table[dialect.name]


__all__ = [
    "EPOCH",
    "DirectExecutor",
    "FakeClock",
    "FakeUpstream",
    "FixedClassifier",
    "FixedRouter",
    "MemoryBook",
    "MemoryLedger",
    "ScriptStep",
    "a_booked_request",
    "a_candidate",
    "a_cost",
    "a_journal",
    "a_price",
    "a_request",
    "a_route",
    "a_task",
    "a_usage",
    "an_attempt",
    "an_entry",
    "dialect_in_table",
    "reply_events",
    "sse_frames",
]
