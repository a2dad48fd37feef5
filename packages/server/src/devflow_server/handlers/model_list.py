"""Describes the catalogue's models: in OpenAI's shape with prices and limits, and as routers do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devflow_core.errors import UnknownModel
from devflow_core.scope import is_in_scope
from devflow_core.usage import Price, usd_text
from devflow_routing import Catalogue, ModelConfig, RoutingPolicy
from devflow_routing.capabilities import list_parameters, media_kinds
from devflow_routing.policy import is_pattern

AUTO_MODELS = {
    "auto": "The model that fits the request, by the gateway's weights",
    "auto:cheap": "The cheapest model that is able",
    "auto:fast": "The fastest model that is able",
    "auto:best": "The best model, whatever it costs",
    "auto:verified": "A cheap model whose answer is checked, then better ones",
}
"""The names that leave the choice to the gateway, with their descriptions."""


def list_models(catalogue: Catalogue) -> Sequence[dict[str, Any]]:
    """Return an entry for each automatic name, then for each model that answers in text only."""
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


def list_rows(catalogue: Catalogue) -> Sequence[dict[str, Any]]:
    """Return the same models as rows of a router's catalogue, whose SDKs need every field."""
    automatic = [_row(ModelConfig(id=name, name=text)) for name, text in AUTO_MODELS.items()]
    return [*automatic, *(_row(model) for model in catalogue.models if model.writes_text)]


def _row(model: ModelConfig) -> dict[str, Any]:
    modalities = ["text", *media_kinds(model.capabilities)]
    return {
        "id": model.id,
        "canonical_slug": model.canonical_slug or model.id,
        "name": model.name or model.id,
        "created": model.created,
        "description": "",
        "context_length": model.context_length,
        "architecture": {
            "modality": f"{'+'.join(modalities)}->text",
            "input_modalities": modalities,
            "output_modalities": ["text"],
            "tokenizer": model.tokenizer,
            "instruct_type": None,
        },
        # routers list -1 for a price that is unknown beforehand
        "pricing": _pricing(model.price) or {"prompt": "-1", "completion": "-1"},
        "top_provider": {
            "context_length": model.context_length,
            "max_completion_tokens": model.max_output_tokens,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": list_parameters(model.capabilities),
        "supported_voices": None,
        "default_parameters": None,
        "expiration_date": model.expires_on and model.expires_on.isoformat(),
        "links": {"details": f"/v1/models/{model.id}"},
    }


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
