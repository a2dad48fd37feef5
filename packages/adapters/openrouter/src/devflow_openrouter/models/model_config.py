"""Validates rows of OpenRouter's catalogue and turns them into `ModelConfig`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from devflow_core.usage import Price
from devflow_routing.capabilities import parse_capabilities
from devflow_routing.model_config import ModelConfig
from pydantic import BaseModel, ConfigDict, TypeAdapter

from devflow_openrouter.pricing import parse_price

__all__ = ["ModelConfig", "model_from_row"]


class _Architecture(BaseModel):
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    tokenizer: str = "Other"


class _TopProvider(BaseModel):
    context_length: int | None = None
    max_completion_tokens: int | None = None


class _Reasoning(BaseModel):
    mandatory: bool | None = None
    default_enabled: bool | None = None


class _AliasTarget(BaseModel):
    slug: str


class _ModelRow(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    name: str = ""
    canonical_slug: str | None = None
    created: int = 0
    context_length: int | None = None
    architecture: _Architecture = _Architecture()
    pricing: dict[str, Any] = {}
    top_provider: _TopProvider = _TopProvider()
    supported_parameters: tuple[str, ...] | None = None
    reasoning: _Reasoning | None = None
    expiration_date: date | None = None
    alias_target: _AliasTarget | None = None


_MODEL_ROW = TypeAdapter(_ModelRow)
_THINKER = re.compile(r"/o[134]\b|\bthinking\b|\br1\b|\breason(?:er|ing)\b|\bqwq\b|\bmagistral\b")
"""Names of models that reason: OpenAI's o-series, DeepSeek's R1, "-thinking", "-reasoning"."""


def model_from_row(row: Mapping[str, Any], *, price_version: str) -> ModelConfig:
    """Return a model from one object of `GET /models`; its price is None if none is credible.

    Raises:
        pydantic.ValidationError: the row does not match OpenRouter's description.
        AttributeError, OverflowError, TypeError, ValueError: an override of a price is malformed.
    """
    parsed = _MODEL_ROW.validate_python(row)
    thinking = parsed.reasoning
    is_mandatory = bool(thinking and thinking.mandatory)
    windows = [parsed.context_length, parsed.top_provider.context_length]
    return ModelConfig(
        id=parsed.id,
        name=parsed.name,
        canonical_slug=parsed.canonical_slug or parsed.id,
        tokenizer=parsed.architecture.tokenizer,
        context_length=min((one for one in windows if one), default=None),
        max_output_tokens=parsed.top_provider.max_completion_tokens,
        price=_listed_price(parsed.id, parsed.pricing, price_version),
        capabilities=parse_capabilities(
            parsed.supported_parameters or (),
            parsed.architecture.input_modalities,
            is_reasoning_mandatory=is_mandatory,
        ),
        writes_text=parsed.architecture.output_modalities == ("text",),
        reasons_by_default=is_mandatory
        or bool(thinking and thinking.default_enabled)
        or ((thinking is None or thinking.default_enabled is None) and _names_thinker(parsed.id)),
        created=parsed.created,
        expires_on=parsed.expiration_date,
        alias_of=parsed.alias_target.slug if parsed.alias_target else None,
        is_router=parsed.id.startswith("openrouter/"),
    )


def _names_thinker(model: str) -> bool:
    """Return whether a model's name says that it reasons, where its row says nothing about that."""
    return _THINKER.search(model) is not None


def _listed_price(model: str, pricing: Mapping[str, Any], version: str) -> Price | None:
    """Return the price; None if there is none, or if it is not credible.

    Two prices of zero are a price only for a `:free` variant: OpenRouter also lists zeros where it
    charges in another unit (`google/lyria-3-pro-preview`) or does not know the price yet.
    """
    price = parse_price(pricing, version=version)
    if price is None or price.prompt or price.completion or model.endswith(":free"):
        return price
    return None
