"""Defines one model of the catalogue, and the corrections that a user can make to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from devflow_core.usage import Price
from pydantic import BaseModel, ConfigDict

from devflow_routing.capabilities import NO_CAPABILITIES, Capability


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model that can be asked for, with its properties."""

    id: str
    name: str = ""
    """The name for people; empty if it is unknown what the model can do, as with a preset."""
    canonical_slug: str = ""
    """The provider's other name for the same weights, often with a date."""
    tokenizer: str = "Other"
    """The family of its tokenizer, in the provider's words."""
    context_length: int | None = None
    """The window, input and output together, in tokens; None if it is unknown."""
    max_output_tokens: int | None = None
    """The longest reply, in tokens; None if it is unknown."""
    price: Price | None = None
    """The price; None means unknown, never free."""
    capabilities: Capability = NO_CAPABILITIES
    writes_text: bool = True
    """Whether it writes text and nothing else."""
    reasons_by_default: bool = False
    """Whether it reasons unless the request turns that off."""
    created: int = 0
    """When the model was listed, in seconds since 1970; 0 if it is unknown."""
    expires_on: date | None = None
    """The first day on which it is no longer served; None: no day is known."""
    alias_of: str | None = None
    """The model that a `~…-latest` name stands for; None for other names."""
    quality: Mapping[str, float] = field(default_factory=dict[str, float])
    """The user's own rating, 0..1, by task type; `*` applies to all."""
    is_router: bool = False
    """Whether it routes to other models, so that neither price nor quality is known beforehand."""

    @property
    def author(self) -> str:
        """The maker: the part of the id before the slash."""
        return self.id.lstrip("~").partition("/")[0]

    @property
    def variant(self) -> str:
        """The variant, such as `free`, `batch` or `thinking`; empty for the plain model."""
        return self.id.partition(":")[2]


_PRICE_FIELDS = {
    "prompt_usd_per_mtok": "prompt",
    "completion_usd_per_mtok": "completion",
    "cache_read_usd_per_mtok": "cache_read",
    "cache_write_usd_per_mtok": "cache_write",
}


class _Override(BaseModel):
    model_config = ConfigDict(extra="forbid")

    context_length: int | None = None
    max_output_tokens: int | None = None
    prompt_usd_per_mtok: Decimal | None = None
    completion_usd_per_mtok: Decimal | None = None
    cache_read_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    quality: float | dict[str, float] | None = None
    tools: bool | None = None


def parse_override(values: Mapping[str, Any]) -> _Override:
    """Check and return the corrections of one model in `devflow.toml`.

    Raises:
        pydantic.ValidationError: a name is unknown or a value is not allowed.
    """
    return _Override.model_validate(dict(values))


def apply_override(model: ModelConfig, override: _Override, *, version: str) -> ModelConfig:
    """Return the model with the user's corrections, and its other fields unchanged.

    A corrected price has no tiers. If the price was unknown, it becomes known only by a correction
    of both input and output.

    Args:
        model: the model as listed.
        override: the result of `parse_override`.
        version: the version of a corrected price.
    """
    quality = override.quality
    if isinstance(quality, float | int):
        quality = {"*": float(quality)}
    capabilities = model.capabilities
    if override.tools is not None:
        tools = Capability.TOOLS | Capability.TOOL_CHOICE
        capabilities = capabilities | tools if override.tools else capabilities & ~tools
    return replace(
        model,
        context_length=override.context_length or model.context_length,
        max_output_tokens=override.max_output_tokens or model.max_output_tokens,
        price=_override_price(model.price, override, version),
        quality=quality if quality is not None else model.quality,
        capabilities=capabilities,
    )


def _override_price(price: Price | None, override: _Override, version: str) -> Price | None:
    given = {
        name: value / 1_000_000
        for key, name in _PRICE_FIELDS.items()
        if (value := getattr(override, key)) is not None
    }
    if not given:
        return price
    if price is not None:
        return replace(price, **given, tiers=(), version=version)
    if "prompt" in given and "completion" in given:
        return Price(**given, version=version)
    return None
