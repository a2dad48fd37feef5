"""Lists the catalogue for `/v1/models`: OpenAI's shape, plus prices and limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devflow_core.usage import Price, usd_text
from devflow_routing import Catalogue, ModelConfig

AUTO_MODELS = {
    "auto": "The model that fits the request, by the gateway's weights",
    "auto:cheap": "The cheapest model that is able",
    "auto:fast": "The fastest model that is able",
    "auto:best": "The best model, whatever it costs",
}
"""The names that leave the choice to the gateway, with their descriptions."""


def list_models(catalogue: Catalogue) -> Sequence[dict[str, Any]]:
    """Return an entry for every model that answers in text only; the automatic ones come first."""
    automatic = [
        {"id": name, "object": "model", "created": 0, "owned_by": "devflow", "name": text}
        for name, text in AUTO_MODELS.items()
    ]
    return [*automatic, *(_model_entry(model) for model in catalogue.models if model.writes_text)]


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
