"""A router that a program brings along works with every face of the gateway."""

from __future__ import annotations

import json

import pytest
from devflow_core import Candidate, ChatRequest, LedgerEntry, Pipeline, Route, Router, Task
from devflow_core.settings import Settings
from devflow_core.testing import DirectExecutor, FakeUpstream, FixedClassifier, MemoryBook
from devflow_openrouter import OpenRouterGateway
from devflow_sandbox import Sandbox

FIRST, SECOND = "openai/gpt-5-mini", "anthropic/claude-haiku-4.5"


class Alternating(Router):
    """Written as the documentation says: `route`, and nothing else."""

    def __init__(self) -> None:
        self.asked = 0

    def route(self, request: ChatRequest, task: Task, /) -> Route:
        self.asked += 1
        model = (FIRST, SECOND)[(self.asked + 1) % 2]
        return Route(candidates=(Candidate(model=model, reason="its turn"),), task=task)


class Learning(Router):
    """Everything that a router may be asked."""

    def __init__(self) -> None:
        self.seen: list[LedgerEntry] = []
        self.scores: list[tuple[str, float]] = []

    def route(self, request: ChatRequest, task: Task, /) -> Route:
        model = SECOND if self.seen else FIRST
        return Route(candidates=(Candidate(model=model, reason="by what came of it"),), task=task)

    def explain(self, request: ChatRequest, task: Task, /) -> Route:
        candidates = tuple(Candidate(model=one, reason="may answer") for one in (FIRST, SECOND))
        return Route(candidates=candidates, task=task)

    def record(self, entry: LedgerEntry, /) -> None:
        self.seen.append(entry)

    def feedback(self, entry: LedgerEntry, score: float) -> bool:
        self.scores.append((entry.entry_id, score))
        return True


def settings_of(sandbox: Sandbox) -> Settings:
    return Settings.load(
        {}, base_url=sandbox.base_url, api_key=sandbox.api_key, baseline_model=SECOND
    )


async def test_route_alone_is_enough_for_every_face() -> None:
    async with (
        Sandbox() as sandbox,
        OpenRouterGateway(settings_of(sandbox), ledger="memory", router=Alternating()) as gateway,
    ):
        request = ChatRequest.from_text("Hi")
        assert gateway.explain(request).chosen.model == FIRST
        completion = await gateway.complete(request)
        assert completion.model == SECOND
        async with gateway.stream(request) as reply:
            events = [event async for event in reply]
        assert reply.route.chosen.model == FIRST
        assert events
        assert gateway.feedback(completion.entry.entry_id, 1.0) is False
        report = await gateway.report()
        assert set(report.rows) == {FIRST, SECOND}
        # prices come from the gateway's catalogue, whoever chooses
        assert report.baseline is not None
        decision = json.loads(completion.entry.decision or "")
        assert [one["model"] for one in decision["candidates"]] == [SECOND]


async def test_a_router_may_explain_learn_and_take_feedback() -> None:
    router = Learning()
    async with (
        Sandbox() as sandbox,
        OpenRouterGateway(settings_of(sandbox), ledger="memory", router=router) as gateway,
    ):
        request = ChatRequest.from_text("Hi")
        assert len(gateway.explain(request).candidates) == 2
        first = await gateway.complete(request)
        second = await gateway.complete(request)
        assert [first.model, second.model] == [FIRST, SECOND]
        assert router.seen == [first.entry, second.entry]
        assert gateway.feedback(first.entry.entry_id, 0.5) is True
        assert router.scores == [(first.entry.entry_id, 0.5)]


async def test_the_pipeline_alone_takes_the_same_router() -> None:
    pipeline = Pipeline(
        classifier=FixedClassifier(),
        router=Alternating(),
        executor=DirectExecutor(FakeUpstream()),
        book=MemoryBook(),
        ledger=Learning(),
    )
    completion = await pipeline.complete(ChatRequest.from_text("Hi"))
    assert completion.route.chosen.model == FIRST


def test_an_object_without_the_rest_of_the_port_is_refused_before_it_costs_anything() -> None:
    class Bare:
        def route(self, request: ChatRequest, task: Task, /) -> Route:
            raise NotImplementedError

    settings = Settings.load({}, api_key="sk-or-v1-test")
    with pytest.raises(AttributeError, match="record"):
        OpenRouterGateway(settings, ledger="memory", router=Bare())  # pyright: ignore[reportArgumentType]
