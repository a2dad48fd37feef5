"""Which models a request may be answered by, whoever chooses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, cast

from devflow_core.errors import Forbidden
from devflow_core.request import ChatRequest
from devflow_core.routing import Exclusion, Route

OUT_OF_SCOPE = "beyond the scope of the client key"


def is_in_scope(scope: tuple[str, ...] | None, model: str) -> bool:
    """Whether a model fits one of the scope's patterns, as of file names; None is all models."""
    return scope is None or any(fnmatchcase(model, pattern) for pattern in scope)


def out_of_scope_error(scope: tuple[str, ...], requested: str) -> Forbidden:
    """The error that says so, with the scope by its name."""
    patterns = ", ".join(scope) or "none"
    return Forbidden(
        f"The scope `models` of this client key ({patterns}) has no model that may answer "
        f"{requested!r}. Ask for a model within it, or for auto.",
        model=requested,
    )


def filter_by_scope(request: ChatRequest, route: Route) -> Route:
    """The route without the candidates that the request may not be answered by.

    Raises:
        Forbidden: nobody is left, or the body names models to the provider that are beyond it.
    """
    scope = request.allowed_models
    if scope is None:
        return route
    for model in _provider_chosen_models(request):
        if not is_in_scope(scope, model):
            raise out_of_scope_error(scope, model)
    allowed = tuple(one for one in route.candidates if _is_allowed(scope, one.model))
    if not allowed:
        raise out_of_scope_error(scope, request.model)
    if len(allowed) == len(route.candidates):
        return route
    excluded = [
        Exclusion(model=one.model, reason=OUT_OF_SCOPE)
        for one in route.candidates
        if one not in allowed
    ]
    return replace(route, candidates=allowed, excluded=(*route.excluded, *excluded))


def _is_allowed(scope: tuple[str, ...], model: str) -> bool:
    """A preset holds models that only the provider knows, so it has to be allowed by itself."""
    name, separator, preset = model.partition("@preset/")
    return is_in_scope(scope, name or model) and (
        not separator or is_in_scope(scope, separator + preset)
    )


def _provider_chosen_models(request: ChatRequest) -> Iterator[str]:
    """Models that the provider may choose by itself: its fallback lists and presets."""
    body: Mapping[str, Any] = (request.origin.body if request.origin else None) or {}
    for source in (body, request.extra):
        for field in ("models", "fallbacks"):
            entries = source.get(field)
            for one in cast("list[Any]", entries) if isinstance(entries, list) else []:
                entry = (
                    cast("Mapping[str, Any]", one).get("model") if isinstance(one, dict) else one
                )
                yield str(entry)
        if source.get("preset") is not None:
            yield f"@preset/{source['preset']}"
