"""How much a request makes the interpreter do, counted in calls: the same on every machine.

A bound that is overrun means that the hot path has grown; look at `benchmarks/pipeline.py
--profile`, then mend the path, or raise the bound in the same change and say why.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest
from devflow_analytics import CostTracker, UsageTracker
from devflow_core.memory import MemoryBook, MemoryLedger
from devflow_core.metered import Metered
from devflow_core.pipeline import Pipeline
from devflow_core.ports import Call, EventStream
from devflow_core.request import ChatRequest
from devflow_core.routing import Route
from devflow_core.testing import (
    FakeUpstream,
    FixedClassifier,
    FixedRouter,
    an_entry,
    reply_events,
)
from devflow_core.wire import get_dialect
from devflow_core.wire.sse import SseReader
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Router, TaskClassifier

PROMPT = "Why does test_login fail? The clock is read before the session starts. " * 28
"""About 500 tokens."""


def calls_of(work: Callable[[], object]) -> int:
    """Calls of Python and C functions that `work` makes, once everything is warm."""
    for _ in range(3):
        work()
    count = 0

    def watch(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def stepped(coroutine: Coroutine[Any, Any, object], loop: asyncio.AbstractEventLoop) -> object:
    return loop.run_until_complete(coroutine)


class Asking:
    """An executor without policies, so that only the pipeline's own work is counted."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = Metered(upstream)

    def open(self, request: ChatRequest, route: Route, journal: Any, /) -> EventStream:
        return self._upstream.open(Call(request=request, candidate=route.chosen, journal=journal))


def chat_stream(chunks: int) -> bytes:
    """A streamed reply of so many pieces, as OpenRouter writes it."""
    head: dict[str, Any] = {
        "id": "gen-1780944465-zk8dli4tj1VsUfFSXDLR",
        "object": "chat.completion.chunk",
        "created": 1780944465,
        "model": "openai/gpt-4o-mini",
        "provider": "OpenAI",
    }
    delta = {"index": 0, "delta": {"role": "assistant", "content": "word "}, "finish_reason": None}
    last = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": chunks, "total_tokens": 9 + chunks}
    events = [{**head, "choices": [delta]}] * chunks
    events += [{**head, "choices": [last]}]
    events += [{**head, "choices": [last], "usage": {**usage, "cost": 0.00001}}]
    return b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in events) + b"data: [DONE]\n\n"


def test_choosing_among_the_whole_catalogue() -> None:
    classifier, router = TaskClassifier(), Router(load_shipped_catalogue())
    request = ChatRequest.from_text(PROMPT)
    counted = calls_of(lambda: router.route(request, classifier.classify(request)))
    assert counted < BOUNDS["choose"], counted


def test_the_pipeline_itself() -> None:
    loop = asyncio.new_event_loop()
    try:
        pipeline = Pipeline(
            classifier=FixedClassifier(),
            router=FixedRouter(),
            executor=Asking(FakeUpstream(reply_events(*["word "] * 8))),
            book=MemoryBook(),
            ledger=MemoryLedger(),
        )
        request = ChatRequest.from_text("Hi.")
        counted = calls_of(lambda: stepped(pipeline.complete(request), loop))
    finally:
        loop.close()
    assert counted < BOUNDS["pipeline"], counted


@pytest.mark.parametrize("chunks", [51])
def test_decoding_a_stream(chunks: int) -> None:
    stream = chat_stream(chunks)

    def decode() -> None:
        reader, decoder = SseReader(), get_dialect("openai_chat").make_decoder()
        for frame in reader.feed(stream):
            decoder.feed(frame)
        assert decoder.finished

    counted = calls_of(decode)
    assert counted < BOUNDS["decode"], counted


def test_taking_an_entry_in() -> None:
    cost, usage, entry = CostTracker(), UsageTracker(), an_entry()

    def take_in() -> None:
        cost.record(entry)
        usage.record(entry)

    counted = calls_of(take_in)
    assert counted < BOUNDS["take in"], counted


BOUNDS = {"choose": 375, "pipeline": 620, "decode": 2480, "take in": 55}
"""A third above the count of 2026-11-21 with 3.11; `choose` and `decode` are of 2026-11-30. Since
then the role that comes with every chunk is cut out, as clients would string them together."""
