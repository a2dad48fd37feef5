"""The router's decisions, by example."""

from dataclasses import replace
from decimal import Decimal

import pytest
from devflow_core.errors import (
    BudgetExceeded,
    InvalidRequest,
    NoCandidate,
    UnknownModel,
    UnknownPrice,
)
from devflow_core.messages import Media, Message, Text
from devflow_core.request import ChatRequest, Tool
from devflow_core.testing import a_request, a_task
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Router, RoutingPolicy, encode_route, route_as_json


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(load_shipped_catalogue())


def named(model: str) -> ChatRequest:
    return replace(a_request(), model=model)


def test_a_named_model_is_the_first_and_only_candidate(router: Router) -> None:
    route = router.route(named("anthropic/claude-haiku-4.5"), a_task())
    assert [one.model for one in route.candidates] == ["anthropic/claude-haiku-4.5"]
    assert route.chosen.worst_case_usd is not None
    assert route.chosen.max_input_tokens == 200_000


def test_names_of_other_apis_are_understood(router: Router) -> None:
    names = {
        "claude-sonnet-4-5-20250929": "anthropic/claude-sonnet-4.5",
        "claude-3-haiku-20240307": "anthropic/claude-3-haiku",
        "gpt-5": "openai/gpt-5",
        "anthropic/claude-4.5-haiku-20251001": "anthropic/claude-haiku-4.5",
    }
    found = {name: router.route(named(name), a_task()).chosen.model for name in names}
    assert found == names


def test_an_unknown_model_names_what_comes_close(router: Router) -> None:
    with pytest.raises(UnknownModel, match=r"anthropic/claude-sonnet-4\.5"):
        router.route(named("anthropic/claude-sonet-4.5"), a_task())


def test_fallbacks_follow_the_named_model_in_their_order() -> None:
    policy = RoutingPolicy(
        fallbacks={"anthropic/*": ("openai/gpt-5", "gone/model")}, fallback_models=("z-ai/glm-5",)
    )
    route = Router(load_shipped_catalogue(), policy=policy).route(
        named("anthropic/claude-haiku-4.5"), a_task()
    )
    assert [one.model for one in route.candidates] == [
        "anthropic/claude-haiku-4.5",
        "openai/gpt-5",
        "z-ai/glm-5",
    ]


def test_aliases_and_combos_stand_for_models() -> None:
    aliases = {"fast-*": "openai/gpt-5-mini", "team": "z-ai/glm-5, openai/gpt-5"}
    router = Router(load_shipped_catalogue(), policy=RoutingPolicy(aliases=aliases))
    assert router.route(named("fast-please"), a_task()).chosen.model == "openai/gpt-5-mini"
    combo = router.route(named("team"), a_task())
    assert [one.model for one in combo.candidates] == ["z-ai/glm-5", "openai/gpt-5"]


def test_a_pattern_limits_who_is_chosen_from(router: Router) -> None:
    route = router.route(named("anthropic/*"), a_task())
    assert all(one.model.startswith("anthropic/") for one in route.candidates)
    with pytest.raises(UnknownModel):
        router.route(named("nobody/*"), a_task())


def test_a_model_without_tools_is_not_asked_for_them(router: Router) -> None:
    request = replace(named("auto"), tools=(Tool(name="read"),))
    route = router.explain(request, a_task())
    assert "mancer/weaver" not in {one.model for one in route.candidates}
    reasons = {one.model: one.reason for one in route.excluded}
    assert "lacks tools" in reasons["mancer/weaver"]
    with pytest.raises(NoCandidate, match="lacks tools"):
        router.route(replace(request, model="mancer/weaver"), a_task())


def test_a_ceiling_is_kept_by_every_candidate(router: Router) -> None:
    ceiling = Decimal("0.002")
    request = replace(named("auto"), max_output_tokens=500, max_cost_usd=ceiling)
    route = router.route(request, a_task())
    assert all((one.worst_case_usd or 1) <= ceiling for one in route.candidates)
    with pytest.raises(BudgetExceeded):
        router.route(replace(request, max_cost_usd=Decimal("1e-9")), a_task())
    with pytest.raises(BudgetExceeded):
        router.route(replace(request, model="anthropic/claude-opus-4"), a_task())
    with pytest.raises(UnknownPrice):
        router.route(replace(request, model="openrouter/auto"), a_task())


def test_nobody_is_chosen_unasked_whose_price_is_unknown(router: Router) -> None:
    catalogue = load_shipped_catalogue()
    route = router.explain(named("auto"), a_task())
    for one in route.candidates:
        model = catalogue.get(one.model)
        assert model is not None
        assert model.price is not None
        assert model.variant not in {"free", "batch"}


def test_a_decision_replays_bit_for_bit(router: Router) -> None:
    for model in ("auto", "auto:best", "openai/gpt-5", "google/*"):
        route = router.route(named(model), a_task())
        assert encode_route(router.replay(encode_route(route))) == encode_route(route)
        assert router.replay(route_as_json(route)).candidates == route.candidates


def test_a_decision_with_replacements_replays_as_well(router: Router) -> None:
    image = Media(kind="image", media_type="image/png", base64="iVBORw0KGgo=")
    history = (
        Message(role="user", parts=(image,)),
        Message(role="assistant", parts=(Text(text="I see."),)),
        Message(role="user", parts=(Text(text="What now?"),)),
    )
    blind = router.route(replace(named("z-ai/glm-5"), messages=history), a_task())
    newest = router.route(named("claude-opus-9"), a_task())
    assert blind.chosen.unreadable_media == ("image",)
    assert newest.substitutions == (("claude-opus-9", "anthropic/claude-opus-5"),)
    for route in (blind, newest):
        assert router.replay(encode_route(route)).candidates == route.candidates
    asked = replace(named("z-ai/glm-5"), messages=history[:1])
    with pytest.raises(InvalidRequest, match="cannot take images"):
        router.route(asked, a_task())


def test_a_decision_holds_no_text_of_the_prompt(router: Router) -> None:
    request = a_request("the secret word is xylophone")
    assert "xylophone" not in encode_route(router.route(request, a_task(text="xylophone")))


def test_explain_shows_everybody(router: Router) -> None:
    shown = route_as_json(router.explain(named("auto"), a_task()))
    assert len(shown["candidates"]) == len(load_shipped_catalogue())
    assert sum(one["chosen"] for one in shown["candidates"]) == 1
    assert {"task", "candidates", "snapshot"} <= set(shown)


def test_who_keeps_prompts_is_left_out_where_nothing_may_be_kept() -> None:
    router = Router(load_shipped_catalogue().with_zero_retention(["openai/gpt-5-mini"]))
    private = replace(named("auto"), extra={"provider": {"zdr": True}})
    route = router.explain(private, a_task())
    assert [one.model for one in route.candidates] == ["openai/gpt-5-mini"]
    assert {one.reason for one in route.excluded} >= {"has no zero-retention endpoint"}
    assert len(router.explain(named("auto"), a_task()).candidates) > 100
