"""The catalogue as `/v1/models` shows it: OpenAI's shape, with prices and limits beside it."""

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


def list_models(catalogue: Catalogue) -> Sequence[dict[str, Any]]:
    """Every name that can be asked for: ours first, then the catalogue's."""
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
    """USD a token as decimal text, as upstreams list it; None where it is not known."""
    if price is None:
        return None
    shown = {"prompt": price.prompt, "completion": price.completion, "request": price.request}
    if price.cache_read is not None:
        shown["input_cache_read"] = price.cache_read
    if price.cache_write is not None:
        shown["input_cache_write"] = price.cache_write
    return {name: usd_text(usd) for name, usd in shown.items()}
