"""Constraints of a request: how they are read, and whom they leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from devflow_core.errors import NoCandidate
from devflow_core.request import ChatRequest
from devflow_core.testing import a_request, a_task
from devflow_openrouter.models.catalogue import load_shipped_catalogue
from devflow_routing import Router, RoutingPolicy, encode_route
from devflow_routing.catalogue import Catalogue, NamingRules
from devflow_routing.constraints import (
    MAX_NAMES,
    NO_CONSTRAINTS,
    constraints_from_json,
    read_constraints,
)
from devflow_routing.endpoints import Endpoint, ModelEndpoints, weigh_speed
from devflow_routing.model_config import ModelConfig
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 30, tzinfo=UTC)
MINE, OTHER = "openai/gpt-5-mini", "qwen/qwen3-max"


def endpoint(tag: str, **fields: Any) -> Endpoint:
    usual: dict[str, Any] = {"prompt_usd": Decimal("1e-6"), "completion_usd": Decimal("4e-6")}
    return Endpoint(tag=tag, **{**usual, **fields})


def fetched(*rows: Endpoint) -> ModelEndpoints:
    return ModelEndpoints(rows=rows, asked_at=NOW)


def asking(model: str = "auto", **fields: Any) -> ChatRequest:
    return replace(a_request(), model=model, extra=fields)


def left_by(catalogue: Catalogue, **provider: Any) -> set[str]:
    shown = Router(catalogue).explain(asking(provider=provider), a_task())
    return {one.model for one in shown.candidates}


def known_of_two() -> Catalogue:
    """The shipped list, with all endpoints of two models."""
    return load_shipped_catalogue().with_endpoints(
        {
            MINE: fetched(
                endpoint("azure/eastus", provider="Azure"),
                endpoint("openai/flex", is_tier=True, prompt_usd=Decimal("1e-9")),
            ),
            OTHER: fetched(
                endpoint("deepinfra/fp8", quantization="fp8", is_zero_retention=True),
                endpoint("together", quantization="fp16", prompt_usd=Decimal("1e-5")),
            ),
        }
    )


def test_a_request_without_constraints_has_none() -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"provider": None},
        {"provider": "anthropic"},
        {"provider": {"only": [], "ignore": None, "max_price": 3, "quantizations": [7]}},
        {"provider": {"max_price": {"prompt": "much", "completion": -1, "request": True}}},
        {"provider": {"sort": "price", "data_collection": "allow", "zdr": False}},
        {"provider": {"data_collection": "deny"}},
        {"models": None},
        {"models": [None, {}]},
    ]
    for fields in odd:
        assert read_constraints(asking(**fields)) is NO_CONSTRAINTS, fields


def test_what_a_body_holds_is_bounded_and_harmless() -> None:
    names = [f"p{index}" for index in range(10_000)]
    assert len(read_constraints(asking(provider={"only": names})).only) == MAX_NAMES
    (name,) = read_constraints(asking(provider={"only": ["\x1b[31m" + "x" * 9_999]})).only
    assert len(name) <= 200
    assert "\x1b" not in name


_NAMES = st.lists(st.text(max_size=20), max_size=4)
_PROVIDER = st.fixed_dictionaries(
    {},
    optional={
        "only": _NAMES,
        "ignore": _NAMES,
        "order": _NAMES,
        "quantizations": _NAMES,
        "allow_fallbacks": st.booleans(),
        "zdr": st.booleans(),
        "data_collection": st.sampled_from(["allow", "deny", None]),
        "max_price": st.dictionaries(
            st.sampled_from(["prompt", "completion", "request", "image"]),
            st.one_of(st.floats(), st.text(max_size=8), st.integers(), st.none()),
        ),
    },
)


@given(_PROVIDER, _NAMES)
def test_a_record_gives_the_same_constraints(provider: dict[str, Any], models: list[str]) -> None:
    found = read_constraints(asking(provider=provider, models=models))
    record = orjson.loads(orjson.dumps(found.as_json()))
    assert constraints_from_json(record) == found
    assert found == NO_CONSTRAINTS or found.list_requirements() or found.models


@pytest.mark.parametrize(
    ("provider", "mine", "other"),
    [
        ({"only": ["azure"]}, True, False),
        ({"only": ["AZURE/eastus"]}, True, False),
        ({"only": ["azure/westus"]}, False, False),
        ({"only": ["openai"]}, False, False),
        ({"only": ["openai/flex"]}, True, False),
        ({"only": ["deepinfra"]}, False, True),
        ({"ignore": ["azure", "deepinfra"]}, False, True),
        ({"ignore": ["together", "deepinfra/fp8"]}, True, False),
        ({"quantizations": ["fp8", "unknown"]}, True, True),
        ({"quantizations": ["fp8"], "ignore": ["deepinfra"]}, False, False),
        ({"max_price": {"prompt": 1}}, True, True),
        ({"max_price": {"prompt": "0.999"}}, False, False),
        ({"max_price": {"prompt": 1}, "only": ["together"]}, False, False),
        ({"order": ["together"], "allow_fallbacks": False}, False, True),
    ],
)
def test_an_endpoint_has_to_meet_all_constraints_at_once(
    provider: dict[str, Any], mine: bool, other: bool
) -> None:
    catalogue = known_of_two()
    try:
        left = left_by(catalogue, **provider)
    except NoCandidate:
        left = set[str]()
    assert (MINE in left, OTHER in left) == (mine, other)


def test_a_maker_is_assumed_to_serve_its_own_models() -> None:
    catalogue = load_shipped_catalogue()
    authors = {one.partition("/")[0] for one in left_by(catalogue, only=["anthropic", "xai"])}
    assert authors == {"anthropic", "x-ai"}
    assert "anthropic" not in {
        one.partition("/")[0] for one in left_by(catalogue, ignore=["anthropic"])
    }


def test_of_a_maker_that_runs_no_provider_only_what_is_known_counts() -> None:
    rules = NamingRules(maker_slugs={"big": ("bigcloud",)})
    models = [ModelConfig(id="big/one"), ModelConfig(id="small/two"), ModelConfig(id="small/three")]
    partial = {
        name: ModelEndpoints(rows=(endpoint("together"),)) for name in ("big/one", "small/two")
    }
    catalogue = Catalogue(models, version="1", fetched_at=NOW, naming=rules).with_endpoints(partial)
    tags = {one.id: [row.tag for row in catalogue.endpoints_of(one)] for one in catalogue.models}
    assert tags == {
        "big/one": ["together", "bigcloud"],
        "small/two": ["together"],
        "small/three": ["small"],
    }


def test_an_order_is_a_wish_unless_there_are_no_fallbacks() -> None:
    catalogue = load_shipped_catalogue()
    everybody = left_by(catalogue)
    assert left_by(catalogue, order=["nobody"]) == everybody
    assert {one.partition("/")[0] for one in left_by(catalogue, order=["cohere"])} == {"cohere"}
    with pytest.raises(NoCandidate, match=r"^provider\.order: .*no endpoint at nobody"):
        left_by(catalogue, order=["nobody"], allow_fallbacks=False)


def test_a_list_of_models_narrows_the_choice_by_any_of_their_names() -> None:
    router = Router(
        load_shipped_catalogue(), policy=RoutingPolicy(aliases={"small": "openai/gpt-5-mini"})
    )

    def chosen_from(*models: str) -> set[str]:
        shown = router.explain(asking(models=list(models)), a_task())
        return {one.model for one in shown.candidates}

    assert chosen_from("small", "claude-haiku-4-5", "acme/none") == {
        "openai/gpt-5-mini",
        "anthropic/claude-haiku-4.5",
    }
    assert {one.partition("/")[0] for one in chosen_from("cohere/*")} == {"cohere"}
    assert len(chosen_from("small", "auto")) > 100
    with pytest.raises(NoCandidate, match=r"^models: "):
        chosen_from("acme/none")
    # a named model keeps its own list for the provider
    named = router.route(asking("openai/gpt-5-mini", models=["cohere/command-a"]), a_task())
    assert [one.model for one in named.candidates] == ["openai/gpt-5-mini"]


def test_a_constrained_decision_replays_and_old_records_still_do() -> None:
    router = Router(known_of_two())
    request = asking(provider={"only": ["deepinfra"]}, models=[OTHER, MINE])
    route = router.route(request, a_task())
    assert [one.model for one in route.candidates] == [OTHER]
    record = orjson.loads(encode_route(route))
    assert record["features"]["constraints"] == {"models": [OTHER, MINE], "only": ["deepinfra"]}
    assert router.replay(record) == route
    assert "constraints" not in orjson.loads(encode_route(router.route(asking(), a_task())))
    old = orjson.loads(encode_route(router.route(asking(), a_task())))
    old["features"]["needs"]["is_zero_retention"] = True
    private = Router(load_shipped_catalogue().with_zero_retention([MINE]))
    assert [one.model for one in private.replay(old).candidates] == [MINE]


def test_an_expected_speed_follows_the_cheapest_provider() -> None:
    cheap = endpoint("a", prompt_usd=Decimal("1e-7"), completion_usd=Decimal("1e-7"))
    rows = (
        replace(cheap, output_tokens_per_s=20.0, ttft_s=2.0),
        endpoint("b", output_tokens_per_s=900.0),
        endpoint("c/priority", output_tokens_per_s=5_000.0, is_tier=True),
    )
    speed, wait_s = weigh_speed(rows)
    assert speed is not None
    assert 20 <= speed < 25
    assert wait_s == 2.0
    assert weigh_speed([endpoint("a")]) == (None, None)
