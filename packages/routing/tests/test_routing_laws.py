"""Laws of the choice of model, over invented catalogues and requests."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import BudgetExceeded, ContextTooLong, RoutingError
from devflow_core.messages import Media, Message, Text
from devflow_core.request import ChatRequest, Tool
from devflow_core.routing import Route, SelectionCriteria, Task
from devflow_core.testing import EPOCH, a_request, a_task, an_attempt, an_entry
from devflow_core.usage import Usage
from devflow_openrouter.models.catalogue import load_shipped_catalogue, parse_catalogue
from devflow_routing import Capability, Router, RoutingPolicy, encode_route, needs_of
from hypothesis import given
from hypothesis import strategies as st

price = st.integers(1, 5_000).map(lambda nano: f"{Decimal(nano).scaleb(-8):f}")
maybe_price = st.one_of(price, st.sampled_from(["-1", "0"]))


rows: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abc"),
        "created": st.integers(1_700_000_000, 1_780_000_000),
        "context_length": st.sampled_from([2_000, 8_000, 200_000]),
        "top_provider": st.fixed_dictionaries(
            {"max_completion_tokens": st.sampled_from([None, 1_500, 8_000])}
        ),
        "pricing": st.fixed_dictionaries({"prompt": maybe_price, "completion": maybe_price}),
        "supported_parameters": st.sets(st.sampled_from(["tools", "tool_choice", "reasoning"])).map(
            sorted
        ),
        "architecture": st.sets(st.sampled_from(["image", "file"])).map(
            lambda more: {"input_modalities": ["text", *sorted(more)], "tokenizer": "GPT"}
        ),
    }
)


def router_of(found: list[dict[str, Any]]) -> Router:
    body = {"data": [{**row, "id": f"{row['id']}/model-{at}"} for at, row in enumerate(found)]}
    return Router(parse_catalogue(body, fetched_at=EPOCH), clock=lambda: EPOCH)


routers = st.lists(rows, min_size=1, max_size=12).map(router_of)


def request_of(
    words: int, *, has_media: bool, has_tools: bool, max_tokens: int | None
) -> ChatRequest:
    parts: tuple[Any, ...] = (Text(text="word " * words),)
    if has_media:
        parts = (*parts, Media(kind="image", url="https://example.com/a.png"))
    return ChatRequest(
        messages=(Message(role="user", parts=parts),),
        tools=(Tool(name="read"),) if has_tools else (),
        max_output_tokens=max_tokens,
    )


requests = st.builds(
    request_of,
    st.integers(1, 3_000),
    has_media=st.booleans(),
    has_tools=st.booleans(),
    max_tokens=st.sampled_from([None, 100, 2_000]),
)
tasks = st.builds(
    Task,
    type=st.sampled_from(["coding", "math", "knowledge"]),
    complexity=st.sampled_from(["low", "medium", "high"]),
    confidence=st.floats(0, 1),
)
weights = st.floats(0, 1)


def routed(router: Router, request: ChatRequest, task: Task) -> Route | None:
    try:
        return router.route(request, task)
    except (ContextTooLong, RoutingError):
        return None


@given(routers, requests, tasks)
def test_a_route_holds_only_eligible_models_and_none_twice(
    router: Router, request: ChatRequest, task: Task
) -> None:
    route = routed(router, request, task)
    if route is None:
        return
    needs = needs_of(request)
    names = [one.model for one in route.candidates]
    assert len(set(names)) == len(names)
    for name in names:
        model = router.catalogue.get(name)
        assert model is not None
        assert needs.capabilities & ~model.capabilities == Capability(0)
        assert model.price is not None
        assert model.context_length is not None
    assert len(route.candidates) + len(route.excluded) <= len(router.catalogue)
    full = router.explain(request, task)
    everybody = [one.model for one in (*full.candidates, *full.excluded)]
    assert sorted(everybody) == sorted(model.id for model in router.catalogue.models)
    assert all(one.reason for one in full.excluded)


@given(routers, requests, tasks, weights, weights, weights)
def test_more_cost_priority_never_costs_more(
    router: Router, request: ChatRequest, task: Task, low: float, high: float, speed: float
) -> None:
    low, high = sorted((low, high))
    costs: list[float] = []
    qualities: list[float] = []
    for weight in (low, high):
        criteria = SelectionCriteria(cost_priority=weight, performance_priority=speed)
        route = routed(router, replace(request, criteria=criteria), task)
        if route is None:
            return
        terms = route.chosen.terms
        assert terms is not None
        assert terms.cost_usd is not None
        costs.append(terms.cost_usd)
        qualities.append(terms.quality)
    assert costs[1] <= costs[0] * (1 + 1e-9) + 1e-12


@given(routers, requests, tasks, st.integers(1, 10_000_000), st.integers(1, 100), weights)
def test_more_budget_never_lowers_what_is_expected(
    router: Router, request: ChatRequest, task: Task, micro: int, times: int, weight: float
) -> None:
    ceiling = Decimal(micro).scaleb(-8)
    for criteria, better in (
        (SelectionCriteria(cost_priority=0.0, performance_priority=0.0), "quality"),
        (SelectionCriteria(cost_priority=weight), "score"),
    ):
        reached: list[float] = []
        for limit in (ceiling, ceiling * times, None):
            limited = replace(request, criteria=criteria, max_cost_usd=limit)
            try:
                route = routed(router, limited, task)
            except BudgetExceeded:
                reached.append(float("-inf"))
                continue
            if route is None:
                return
            if limit is not None:
                assert all((one.worst_case_usd or limit + 1) <= limit for one in route.candidates)
            terms = route.chosen.terms
            assert terms is not None
            reached.append(terms.quality if better == "quality" else route.chosen.score)
        assert reached == sorted(reached)


@given(routers, requests, tasks, weights, st.booleans())
def test_a_decision_is_the_same_on_replay(
    router: Router, request: ChatRequest, task: Task, weight: float, has_session: bool
) -> None:
    request = replace(request, criteria=SelectionCriteria(cost_priority=weight))
    if has_session:
        entry = an_entry(
            attribution=Attribution(session_id="s"),
            attempts=(an_attempt(model=router.catalogue.models[0].id, started_at=EPOCH),),
        )
        router.sessions.record(entry)
        router.performance.record(entry)
        request = replace(request, attribution=Attribution(session_id="s"))
    route = routed(router, request, task)
    if route is None:
        return
    record = encode_route(route)
    again = router.replay(record)
    assert encode_route(again) == record
    assert again.excluded == route.excluded


def warm_router(model: str, tokens: int, *, clock: Callable[[], datetime]) -> Router:
    router = Router(load_shipped_catalogue(), clock=clock)
    attempt = an_attempt(model=model, started_at=EPOCH, usage=Usage(cache_read_tokens=tokens))
    router.sessions.record(an_entry(attribution=Attribution(session_id="s"), attempts=(attempt,)))
    return router


def in_session(chars: int) -> ChatRequest:
    return a_request("why " * (chars // 4), attribution=Attribution(session_id="s"))


@given(st.sampled_from(["anthropic/claude-sonnet-4.5", "openai/gpt-5"]))
def test_a_session_with_a_warm_prompt_is_charged_for_leaving(model: str) -> None:
    router = warm_router(model, 50_000, clock=lambda: EPOCH + timedelta(seconds=60))
    route = router.explain(in_session(200_000), a_task())
    terms = {one.model: one.terms for one in route.candidates}
    here = terms[model]
    assert here is not None
    assert here.switch_cost_usd == 0.0
    others = [one.switch_cost_usd for name, one in terms.items() if one and name != model]
    assert min(others) > 0
    cold = warm_router(model, 50_000, clock=lambda: EPOCH + timedelta(hours=1))
    forgotten = cold.explain(in_session(200_000), a_task())
    assert all(one.terms and one.terms.switch_cost_usd == 0 for one in forgotten.candidates)


def test_a_tool_loop_is_finished_by_the_model_that_began_it() -> None:
    from devflow_core.messages import ToolResult

    router = warm_router("openai/gpt-4.1-nano", 10, clock=lambda: EPOCH)
    done = ToolResult(call_id="1", parts=(Text(text="ok"),))
    request = replace(
        in_session(40), messages=(Message(role="user", parts=(done,)),), tools=(Tool(name="t"),)
    )
    assert router.route(request, a_task()).chosen.model == "openai/gpt-4.1-nano"


def test_preferred_models_come_first_where_they_are_eligible() -> None:
    policy = RoutingPolicy(preferred_models=("mancer/weaver", "openai/gpt-5-mini"))
    router = Router(load_shipped_catalogue(), policy=policy)
    assert router.route(a_request(), a_task()).chosen.model == "mancer/weaver"
    request = a_request(tools=(Tool(name="read"),))
    assert router.route(request, a_task()).chosen.model == "openai/gpt-5-mini"


def test_a_node_names_its_model_and_weights() -> None:
    router = Router(load_shipped_catalogue())
    router.policy = RoutingPolicy(nodes={"triage": {"model": "auto:best"}})
    request = a_request(attribution=Attribution(node="triage"))
    assert "the best expected" in router.route(request, a_task()).chosen.reason
    router.policy = RoutingPolicy(nodes={"triage": {"cost_priority": 0.9}})
    assert router.route(request, a_task()).criteria.cost_priority == 0.9


def test_feedback_moves_quality_only_where_it_may() -> None:
    entry = an_entry(task_type="coding", attempts=(an_attempt(model="openai/gpt-5"),))
    frozen = Router(load_shipped_catalogue())
    assert frozen.feedback(entry, 0.0) is False
    router = Router(load_shipped_catalogue(), policy=RoutingPolicy(learn_quality=True))

    def quality() -> float:
        shown = {one.model: one.terms for one in router.explain(a_request(), a_task()).candidates}
        terms = shown["openai/gpt-5"]
        assert terms is not None
        return terms.quality

    before, version = quality(), router.route(a_request(), a_task()).snapshot["quality"]
    for _ in range(20):
        assert router.feedback(entry, 0.4)
    assert quality() < before * 0.85
    assert router.route(a_request(), a_task()).snapshot["quality"] != version
    with pytest.raises(ValueError, match="within 0"):
        router.feedback(entry, 2.0)


def test_a_model_that_fails_is_expected_to_fail_until_it_is_forgotten() -> None:
    now = EPOCH
    router = Router(load_shipped_catalogue(), clock=lambda: now)
    chosen = router.route(a_request(), a_task()).chosen.model
    for _ in range(30):
        failed = an_attempt(model=chosen, outcome="failed", error_code="upstream_unavailable")
        router.performance.record(an_entry(attempts=(replace(failed, started_at=EPOCH),)))
    assert router.route(a_request(), a_task()).chosen.model != chosen
    now = datetime(2026, 12, 24, tzinfo=UTC)
    assert router.route(a_request(), a_task()).chosen.model == chosen
