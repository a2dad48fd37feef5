"""Only models within its scope answer a request; if there are none, it is refused."""

from typing import Any

import pytest
from devflow_core.errors import Forbidden
from devflow_core.request import Origin
from devflow_core.routing import Route
from devflow_core.scope import filter_by_scope, is_in_scope
from devflow_core.testing import a_candidate, a_request, a_task


def a_route(*models: str) -> Route:
    return Route(candidates=tuple(a_candidate(one) for one in models), task=a_task())


def test_without_a_scope_everything_goes() -> None:
    route = a_route("a/one")
    assert filter_by_scope(a_request(), route) is route
    assert is_in_scope(None, "a/one")


def test_a_route_within_the_scope_stays_as_it_is() -> None:
    route = a_route("a/one", "a/two")
    assert filter_by_scope(a_request(allowed_models=("a/*",)), route) is route


def test_fallbacks_beyond_the_scope_are_left_out_with_their_reason() -> None:
    request = a_request(allowed_models=("a/*", "c/three"))
    route = filter_by_scope(request, a_route("b/two", "a/one", "c/three", "c/four"))
    assert [one.model for one in route.candidates] == ["a/one", "c/three"]
    assert [one.model for one in route.excluded] == ["b/two", "c/four"]


@pytest.mark.parametrize("scope", [("z/*",), (), ("A/*",)])
def test_nobody_left_names_the_scope(scope: tuple[str, ...]) -> None:
    with pytest.raises(Forbidden, match="scope `models`"):
        filter_by_scope(a_request(allowed_models=scope), a_route("a/one"))


@pytest.mark.parametrize(
    "fields",
    [
        {"models": ["a/one", "b/two"]},
        {"fallbacks": [{"model": "b/two"}]},
        {"preset": "cheap"},
        {"models": [7]},
    ],
    ids=str,
)
def test_what_the_provider_is_told_to_fall_back_on_counts(fields: dict[str, Any]) -> None:
    route, scope = a_route("a/one"), ("a/*",)
    with pytest.raises(Forbidden):
        filter_by_scope(a_request(allowed_models=scope, extra=fields), route)
    origin = Origin(wire="openai_chat", body=fields)
    with pytest.raises(Forbidden):
        filter_by_scope(a_request(allowed_models=scope, origin=origin), route)


def test_further_models_within_the_scope_are_fine() -> None:
    route = a_route("a/one")
    fields = {"models": ["a/two"], "fallbacks": [{"model": "a/three"}], "preset": None}
    assert filter_by_scope(a_request(allowed_models=("a/*",), extra=fields), route) is route


def test_a_preset_has_to_be_allowed_by_itself() -> None:
    preset = a_route("a/one@preset/cheap")
    with pytest.raises(Forbidden):
        filter_by_scope(a_request(allowed_models=("a/*",)), preset)
    allowed = a_request(allowed_models=("a/*", "@preset/cheap"), extra={"preset": "cheap"})
    assert filter_by_scope(allowed, preset) is preset
    with pytest.raises(Forbidden):
        filter_by_scope(a_request(allowed_models=("a/*",)), a_route("@preset/cheap"))
