"""A request goes through every stage, and leaves exactly one entry whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import (
    BudgetExceeded,
    Incomplete,
    NoCandidate,
    Overloaded,
    PossiblyAccepted,
    StoreError,
)
from devflow_core.events import Finished, Started, TextDelta
from devflow_core.ledger import LedgerEntry
from devflow_core.metered import Metered
from devflow_core.pipeline import Pipeline, Reply
from devflow_core.ports import Call, EventStream, Upstream
from devflow_core.request import ChatRequest, ContextPiece
from devflow_core.routing import Route, Task
from devflow_core.testing import (
    DirectExecutor,
    FakeClock,
    FakeUpstream,
    FixedClassifier,
    FixedRouter,
    MemoryBook,
    MemoryLedger,
    a_candidate,
    a_request,
    reply_events,
)


class MeteredExecutor:
    """An `Executor` that asks only the first candidate, with metering."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = Metered(upstream)

    def open(self, request: ChatRequest, route: Route, journal: object, /) -> EventStream:
        return self._upstream.open(
            Call(request=request, candidate=route.chosen, journal=journal)  # type: ignore[arg-type]
        )


class PipelineHarness:
    """A pipeline over fakes, with its book, its views and the entry that it leaves."""

    def __init__(self, *scripts: object, book: MemoryBook | None = None) -> None:
        self.upstream = FakeUpstream(*scripts)  # type: ignore[arg-type]
        self.book = book or MemoryBook()
        self.views = MemoryLedger()
        self.clock = FakeClock()
        self.pipeline = Pipeline(
            classifier=FixedClassifier(),
            router=FixedRouter(),
            executor=MeteredExecutor(self.upstream),
            book=self.book,
            ledger=self.views,
            encode_decision=lambda route: route.chosen.model,
            clocks=self.clock.clocks,
        )

    @property
    def entry(self) -> LedgerEntry:
        (entry,) = self.book.ledger.entries
        assert self.views.entries == (entry,)
        assert self.book.open_attempts == ()
        return entry


async def test_a_whole_reply_is_the_fold_of_its_events() -> None:
    harness = PipelineHarness(reply_events("Because ", "of the clock."))
    reply = await harness.pipeline.complete(a_request())
    assert reply.text == "Because of the clock."
    assert reply.parts == reply.response.parts
    assert reply.tool_calls == ()
    assert reply.finish_reason == "stop"
    assert reply.model == reply.route.chosen.model
    assert reply.provider == "Anthropic"
    assert reply.generation_id == "gen-1780944465-test"
    assert reply.usage.total_tokens == 120
    assert reply.cost_usd == Decimal("0.0002")
    assert reply.entry == harness.entry
    assert harness.entry.decision == reply.route.chosen.model
    assert harness.entry.cost_status == "settled"


async def test_the_entry_is_durable_before_the_end_is_handed_out() -> None:
    harness = PipelineHarness()
    async with harness.pipeline.stream(a_request(), entry_id="req_mine") as reply:
        assert reply.entry_id == "req_mine"
        async for event in reply:
            assert (harness.book.ledger.entries != ()) == isinstance(event, Finished)
    assert reply.entry == harness.entry


async def test_leaving_early_cancels_and_books_what_is_reserved() -> None:
    harness = PipelineHarness(reply_events("a", "b", "c"))
    async with harness.pipeline.stream(a_request()) as reply:
        async for event in reply:
            if isinstance(event, TextDelta):
                break
    assert harness.upstream.closed == 1
    assert harness.entry.outcome == "cancelled"
    assert harness.entry.cost_status == "estimated"
    assert harness.entry.cost_usd == Decimal("0.01")
    assert reply.entry == harness.entry


async def test_a_cancelled_task_leaves_its_entry() -> None:
    started = asyncio.Event()

    async def stall() -> None:
        started.set()
        await asyncio.Event().wait()

    harness = PipelineHarness((*reply_events("a")[:2], stall))
    task = asyncio.ensure_future(harness.pipeline.complete(a_request()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert harness.entry.outcome == "cancelled"
    assert harness.entry.error_code == "CancelledError"


async def test_cancelled_while_the_end_is_being_written() -> None:
    class SlowBook(MemoryBook):
        async def close(self, entry: LedgerEntry, /) -> None:
            writing.set()
            await may_end.wait()
            await super().close(entry)

    writing, may_end = asyncio.Event(), asyncio.Event()
    harness = PipelineHarness(book=SlowBook())
    task = asyncio.ensure_future(harness.pipeline.complete(a_request()))
    await writing.wait()
    task.cancel()
    await asyncio.sleep(0)  # the cancellation arrives
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert harness.entry.outcome == "succeeded"


async def test_a_failure_before_the_first_event_costs_nothing() -> None:
    harness = PipelineHarness((Overloaded("x/y is over capacity; try later.", status=503),))
    with pytest.raises(Overloaded):
        await harness.pipeline.complete(a_request())
    assert harness.entry.outcome == "failed"
    assert harness.entry.error_code == "upstream_overloaded"
    assert harness.entry.cost_status == "void"
    (attempt,) = harness.entry.attempts
    assert attempt.status == 503


async def test_a_request_that_may_have_been_accepted_is_booked_at_its_reservation() -> None:
    harness = PipelineHarness(
        (PossiblyAccepted("x/y closed the connection.", generation_id="gen-1"),)
    )
    with pytest.raises(PossiblyAccepted):
        await harness.pipeline.complete(a_request())
    (attempt,) = harness.entry.attempts
    assert (attempt.cost_status, attempt.cost_usd) == ("estimated", Decimal("0.01"))
    assert attempt.generation_id == "gen-1"


async def test_a_reply_that_breaks_off_is_failed_not_finished() -> None:
    harness = PipelineHarness((*reply_events("half")[:2], Incomplete("x/y broke off.")))
    with pytest.raises(Incomplete):
        await harness.pipeline.complete(a_request())
    assert harness.entry.outcome == "failed"
    assert harness.entry.cost_status == "estimated"
    assert harness.entry.usage.output_tokens == 2  # four letters, on the upper side


async def test_a_stream_that_ends_before_any_content_is_handed_on_and_booked() -> None:
    opening = (Started(model="anthropic/claude-haiku-4.5"), TextDelta(text=""))
    harness = PipelineHarness(opening)
    async with harness.pipeline.stream(a_request()) as reply:
        seen = [event async for event in reply]
    assert seen == list(opening)
    (attempt,) = harness.entry.attempts
    assert (attempt.cost_status, attempt.cost_usd) == ("estimated", Decimal("0.01"))
    assert harness.upstream.closed == 1


async def test_nobody_able_leaves_an_entry_without_attempts() -> None:
    class NobodyAble(FixedRouter):
        def route(self, request: ChatRequest, task: Task, /) -> Route:
            raise NoCandidate("No model of the catalogue can take 9 000 000 input tokens.")

    harness = PipelineHarness()
    harness.pipeline = Pipeline(
        classifier=FixedClassifier(),
        router=NobodyAble(),
        executor=DirectExecutor(harness.upstream),
        book=harness.book,
        ledger=harness.views,
    )
    with pytest.raises(NoCandidate):
        await harness.pipeline.complete(a_request())
    assert harness.entry.attempts == ()
    assert harness.entry.model == "auto"
    assert harness.entry.final_attempt is None
    assert harness.entry.cost_status == "void"


async def test_a_spent_budget_stops_before_anything_is_sent() -> None:
    harness = PipelineHarness(book=MemoryBook(limit_pico=10**9))
    with pytest.raises(BudgetExceeded, match=r"0\.001 USD of the budget are left"):
        await harness.pipeline.complete(a_request())
    assert harness.upstream.calls == []
    assert harness.entry.attempts == ()


async def test_a_budget_is_released_by_what_was_not_spent() -> None:
    harness = PipelineHarness(book=MemoryBook(limit_pico=2 * 10**10))
    for number in range(40):
        await harness.pipeline.complete(a_request(), entry_id=f"req_{number}")
    assert len(harness.book.ledger.entries) == 40


async def test_context_is_injected_before_the_task_is_read() -> None:
    piece = ContextPiece(
        kind="goal", text="ship it", source_path="a.jsonl", source_line=3, tokens=2
    )

    class Session:
        async def inject(self, request: ChatRequest, /) -> ChatRequest:
            return request.with_context((piece,), Attribution(session_id="s-1"))

    harness = PipelineHarness()
    reply = await harness.pipeline.complete(a_request(), session=Session())
    assert reply.context == (piece,)
    assert harness.entry.attribution.session_id == "s-1"


async def test_a_book_that_cannot_be_written_is_said_so() -> None:
    class BrokenBook(MemoryBook):
        async def close(self, entry: LedgerEntry, /) -> None:
            raise StoreError("The ledger's disk is full; free some space.")

    harness = PipelineHarness(book=BrokenBook())
    with pytest.raises(StoreError):
        await harness.pipeline.complete(a_request())


async def test_a_reply_without_events_says_so() -> None:
    reply = Reply.__new__(Reply)
    reply._events = None
    with pytest.raises(RuntimeError):
        aiter(reply)


async def test_overhead_is_what_passes_before_the_first_attempt() -> None:
    harness = PipelineHarness()

    class SlowSession:
        async def inject(self, request: ChatRequest, /) -> ChatRequest:
            harness.clock.advance(0.25)
            return request

    reply = await harness.pipeline.complete(a_request(), session=SlowSession())
    assert reply.entry.overhead_s == 0.25
    assert reply.entry.ttft_s == 0.25


async def test_a_directly_executed_request_has_no_attempt() -> None:
    harness = PipelineHarness()
    pipeline = Pipeline(
        classifier=FixedClassifier(),
        router=FixedRouter(replace(a_candidate(), model="x/y")),
        executor=DirectExecutor(harness.upstream),
        book=harness.book,
        ledger=harness.views,
    )
    reply = await pipeline.complete(a_request())
    assert reply.usage.total_tokens == 0


async def test_events_come_as_they_are_sent() -> None:
    seen: list[str] = []

    async def mark() -> None:
        seen.append("sent")

    harness = PipelineHarness((*reply_events("a")[:2], mark, *reply_events("b")[1:]))
    async with harness.pipeline.stream(a_request()) as reply:
        events: AsyncIterator[object] = aiter(reply)
        await anext(events)
        await anext(events)
        assert seen == []
        await anext(events)
        assert seen == ["sent"]
