"""Describes which providers serve an author's models, and how their replies and bills differ."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import cast

import orjson

from devflow_sandbox.catalogue.services import Tier
from devflow_sandbox.message import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider, with everything that makes a difference to clients."""

    name: str
    slug: str
    stops_on_cancel: bool
    """Whether a stream that the client closes early is billed only up to there."""
    tool_prefix: str = "call_"
    """The beginning of the ids of its tool calls."""
    stop: str = "stop"
    """Its `native_finish_reason` for the finish reason `stop`; the next two are for their own."""
    tool_calls: str = "tool_calls"
    length: str = "length"
    reasoning_format: str = "unknown"
    """`format` of its `reasoning_details`."""
    tiers: tuple[Tier, ...] = ()
    """Service tiers other than the default."""
    quantization: str = "unknown"
    tokens_per_s: float = 62
    """The median speed that it publishes."""
    keeps_nothing: bool = False
    """Whether its endpoints keep no data."""

    def native_finish_reason(self, finish: str) -> str:
        """Return the `native_finish_reason` for a finish reason of OpenRouter."""
        return {"stop": self.stop, "tool_calls": self.tool_calls, "length": self.length}.get(
            finish, finish
        )


_ANTHROPIC = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "reasoning_format": "anthropic-claude-v1",
}
_GOOGLE = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "reasoning_format": "google-gemini-v1",
}

# Providers that stop billing: "Stream cancellation" in OpenRouter's documentation (2026-08).
_STOP_BILLING_ON_CANCEL = frozenset(
    (
        *("OpenAI", "Azure", "Anthropic", "Fireworks", "DeepInfra", "Together", "Cohere", "xAI"),
        *("Hyperbolic", "Infermatic", "Avian", "Cloudflare", "Liquid", "Friendli", "Chutes"),
        *("DeepSeek", "Novita", "Mancer 2"),
    )
)

# Providers by author, the usual one first (recordings of 2025-10 to 2026-08).
_SERVED_BY: dict[str, tuple[str, ...]] = {
    "anthropic": ("Anthropic", "Amazon Bedrock", "Google"),
    "openai": ("OpenAI", "Azure"),
    "google": ("Google AI Studio", "Google"),
    "x-ai": ("xAI",),
    "mistralai": ("Mistral",),
    "deepseek": ("DeepSeek", "Fireworks", "Together"),
    "qwen": ("Alibaba", "DeepInfra", "Together"),
    "meta-llama": ("Together", "Groq", "Fireworks"),
    "cohere": ("Cohere",),
    "amazon": ("Amazon Bedrock",),
    "perplexity": ("Perplexity",),
    "moonshotai": ("Moonshot AI", "Fireworks", "Groq"),
    "minimax": ("Minimax",),
    "z-ai": ("Z.AI", "BaseTen", "AtlasCloud"),
    "nvidia": ("Nvidia", "DeepInfra"),
    "bytedance-seed": ("Seed",),
    "baidu": ("Baidu",),
    "inception": ("Inception",),
    "ai21": ("AI21",),
    "xiaomi": ("Xiaomi",),
    "stepfun": ("StepFun",),
    "upstage": ("Upstage",),
    "morph": ("Morph",),
    "relace": ("Relace",),
    "poolside": ("Poolside",),
    "liquid": ("Liquid",),
    "rekaai": ("Reka",),
    "arcee-ai": ("Arcee AI",),
}
_TIERS: dict[str, tuple[Tier, ...]] = {
    "OpenAI": ("flex", "priority", "ultrafast"),
    "Google": ("flex", "priority"),
    "Google AI Studio": ("flex", "priority"),
    "xAI": ("priority",),
}
"""Tiers by provider ("Service Tiers", Supported Providers); `ultrafast` since October."""
_QUANTIZATIONS = {"DeepInfra": "fp4", "Together": "fp8", "Fireworks": "fp8", "BaseTen": "fp4"}
"""Invented, as are the speeds; all other providers publish none, or run what the maker made."""
_SPEEDS = {"Groq": 310, "Fireworks": 140, "BaseTen": 120, "Google AI Studio": 110, "Together": 88}
_KEEP_NOTHING = frozenset(
    {"Anthropic", "Amazon Bedrock", "Google", "Azure", "Together", "Fireworks"}
)
"""Providers assumed to retain no data; OpenRouter's real list changes daily."""
# For authors without recordings: two providers, so that routing and fallback have a choice.
_DEFAULT_PROVIDERS = ("DeepInfra", "Together")


@cache
def list_providers() -> tuple[JsonObject, ...]:
    """Return the rows of `GET /providers` as of 2026-05-22."""
    packed = resources.files("devflow_sandbox").joinpath("data/providers.json.gz").read_bytes()
    return tuple(cast("list[JsonObject]", orjson.loads(gzip.decompress(packed))))


@cache
def _load_slugs() -> dict[str, str]:
    return {row["name"]: row["slug"] for row in list_providers()}


@cache
def get_provider(name: str, author: str = "") -> Provider:
    """Return a provider by name; ids, finish reasons and tiers depend on the model's author.

    An unknown name gives a provider with a slug made from it.
    """
    traits: dict[str, str] = {}
    # tiers are sold for the vendor's own models only
    is_own = author in ("openai", "google", "x-ai")
    if author == "anthropic":
        prefix = {"Amazon Bedrock": "toolu_bdrk_", "Google": "toolu_vrtx_"}
        traits = {**_ANTHROPIC, "tool_prefix": prefix.get(name, "toolu_")}
    elif author == "google":
        traits = {**_GOOGLE, "tool_prefix": "tool_"}
    elif author == "openai":
        traits = {"stop": "completed", "tool_calls": "completed", "length": "max_output_tokens"}
        traits["reasoning_format"] = "openai-responses-v1"
    elif author == "x-ai":
        traits = {"stop": "completed", "reasoning_format": "xai-responses-v1"}
    return Provider(
        name=name,
        slug=_load_slugs().get(name, name.lower().replace(" ", "-")),
        stops_on_cancel=name in _STOP_BILLING_ON_CANCEL,
        tiers=_TIERS.get(name, ()) if is_own else (),
        quantization=_QUANTIZATIONS.get(name, "unknown"),
        tokens_per_s=_SPEEDS.get(name, 62),
        keeps_nothing=name in _KEEP_NOTHING,
        **traits,
    )


@cache
def providers_for_author(author: str) -> tuple[Provider, ...]:
    """Return the providers of an author's models, the usual one first.

    An author without recordings has two.
    """
    return tuple(get_provider(name, author) for name in _SERVED_BY.get(author, _DEFAULT_PROVIDERS))
