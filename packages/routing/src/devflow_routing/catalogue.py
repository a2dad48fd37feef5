"""Holds all models that can be asked for, with the user's corrections."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson
from devflow_core.close_names import find_close_names
from devflow_core.errors import ConfigurationError, UnknownModel
from devflow_core.scope import is_in_scope
from pydantic import ValidationError

from devflow_routing.catalogue_changes import CatalogueChange, diff_model
from devflow_routing.endpoints import (
    NO_ENDPOINTS,
    Endpoint,
    ModelEndpoints,
    assume_endpoints,
)
from devflow_routing.model_config import (
    ModelConfig,
    apply_override,
    parse_override,
)
from devflow_routing.model_names import (
    ClaudeName,
    family_words,
    normalize_name,
    normalized_spellings,
    read_claude_name,
    split_variant,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingRules:
    """The names that a provider accepts although its list does not hold them."""

    suffixes: frozenset[str] = frozenset()
    """Suffixes (`:nitro`) that can be added to any model."""
    list_price_suffixes: frozenset[str] = frozenset()
    """Suffixes with which the listed price is still the most that is charged."""
    preset_marker: str | None = None
    """The marker in names of stored presets, whose content is unknown beforehand."""
    maker_slugs: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The slugs of the providers that makers run themselves, by the maker's name in ids."""


class Catalogue:
    """The models that can be asked for; immutable: `with_…` returns another catalogue.

    Args:
        models: the rows; of two with the same id, the later is used.
        version: the name of this list in decisions.
        fetched_at: when the list was fetched from the provider.
        skipped: ids of rows that could not be read.
        zero_retention: ids of models with an endpoint that keeps no data; None if unknown.
        naming: names that the provider accepts in addition to the listed ids.
        endpoints: the known endpoints of models, by id.
    """

    def __init__(  # noqa: PLR0913 - what is known of the list as a whole
        self,
        models: Iterable[ModelConfig],
        *,
        version: str,
        fetched_at: datetime,
        skipped: tuple[str, ...] = (),
        zero_retention: frozenset[str] | None = None,
        naming: NamingRules | None = None,
        endpoints: Mapping[str, ModelEndpoints] = NO_ENDPOINTS,
    ) -> None:
        self._by_id = {model.id: model for model in models}
        self.version = version
        self.fetched_at = fetched_at
        self.skipped = skipped
        self.zero_retention = zero_retention
        self.naming = naming or NamingRules()
        self.endpoints = endpoints

    @cached_property
    def models(self) -> tuple[ModelConfig, ...]:
        """All models, in the provider's order."""
        return tuple(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, model: object) -> bool:
        return model in self._by_id

    def get(self, model: str) -> ModelConfig | None:
        """Return the model with exactly this id, or None."""
        return self._by_id.get(model)

    def find(self, name: str) -> ModelConfig:
        """Return the model that a name stands for.

        Accepts an id; an id with a suffix of the provider's (`:nitro`, `:floor`…), which keeps its
        price only if the suffix cannot raise it; a preset, whose properties are unknown; and the
        names of other APIs (`claude-sonnet-4-5-20250929`, `gpt-5`, Bedrock's and Vertex AI's).

        Raises:
            UnknownModel: no model fits; the message names similar ones.
        """
        found = self.lookup(name)
        if found is not None:
            return found
        close = ", ".join(find_close_names(name, self._by_id))
        raise UnknownModel(
            f"There is no model {name!r} in the catalogue of {self.version}. "
            + (f"Close: {close}. " if close else "")
            + "`devflow models list` shows all, `devflow models refresh` fetches the newest.",
            model=name,
        )

    def lookup(self, name: str) -> ModelConfig | None:
        """Return the model that `find` would return, or None if no model fits."""
        found = (
            self._by_id.get(name) or self._find_with_suffix(name) or self._find_foreign_name(name)
        )
        if found is not None:
            return found
        if self.naming.preset_marker and self.naming.preset_marker in name:
            base, _, _ = name.partition("@")
            known = self._by_id.get(base)
            return replace(known, id=name, price=None) if known else ModelConfig(id=name)
        return None

    def find_listed(self, name: str) -> ModelConfig | None:
        """Return the listed model that a reply calls by its id or its other name, or None."""
        return self._by_id.get(name) or self._by_slug.get(name)

    def find_or_newest(self, name: str, scope: tuple[str, ...] | None = None) -> ModelConfig:
        """Return the model that a request for a name is sent to.

        It is the model that `find` returns; for an unknown Claude, the newest of its family,
        since clients are newer than any list: `claude-opus-9` is answered by the newest Opus. A
        variant (`:batch`) is kept.

        Args:
            name: the name without aliases.
            scope: patterns of the models that may be used, among which the newest is chosen; if it
                allows none of the family, the newest of all is returned. None allows all.

        Raises:
            UnknownModel: no model fits, and no listed family of Claudes.
        """
        found = self.lookup(name) or self._find_newest_claude(name, scope)
        return found or self._find_newest_claude(name, None) or self.find(name)

    def find_successor(self, name: str) -> ModelConfig | None:
        """Return the model that a name stands for today: for a retired one, its family's newest.

        `gemini-pro` is answered by the newest Gemini Pro. Unlike a request, which says exactly what
        it wants, a list of wishes may be years old. None if the catalogue has no such family.
        """
        try:
            return self.find_or_newest(name)
        except UnknownModel:
            author, words = name.lower().rpartition("/")[0], family_words(name)
        family = [
            model
            for model in self._by_normalized_name.values()
            if words and family_words(model.id) == words and author in ("", model.author)
        ]
        return max(family, key=lambda model: model.created, default=None)

    def _find_newest_claude(self, name: str, scope: tuple[str, ...] | None) -> ModelConfig | None:
        wanted = read_claude_name(name)
        if wanted is None:
            return None
        for model in self._find_claude_family(wanted):
            found = self.lookup(f"{model.id}:{wanted.variant}") if wanted.variant else model
            if found is not None and is_in_scope(scope, found.id):
                return found
        return None

    def _find_claude_family(self, wanted: ClaudeName) -> tuple[ModelConfig, ...]:
        """Return the family that has all the words of a name, or else the one that has one."""
        families = self._claude_families
        return families.get(wanted.words) or next(
            (families[(word,)] for word in wanted.words if (word,) in families), ()
        )

    def with_overrides(self, overrides: Mapping[str, Mapping[str, Any]]) -> Catalogue:
        """Return the catalogue with a user's corrections by model id; a new id adds a model.

        Raises:
            ConfigurationError: a correction is invalid; the message names it.
        """
        if not overrides:
            return self
        text = orjson.dumps(overrides, default=str, option=orjson.OPT_SORT_KEYS)
        version = f"{self.version}+{hashlib.sha256(text).hexdigest()[:6]}"
        models = dict(self._by_id)
        for name, values in overrides.items():
            try:
                override = parse_override(values)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                place = ".".join(str(one) for one in first["loc"])
                raise ConfigurationError(
                    f"The correction models.{name}.{place} is wrong: {first['msg']}."
                ) from None
            base = models.get(name, ModelConfig(id=name, name=name))
            models[name] = apply_override(base, override, version=version)
        return self._replace(models.values(), version)

    def with_zero_retention(self, models: Iterable[str]) -> Catalogue:
        """Return the catalogue with the models that have an endpoint that keeps no data.

        Args:
            models: their ids.
        """
        ids = frozenset(
            one if (found := self.find_listed(one)) is None else found.id for one in models
        )
        digest = hashlib.sha256(orjson.dumps(sorted(ids))).hexdigest()[:6]
        return self._replace(self.models, f"{self.version}+{digest}", zero_retention=ids)

    def with_endpoints(self, endpoints: Mapping[str, ModelEndpoints]) -> Catalogue:
        """Return the catalogue with these endpoints of models, in place of those known before.

        Args:
            endpoints: what is known, by a model's id or its other name. Models that are not listed
                are ignored; if none is listed, nothing changes.
        """
        by_id = {
            found.id: known
            for name, known in endpoints.items()
            if (found := self.find_listed(name)) is not None
        }
        if not by_id:
            return self
        text = repr(sorted((name, known.rows) for name, known in by_id.items()))
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        return self._replace(self.models, f"{self.version}+{digest}", endpoints=by_id)

    def endpoints_of(self, model: ModelConfig) -> tuple[Endpoint, ...]:
        """Return the endpoints of a model, as far as they are known.

        Unless all of them were fetched, its maker is assumed to serve it at the listed price; one
        that is not known to run a provider only if no endpoint is known.
        """
        known = self.endpoints.get(model.id, _NOTHING_KNOWN)
        if known.asked_at is not None:
            return known.rows
        slugs = self.naming.maker_slugs.get(model.author, () if known.rows else (model.author,))
        ids = self.zero_retention
        # a model that is said to have such an endpoint, and none of them known, has it at its maker
        keeps_nothing = None if ids is None else model.id in ids and not known.rows
        return known.rows + assume_endpoints(
            slugs, known, model.price, is_zero_retention=keeps_nothing
        )

    def _replace(
        self,
        models: Iterable[ModelConfig],
        version: str,
        *,
        zero_retention: frozenset[str] | None = None,
        endpoints: Mapping[str, ModelEndpoints] | None = None,
    ) -> Catalogue:
        return Catalogue(
            models,
            version=version,
            fetched_at=self.fetched_at,
            skipped=self.skipped,
            zero_retention=self.zero_retention if zero_retention is None else zero_retention,
            naming=self.naming,
            endpoints=self.endpoints if endpoints is None else endpoints,
        )

    def changes_since(self, older: Catalogue) -> tuple[CatalogueChange, ...]:
        """Return the differences from an older catalogue, in the order of model ids."""
        changes: list[CatalogueChange] = []
        for name in sorted({*self._by_id, *older._by_id}):
            changes += diff_model(name, older.get(name), self.get(name))
        return tuple(changes)

    def _find_with_suffix(self, name: str) -> ModelConfig | None:
        base, _, suffix = name.partition(":")
        known = self._by_id.get(base)
        if known is None or not suffix or not self.naming.suffixes.issuperset(suffix.split(":")):
            return None
        is_priced = self.naming.list_price_suffixes.issuperset(suffix.split(":"))
        return replace(known, id=name, price=known.price if is_priced else None)

    def _find_foreign_name(self, name: str) -> ModelConfig | None:
        base, variant = split_variant(name)
        for spelling in normalized_spellings(base):
            known = self._by_normalized_name.get(spelling)
            if known is not None:
                return self._by_id.get(f"{known.id}:{variant}") if variant else known
        return None

    @cached_property
    def _claude_families(self) -> dict[tuple[str, ...], tuple[ModelConfig, ...]]:
        """Anthropic's models by the words of their names, the newest of each family first."""
        found: dict[tuple[str, ...], list[tuple[tuple[int, ...], int, ModelConfig]]] = {}
        for model in self.models:
            name = read_claude_name(model.id) if model.author == "anthropic" else None
            if name is not None and not name.variant and not model.id.startswith("~"):
                row = (name.version, model.created, model)
                found.setdefault(name.words, []).append(row)
        return {
            words: tuple(row[2] for row in sorted(rows, key=lambda row: row[:2], reverse=True))
            for words, rows in found.items()
        }

    @cached_property
    def _by_slug(self) -> dict[str, ModelConfig]:
        """Models by their other name; of several, the plain one without `:free` or `:batch`."""
        found: dict[str, ModelConfig] = {}
        for model in sorted(self.models, key=lambda one: ":" in one.id or one.id.startswith("~")):
            found.setdefault(model.canonical_slug, model)
        return found

    @cached_property
    def _by_normalized_name(self) -> dict[str, ModelConfig]:
        """Models by their normalized names; a name that two models share is left out.

        A canonical slug counts only where no id normalizes to it: that of `z-ai/glm-4.6v` is
        `z-ai/glm-4.6-20251208`.
        """
        plain = [
            model
            for model in self.models
            if ":" not in model.id and not model.id.startswith("~") and not model.is_router
        ]
        ids = _index_unique((normalize_name(model.id), model) for model in plain)
        slugs = _index_unique((normalize_name(model.canonical_slug), model) for model in plain)
        found = {**slugs, **ids}
        return {key: model for key, model in found.items() if model is not None}


_NOTHING_KNOWN = ModelEndpoints()


def _index_unique(names: Iterable[tuple[str, ModelConfig]]) -> dict[str, ModelConfig | None]:
    found: dict[str, ModelConfig | None] = {}
    for key, model in names:
        known = found.setdefault(key, model)
        if known is not None and known.id != model.id:
            found[key] = None
    return found
