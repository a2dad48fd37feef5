"""Describes the catalogue's models for `/v1/models`: OpenAI's shape, plus prices and limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devflow_core.errors import UnknownModel
from devflow_core.scope import is_in_scope
from devflow_core.usage import Price, usd_text
from devflow_routing import Catalogue, ModelConfig, RoutingPolicy
from devflow_routing.policy import is_pattern

AUTO_MODELS = {
    "auto": "The model that fits the request, by the gateway's weights",
    "auto:cheap": "The cheapest model that is able",
    "auto:fast": "The fastest model that is able",
    "auto:best": "The best model, whatever it costs",
}
"""The names that leave the choice to the gateway, with their descriptions."""


def list_models(catalogue: Catalogue) -> Sequence[dict[str, Any]]:
    """Return an entry for every model that answers in text only; the automatic ones come first."""
    automatic = [_own_entry(name, text) for name, text in AUTO_MODELS.items()]
    return [*automatic, *(_model_entry(model) for model in catalogue.models if model.writes_text)]


def describe_model(
    catalogue: Catalogue, policy: RoutingPolicy, name: str, scope: tuple[str, ...] | None
) -> dict[str, Any] | None:
    """Return the entry of the model that a request for a name would be sent to.

    None if there is no such model, or the caller may not use it.

    Args:
        catalogue: the models.
        policy: knows the aliases.
        name: any name that a request may have: an id, an alias, `auto`, another cloud's name.
        scope: patterns of the models that the caller may use; None allows all.
    """
    target = policy.resolve(name).partition(",")[0].strip()
    if target in AUTO_MODELS:
        return _own_entry(target, AUTO_MODELS[target])
    if is_pattern(target):
        return _own_entry(name, f"The model that fits the request, among {target}")
    try:
        model = catalogue.find_or_newest(target, scope)
    except UnknownModel:
        return None
    return _model_entry(model) if is_in_scope(scope, model.id) else None


def _own_entry(name: str, description: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "devflow", "name": description}


def _model_entry(model: ModelConfig) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.author,
        "name": model.name or model.id,
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "pricing": _pricing(model.price),
    }


def _pricing(price: Price | None) -> dict[str, str] | None:
    """Return USD per token as decimal text, as providers list it; None if the price is unknown."""
    if price is None:
        return None
    shown = {"prompt": price.prompt, "completion": price.completion, "request": price.request}
    if price.cache_read is not None:
        shown["input_cache_read"] = price.cache_read
    if price.cache_write is not None:
        shown["input_cache_write"] = price.cache_write
    return {name: usd_text(usd) for name, usd in shown.items()}
