"""Restricts the models that may answer a request, whatever chose them."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from devflow_core.billable import read_billable
from devflow_core.errors import Forbidden, UnknownPrice
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, Exclusion, Route

OUT_OF_SCOPE = "beyond the scope of the client key"
"""The reason of an exclusion, for `devflow explain`."""


def is_in_scope(scope: tuple[str, ...] | None, model: str) -> bool:
    """Return whether a model matches a pattern of the scope (as file names do); None allows all."""
    return scope is None or any(fnmatchcase(model, pattern) for pattern in scope)


def out_of_scope_error(scope: tuple[str, ...], requested: str, *, at: str = "") -> Forbidden:
    """Return the error that names the scope and, if given, the place in the body."""
    patterns = ", ".join(scope) or "none"
    return Forbidden(
        (f"{at}: " if at else "")
        + f"The scope `models` of this client key ({patterns}) has no model that may answer "
        f"{requested!r}. Ask for a model within it, or for auto.",
        model=requested,
    )


def filter_by_scope(request: ChatRequest, route: Route) -> Route:
    """Return the route without the candidates that are outside the request's scope.

    Raises:
        Forbidden: no candidate is left, or the provider may ask models outside the scope because
            of something in the body.
    """
    scope = request.allowed_models
    if scope is None:
        return route
    _check_body(request, scope)
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


def _check_body(request: ChatRequest, scope: tuple[str, ...]) -> None:
    """Check that the body lets the provider ask only models that are named and within the scope."""
    billable = read_billable(request)
    if billable.is_plain:
        return
    for one in (*billable.alternates, *billable.inside):
        if not _is_allowed(scope, one.model):
            raise out_of_scope_error(scope, one.model, at=one.path)
    doubt = billable.first_doubt("models")
    if doubt is not None:
        raise Forbidden(
            f"{doubt.text}. This client key is for {_describe(scope)} only, so nothing that may "
            "ask another model is passed on. Leave it out, or use a key without `models`.",
            model=request.model,
        )


def unknown_price_message(reason: str) -> str:
    """Return the message that a request's worst case is unknown, with the remedy.

    Args:
        reason: why it is unknown, as a clause without a full stop.
    """
    return (
        f"What this request may cost has no known limit: {reason}. Change that, set the price "
        "under [models] in devflow.toml, or ask without a limit."
    )


def unknown_price_error(candidate: Candidate) -> UnknownPrice:
    """Return the error that a candidate's worst case is unknown."""
    reason = candidate.unpriced_reason or f"the price of {candidate.model} is not known"
    return UnknownPrice(unknown_price_message(reason), model=candidate.model)


def _describe(scope: tuple[str, ...]) -> str:
    return ", ".join(scope) or "no model"


def _is_allowed(scope: tuple[str, ...], model: str) -> bool:
    """Return whether a model is in scope; a preset needs a pattern, as its models are unknown."""
    name, separator, preset = model.partition("@preset/")
    return is_in_scope(scope, name or model) and (
        not separator or is_in_scope(scope, separator + preset)
    )
