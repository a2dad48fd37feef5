"""What each mode looks for, the floor of quality, and what past failures change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from devflow_core.attribution import Attribution
from devflow_core.messages import Message, ToolResult
from devflow_core.request import ChatRequest, Tool
from devflow_core.routing import Route, SelectionCriteria, Task
from devflow_core.testing import EPOCH, a_request, a_task, an_attempt, an_entry
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Router, RoutingPolicy, encode_route

CATALOGUE = load_shipped_catalogue()
EASY = replace(a_task(), type="knowledge", complexity="low", difficulty=0.1)
MEDIUM = replace(a_task(), difficulty=0.45)
HARD = replace(a_task(), complexity="high", difficulty=0.8)
OPUS = "anthropic/claude-opus-5"
MAIN = Attribution(session_id="s", agent="main")


@pytest.fixture
def router() -> Router:
    return Router(CATALOGUE, clock=lambda: EPOCH)


def ask(router: Router, model: str = "auto", task: Task = HARD, **changes: object) -> Route:
    return router.route(replace(a_request(), model=model, **changes), task)


def cost(route: Route) -> float:
    assert route.chosen.terms is not None
    return route.chosen.terms.cost_usd or 0.0


def quality(route: Route) -> float:
    assert route.chosen.terms is not None
    return route.chosen.terms.quality


def quality_of(router: Router, model: str, task: Task = HARD) -> float:
    found = router.explain(a_request(), task).candidates
    terms = next(one.terms for one in found if one.model == model)
    assert terms is not None
    return terms.quality


def answered(router: Router, model: str, agent: str | None = "main", **changes: object) -> None:
    where = Attribution(session_id="s", agent=agent)
    done = an_attempt(model=model, started_at=EPOCH)
    router.record(an_entry(attempts=(done,), attribution=where, **changes))


def fail(router: Router, model: str, seconds: float, code: str = "upstream_overloaded") -> None:
    failed = an_attempt(
        model=model,
        started_at=EPOCH - timedelta(seconds=seconds),
        outcome="failed",
        error_code=code,
    )
    router.record(an_entry(attempts=(failed,), outcome="failed", error_code=code))


def test_each_mode_has_the_most_of_what_it_looks_for(router: Router) -> None:
    best, cheap, fast = (ask(router, f"auto:{one}", MEDIUM) for one in ("best", "cheap", "fast"))
    balance = ask(router, task=MEDIUM)
    assert quality(best) >= max(quality(one) for one in (cheap, fast, balance))
    assert cost(cheap) <= min(cost(one) for one in (best, fast, balance))
    assert len({one.chosen.model for one in (best, cheap, fast)}) == 3


@pytest.mark.parametrize("mode", ["auto:cheap", "auto:fast"])
def test_whoever_was_never_measured_is_not_chosen_to_save_a_cent(router: Router, mode: str) -> None:
    for task in (EASY, HARD):
        assert "guessed" not in ask(router, mode, task).chosen.reason


def test_a_hard_task_gets_a_better_model_than_an_easy_one(router: Router) -> None:
    hard, easy = ask(router).chosen.model, ask(router, task=EASY).chosen.model
    assert quality_of(router, hard) > quality_of(router, easy)


def test_each_tenth_of_cost_priority_may_be_felt(router: Router) -> None:
    chosen = [
        ask(router, task=MEDIUM, criteria=SelectionCriteria(cost_priority=step / 10))
        for step in range(11)
    ]
    costs = [cost(one) for one in chosen]
    assert costs == sorted(costs, reverse=True)
    assert len({one.chosen.model for one in chosen}) >= 4


def test_criteria_that_say_nothing_of_a_weight_leave_it_to_the_settings() -> None:
    from devflow_routing import Weights

    policy = RoutingPolicy(weights=Weights(cost_priority=0.9, performance_priority=0.7))
    router = Router(CATALOGUE, policy=policy)
    given = SelectionCriteria(performance_priority=0.1)
    used = ask(router, criteria=given).criteria
    assert (used.cost_priority, used.performance_priority) == (0.9, 0.1)


def test_a_session_does_not_fall_far_below_the_model_that_it_began_with(router: Router) -> None:
    helper = replace(MAIN, agent="explorer")
    free = ask(router, task=EASY, attribution=helper)
    answered(router, OPUS)
    held = ask(router, task=EASY, attribution=helper)
    level = quality_of(router, OPUS)
    assert quality_of(router, held.chosen.model) >= 0.9 * level
    assert "guessed" not in held.chosen.reason
    assert "90% as good as anthropic/claude-opus-5" in held.chosen.reason
    lowered = ask(
        router, task=EASY, attribution=helper, criteria=SelectionCriteria(quality_floor=0.0)
    )
    assert cost(lowered) < cost(held)
    assert cost(free) < cost(held)


def test_a_handed_off_session_is_measured_by_the_model_that_it_ran_on(router: Router) -> None:
    criteria = SelectionCriteria(floor_model="claude-opus-5-20260801", cost_priority=1.0)
    held = ask(router, criteria=criteria)
    assert quality_of(router, held.chosen.model) >= 0.9 * quality_of(router, OPUS)
    unknown = ask(router, criteria=replace(criteria, floor_model="who/knows"))
    assert quality(unknown) >= 0.9 * quality_of(router, ask(router, "auto:best").chosen.model)


def test_who_does_not_reach_the_floor_is_not_said_to(router: Router) -> None:
    wish = "mistralai/mistral-nemo"
    wishing = Router(CATALOGUE, policy=RoutingPolicy(preferred_models=(wish,)))
    route = ask(wishing, criteria=SelectionCriteria(floor_model=OPUS))
    assert route.chosen.model == wish
    assert "as good as" not in route.chosen.reason


def test_what_a_harness_asks_for_itself_is_routed_without_floor_and_moves_nothing(
    router: Router,
) -> None:
    answered(router, OPUS)
    title = replace(EASY, type="background")
    route = ask(router, task=title, attribution=MAIN)
    assert route.chosen.model != OPUS
    assert cost(route) < 0.1 * cost(ask(router, "auto:best", title))
    answered(router, route.chosen.model, task_type="background")
    assert ask(router, attribution=MAIN).chosen.model == OPUS


def test_the_main_thread_stays_and_sub_agents_are_routed(router: Router) -> None:
    answered(router, OPUS)
    thrift = SelectionCriteria(cost_priority=1.0)
    assert ask(router, attribution=MAIN, criteria=thrift).chosen.model == OPUS
    helper = replace(MAIN, agent="explorer")
    assert ask(router, attribution=helper, criteria=thrift).chosen.model != OPUS


def test_a_tool_loop_of_a_sub_agent_stays_where_it_is(router: Router) -> None:
    answered(router, OPUS, "explorer")
    result = Message(role="user", parts=(ToolResult(call_id="c", parts=()),))
    route = ask(
        router,
        attribution=replace(MAIN, agent="explorer"),
        messages=(*a_request().messages, result),
        tools=(Tool(name="t"),),
    )
    assert route.chosen.model == OPUS


def test_a_model_that_fails_rests_and_another_maker_comes_next(router: Router) -> None:
    first = ask(router)
    fail(router, first.chosen.model, seconds=5)
    second = ask(router)
    maker = first.chosen.model.partition("/")[0]
    assert not second.chosen.model.startswith(f"{maker}/")


def test_after_its_rest_a_model_is_tried_again(router: Router) -> None:
    first = ask(router).chosen.model
    fail(router, first, seconds=31)
    assert ask(router).chosen.model == first


@pytest.mark.parametrize(
    "code", ["upstream_unreachable", "upstream_key_refused", "upstream_payment_required"]
)
def test_what_is_not_the_providers_doing_moves_no_choice(router: Router, code: str) -> None:
    first = ask(router)
    for candidate in first.candidates:
        for _ in range(3):
            fail(router, candidate.model, seconds=1, code=code)
    again = ask(router)
    assert [one.model for one in again.candidates] == [one.model for one in first.candidates]


def test_a_model_that_takes_minutes_is_no_longer_the_default(router: Router) -> None:
    first = ask(router).chosen.model
    for _ in range(5):
        slow = an_attempt(model=first, started_at=EPOCH, ttft_s=290.0, total_s=300.0)
        router.record(an_entry(attempts=(slow,)))
    assert ask(router).chosen.model != first


def test_free_variants_are_chosen_only_where_they_are_allowed(router: Router) -> None:
    free = SelectionCriteria(allow_free=True, cost_priority=1.0)
    assert any(
        one.model.endswith(":free")
        for one in router.explain(replace(a_request(), criteria=free), EASY).candidates
    )
    allowed = Router(CATALOGUE, policy=RoutingPolicy(allow_free=True))
    refused = ask(allowed, task=EASY, criteria=SelectionCriteria(allow_free=False))
    assert not any(one.model.endswith(":free") for one in refused.candidates)


def test_wishes_in_old_names_are_granted_and_unknown_ones_are_named() -> None:
    names = ("claude-3-sonnet", "gemini-pro", "who/knows")
    router = Router(CATALOGUE, policy=RoutingPolicy(preferred_models=names))
    assert router.preferred["who/knows"] is None
    assert [str(router.preferred[name]).partition("/")[0] for name in names[:2]] == [
        "anthropic",
        "google",
    ]
    assert ask(router).chosen.model == router.preferred["claude-3-sonnet"]


def test_the_record_holds_what_the_choice_was_made_among(router: Router) -> None:
    route = ask(router, task=MEDIUM)
    record = orjson.loads(encode_route(route))
    found = record["alternatives"]
    assert found["next_better"]["quality"] > quality(route)
    assert found["next_cheaper"]["cost_usd"] < cost(route)
    assert 2 <= len(found["frontier"]) <= 12
    costs, qualities = ([row[index] for row in found["frontier"]] for index in (2, 1))
    assert costs == sorted(costs)
    assert qualities == sorted(qualities)
    eligible = len(router.explain(a_request(), MEDIUM).candidates)
    assert sum(found["left_out"].values()) == len(CATALOGUE) - eligible == record["left_out"]
    assert set(record["prices"]) == {
        "prompt",
        "completion",
        "cache_read",
        "cache_write",
        "request",
    }


def test_a_decision_with_a_floor_a_rest_and_weights_is_replayed(router: Router) -> None:
    answered(router, OPUS)
    fail(router, ask(router).chosen.model, seconds=5)
    request: ChatRequest = replace(
        a_request(),
        attribution=replace(MAIN, agent="explorer"),
        criteria=SelectionCriteria(cost_priority=0.7, quality_floor=0.8, allow_free=True),
    )
    route = router.route(request, HARD)
    again = Router(CATALOGUE).replay(encode_route(route))
    assert again.candidates == route.candidates
    assert again.alternatives == route.alternatives
