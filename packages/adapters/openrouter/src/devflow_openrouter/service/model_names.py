"""Understands model names as applications write them: with a router and a provider before.

`openrouter/azure/gpt-4o` is a model of OpenAI's that only Azure may serve. Other names, retired
ones too, are left to the gateway's router.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from devflow_routing import Catalogue

_ROUTER = "openrouter/"
PROVIDER_SLUGS = frozenset({
    "ai21", "aion-labs", "akashml", "alibaba", "amazon-bedrock", "amazon-nova", "ambient",
    "anthropic", "arcee-ai", "atlas-cloud", "avian", "azure", "baidu", "baseten",
    "black-forest-labs", "cerebras", "chutes", "cirrascale", "clarifai", "cloudflare", "cohere",
    "crucible", "crusoe", "deepinfra", "deepseek", "dekallm", "featherless", "fireworks",
    "friendli", "gmicloud", "google-ai-studio", "google-vertex", "groq", "hyperbolic", "inception",
    "inceptron", "inference-net", "infermatic", "inflection", "io-net", "ionstream", "liquid",
    "mancer", "mara", "minimax", "mistral", "modelrun", "modular", "moonshotai", "morph",
    "ncompass", "nebius", "nex-agi", "nextbit", "novita", "nvidia", "open-inference", "openai",
    "parasail", "perceptron", "perplexity", "phala", "poolside", "recraft", "reka", "relace",
    "sambanova", "seed", "siliconflow", "sourceful", "stealth", "stepfun", "streamlake",
    "switchpoint", "together", "upstage", "venice", "wandb", "xai", "xiaomi", "z-ai",
})  # fmt: skip
"""The providers behind OpenRouter (its `GET /providers` of 2026-05-22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedModel:
    """What a name asks for."""

    model: str
    """The id to ask for: the catalogue's, or the name as given without router and provider."""
    provider: str | None = None
    """The only provider that may serve it; None: any may."""


@lru_cache(maxsize=32)
def read_model_name(name: str, catalogue: Catalogue) -> AskedModel:
    """Return what a name asks for.

    Args:
        name: `auto`, or an id of the catalogue, which may have `openrouter/` and a provider before
            it. A provider that also makes models (`openai`) is read as the maker.
        catalogue: the models that are known.
    """
    if name.startswith(_ROUTER) and name.count("/") >= 2:
        name = name.removeprefix(_ROUTER)
    first, slash, rest = name.partition("/")
    if not slash or catalogue.get(name) is not None:
        return AskedModel(model=name)
    makers = {model.id.partition("/")[0] for model in catalogue.models}
    if first not in PROVIDER_SLUGS or first in makers:
        return AskedModel(model=name)
    return AskedModel(model=_find_by_slug(rest, catalogue) or rest, provider=first)


def _find_by_slug(name: str, catalogue: Catalogue) -> str | None:
    """Return the only model with this id or this last segment; None if none or several have it."""
    if catalogue.get(name) is not None:
        return name
    slug = name.rpartition("/")[2]
    found = [one.id for one in catalogue.models if one.id.rpartition("/")[2] == slug]
    return found[0] if len(found) == 1 else None
