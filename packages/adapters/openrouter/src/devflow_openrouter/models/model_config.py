"""One row of the provider's catalogue, read strictly and kept as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from devflow_core.usage import Price
from pydantic import BaseModel, ConfigDict, TypeAdapter

from devflow_openrouter.models.capabilities import NOTHING, Capability, capabilities_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One provider of a model."""

    provider: str
    tag: str
    price: Price | None
    context_length: int | None
    max_output_tokens: int | None
    capabilities: Capability
    quantization: str | None = None
    is_up: bool = True
    uptime: float | None = None
    """Share of the last day, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model that can be asked for, and what is known of it."""

    id: str
    name: str = ""
    canonical_slug: str = ""
    tokenizer: str = "Other"
    context_length: int | None = None
    """Input and output together; None is unknown."""
    max_output_tokens: int | None = None
    price: Price | None = None
    """None is unknown, never free."""
    capabilities: Capability = NOTHING
    writes_text: bool = True
    thinks: bool = False
    """It reasons unless it is told not to."""
    created: int = 0
    """Seconds since 1970; when it was listed."""
    expires_on: date | None = None
    alias_of: str | None = None
    """A `~…-latest` name stands for another model."""
    quality: Mapping[str, float] = field(default_factory=dict[str, float])
    """The user's own word on its quality, 0..1, by task type; `*` is for all."""
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def author(self) -> str:
        """Who made it: the part before the slash."""
        return self.id.lstrip("~").partition("/")[0]

    @property
    def variant(self) -> str:
        """`free`, `batch`, `thinking`…; empty for the plain model."""
        return self.id.partition(":")[2]

    @property
    def is_router(self) -> bool:
        """It hands on to another model, so neither price nor quality is known beforehand."""
        return self.id.startswith("openrouter/")


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


class _Alias(BaseModel):
    slug: str


class _Row(BaseModel):
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
    alias_target: _Alias | None = None


class _EndpointRow(BaseModel):
    provider_name: str
    tag: str = ""
    pricing: dict[str, Any] = {}
    context_length: int | None = None
    max_completion_tokens: int | None = None
    supported_parameters: tuple[str, ...] | None = None
    quantization: str | None = None
    status: int | None = 0
    uptime_last_1d: float | None = None


_ROW = TypeAdapter(_Row)
_ENDPOINT = TypeAdapter(_EndpointRow)


def model_from_row(row: Mapping[str, Any], *, price_version: str) -> ModelConfig:
    """A model from one object of `GET /models`.

    Raises:
        pydantic.ValidationError: the row is not what OpenRouter describes.
    """
    parsed = _ROW.validate_python(row)
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
        price=_price(parsed.id, parsed.pricing, price_version),
        capabilities=capabilities_of(
            parsed.supported_parameters or (),
            parsed.architecture.input_modalities,
            is_reasoning_mandatory=is_mandatory,
        ),
        writes_text=parsed.architecture.output_modalities == ("text",),
        thinks=is_mandatory or bool(thinking and thinking.default_enabled),
        created=parsed.created,
        expires_on=parsed.expiration_date,
        alias_of=parsed.alias_target.slug if parsed.alias_target else None,
    )


def endpoint_from_row(row: Mapping[str, Any], *, price_version: str) -> Endpoint:
    """A provider from one object of `GET /models/{author}/{slug}/endpoints`.

    Raises:
        pydantic.ValidationError: the row is not what OpenRouter describes.
    """
    parsed = _ENDPOINT.validate_python(row)
    uptime = parsed.uptime_last_1d
    return Endpoint(
        provider=parsed.provider_name,
        tag=parsed.tag,
        price=Price.from_openrouter(parsed.pricing, version=price_version),
        context_length=parsed.context_length,
        max_output_tokens=parsed.max_completion_tokens,
        capabilities=capabilities_of(
            parsed.supported_parameters or (), (), is_reasoning_mandatory=False
        ),
        quantization=parsed.quantization,
        is_up=(parsed.status or 0) >= 0,
        uptime=None if uptime is None else uptime / 100,
    )


def _price(model: str, pricing: Mapping[str, Any], version: str) -> Price | None:
    """The price, where the row can be believed.

    Two prices of zero are a price only of a `:free` variant: OpenRouter also lists zeros where it
    charges in another unit (`google/lyria-3-pro-preview`) or does not know yet.
    """
    price = Price.from_openrouter(pricing, version=version)
    if price is None or price.prompt or price.completion or model.endswith(":free"):
        return price
    return None


_PRICES = {
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


def override_from(values: Mapping[str, Any]) -> _Override:
    """The corrections of one model in `devflow.toml`, checked.

    Raises:
        pydantic.ValidationError: a name that is not known or a value that is not allowed.
    """
    return _Override.model_validate(dict(values))


def with_override(model: ModelConfig, override: _Override, *, version: str) -> ModelConfig:
    """The model with the user's corrections; what is not given stays."""
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
        price=_overridden_price(model.price, override, version),
        quality=quality if quality is not None else model.quality,
        capabilities=capabilities,
    )


def _overridden_price(price: Price | None, override: _Override, version: str) -> Price | None:
    given = {
        name: value / 1_000_000
        for key, name in _PRICES.items()
        if (value := getattr(override, key)) is not None
    }
    if not given:
        return price
    if price is not None:
        return replace(price, **given, tiers=(), version=version)
    if "prompt" in given and "completion" in given:
        return Price(**given, version=version)
    return None
