"""Loads the models and prices that the sandbox sells, and resolves the model names of requests."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache, cached_property
from importlib import resources
from typing import cast

import orjson

from devflow_sandbox.api_error import no_endpoints, unknown_model
from devflow_sandbox.catalogue.billing import Prices
from devflow_sandbox.catalogue.providers import Provider, providers_for_author
from devflow_sandbox.catalogue.services import Tier
from devflow_sandbox.message import JsonObject

_ROUTED_SUFFIXES = frozenset({"nitro", "floor", "online", "exacto", "thinking", "extended"})
"""Suffixes that choose a way of serving; `:free` and `:batch` are separate rows instead."""

# Clients write `claude-opus-4-8` for `claude-opus-4.8`.
_DASHED_VERSION = re.compile(r"(?<=-)(\d)-(\d)(?=$|-)")

_AUTO_MODELS = (
    "anthropic/claude-sonnet-5",
    "openai/gpt-5.6-sol",
    "google/gemini-3.7-flash",
    "deepseek/deepseek-v4-flash-0731",
)
"""The models that the paid routers choose from here; OpenRouter does not document its choice."""


@dataclass(frozen=True)
class Model:
    """One row of `GET /models`."""

    row: JsonObject

    @property
    def id(self) -> str:
        """`author/slug`, with `:free` or `:batch` if that is a separate row."""
        return self.row["id"]

    @cached_property
    def author(self) -> str:
        """The model's author."""
        return self.id.lstrip("~").split("/", 1)[0]

    @cached_property
    def prices(self) -> Prices:
        """The prices of the model's tokens."""
        return Prices.from_pricing(self.row["pricing"])

    @cached_property
    def parameters(self) -> frozenset[str]:
        """The row's `supported_parameters`."""
        return frozenset(self.row["supported_parameters"])

    @cached_property
    def context_length(self) -> int:
        """The window that limits requests: the smaller of the model's and the top provider's."""
        top = self.row["top_provider"].get("context_length")
        return min(self.row["context_length"], top or self.row["context_length"])

    @cached_property
    def max_completion_tokens(self) -> int:
        """The length of the longest reply; the window if none is listed."""
        return self.row["top_provider"].get("max_completion_tokens") or self.context_length

    @property
    def is_router(self) -> bool:
        """Whether the row is one of `openrouter/…`, which let another model answer."""
        return self.id.startswith("openrouter/")

    @property
    def is_listed_once(self) -> bool:
        """Whether the row is a model itself, not a router, an alias, `:free` or `:batch`."""
        return not self.is_router and ":" not in self.id and not self.id.startswith("~")

    @property
    def is_free(self) -> bool:
        """Whether its calls count against the free tier."""
        return self.id.endswith(":free") or self.id == "openrouter/free"

    @cached_property
    def providers(self) -> tuple[Provider, ...]:
        """The model's providers, the usual one first."""
        return providers_for_author(self.author)

    @cached_property
    def label(self) -> str:
        """The `model` field of replies: for Claude the canonical slug (82 of 90 recordings)."""
        return self.row["canonical_slug"] if self.author == "anthropic" else self.id

    @cached_property
    def tiers(self) -> frozenset[Tier]:
        """Service tiers other than the default that some provider sells for the model."""
        if self.is_free or ":batch" in self.id or not self.parameters & {"tools"}:
            return frozenset()
        return frozenset(tier for one in self.providers for tier in one.tiers)

    def can_read(self, modality: str) -> bool:
        """Return whether the model accepts a modality: text, image, audio, video or file."""
        return modality in self.row["architecture"]["input_modalities"]

    def can_output(self, modality: str) -> bool:
        """Return whether it can produce text, image, audio, embeddings, rerank or transcription."""
        return modality in self.row["architecture"]["output_modalities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model as resolved from the name in a request."""

    model: Model
    requested: str
    """The name in the request."""
    suffixes: frozenset[str] = frozenset()
    """Suffixes that choose a way of serving, such as `nitro`."""
    router: str | None = None
    """The id of the router that chose the model; None if it was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterLimits:
    """The models that a router may choose, as patterns with `*`."""

    allowed: tuple[str, ...] = ()
    """Patterns of the models allowed; empty: all models."""
    excluded: tuple[str, ...] = ()
    """Patterns of the models excluded, even if they are allowed."""

    def allows(self, name: str) -> bool:
        """Return whether a model may be chosen."""
        is_allowed = not self.allowed or any(fnmatchcase(name, one) for one in self.allowed)
        return is_allowed and not any(fnmatchcase(name, one) for one in self.excluded)


NO_LIMITS = RouterLimits()


@dataclass
class SandboxCatalogue:
    """All models of a sandbox."""

    models: list[Model]
    _by_id: dict[str, Model] = field(default_factory=dict[str, Model])

    def __post_init__(self) -> None:
        # 69 canonical slugs stand for several rows: the base wins over its :free and :batch
        for model in sorted(self.models, key=lambda one: ":" in one.id):
            self._by_id.setdefault(model.row["canonical_slug"], model)
        for model in self.models:
            # ids after slugs: where one is also another's slug, the id wins
            self._by_id[model.id] = model

    @classmethod
    def load(cls, extra: Iterable[JsonObject] = ()) -> SandboxCatalogue:
        """Load the packaged catalogue; rows of `extra` come first and replace those of equal id."""
        by_id: dict[str, Model] = {}
        for model in (*(Model(_complete_row(row)) for row in extra), *_load_standard_models()):
            by_id.setdefault(model.id, model)
        return cls(list(by_id.values()))

    def get(self, name: str) -> Model | None:
        """Return a row by id or canonical slug; None if there is none."""
        return self._by_id.get(name)

    def resolve(
        self, name: str, *, pick: int = 0, limits: RouterLimits = NO_LIMITS
    ) -> ResolvedModel:
        """Return the model that a name stands for, following aliases and routers.

        Args:
            name: as in the request, with suffixes.
            pick: decides which model a router chooses.
            limits: the models that a router may choose.

        Raises:
            ApiError: 400, if there is no such model; 404, if the router may choose none.
        """
        model, suffixes = self.find(name)
        if model is None:
            raise unknown_model(name)
        alias: JsonObject = model.row.get("alias_target") or {}
        if alias:
            model = self._by_id[alias["slug"]]
        # after the alias, which may lead to a router
        if model.is_router:
            chosen = self._choose_model(model, pick, limits)
            return ResolvedModel(model=chosen, requested=name, suffixes=suffixes, router=model.id)
        return ResolvedModel(model=model, requested=name, suffixes=suffixes)

    def find(self, name: str) -> tuple[Model | None, frozenset[str]]:
        """Return the row and the suffixes of a name, without following aliases or routers.

        The row is None if there is no such model.
        """
        if name in self._by_id:
            return self._by_id[name], frozenset()
        head, *suffixes = name.split(":")
        row_suffixes = [part for part in suffixes if part not in _ROUTED_SUFFIXES]
        plain = ":".join((_DASHED_VERSION.sub(r"\1.\2", head), *row_suffixes))
        routed_suffixes = frozenset(suffixes) & _ROUTED_SUFFIXES
        for candidate in (":".join((head, *row_suffixes)), plain):
            if candidate in self._by_id:
                return self._by_id[candidate], routed_suffixes
        return None, routed_suffixes

    def fast_sibling(self, resolved: ResolvedModel) -> ResolvedModel | None:
        """Return the row that a fast Claude is billed as ("Service Tiers"); None if it has none."""
        sibling = self._by_id.get(f"{resolved.model.id}-fast")
        return None if sibling is None else replace(resolved, model=sibling)

    def _choose_model(self, router: Model, pick: int, limits: RouterLimits) -> Model:
        if router.id == "openrouter/free":
            choice = [one for one in self.models if one.id.endswith(":free")]
        elif limits.allowed:
            choice = [one for one in self.models if one.is_listed_once]
        else:
            choice = [self._by_id[one] for one in _AUTO_MODELS if one in self._by_id]
        choice = [one for one in choice if limits.allows(one.id)]
        if not choice:
            raise no_endpoints(router.id, "matching your allowed models")
        return choice[pick % len(choice)]


@cache
def _load_standard_models() -> tuple[Model, ...]:
    """Load the rows that every sandbox starts with; they are never changed."""
    names = ("newer_claudes.json", "models.json.gz", "others.json")
    rows = [row for name in names for row in _load_packaged(name)]
    return tuple(Model(_complete_row(row)) for row in rows)


def _load_packaged(name: str) -> list[JsonObject]:
    packed = resources.files("devflow_sandbox").joinpath("data", name).read_bytes()
    if name.endswith(".gz"):
        packed = gzip.decompress(packed)
    return cast("list[JsonObject]", orjson.loads(packed))


def _complete_row(row: JsonObject) -> JsonObject:
    """Add the fields that the packaged snapshot leaves out."""
    slug = row["canonical_slug"]
    return {
        **row,
        "description": row.get("description", ""),
        "hugging_face_id": row.get("hugging_face_id"),
        "supported_voices": row.get("supported_voices"),
        "links": {"details": f"/api/v1/models/{slug}/endpoints"},
    }
