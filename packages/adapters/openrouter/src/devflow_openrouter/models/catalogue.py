"""OpenRouter's list of models as a catalogue: the shipped snapshot, or a fetched body."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, cast

import orjson
from devflow_core.errors import ConfigurationError
from devflow_routing.catalogue import Catalogue, NamingRules
from devflow_routing.model_config import ModelConfig
from pydantic import ValidationError

from devflow_openrouter.models.model_config import endpoint_from_row, model_from_row
from devflow_openrouter.pricing import parse_price

NAMING_RULES = NamingRules(
    suffixes=frozenset({"nitro", "floor", "exacto", "online", "extended", "thinking"}),
    list_price_suffixes=frozenset({"floor", "online"}),
    preset_marker="@preset/",
)
"""Names that OpenRouter takes beside its listed ids (its documentation, read 2026-08-22)."""


def load_shipped_catalogue() -> Catalogue:
    """The snapshot that comes with the package (`data/README.md` tells its origin)."""
    body = _load_data("catalogue.json.gz")
    return parse_catalogue(body, fetched_at=datetime.fromisoformat(body["fetched_at"]))


@cache
def load_unlisted_prices() -> Catalogue:
    """Models that the shipped snapshot does not list, retired or newer: ids and prices only.

    To price recorded work with; nothing else is known of them, so that none can be routed to.
    """
    body = _load_data("unlisted_prices.json.gz")
    version, prices = body["version"], body["prices"]
    models = (
        ModelConfig(id=name, canonical_slug=name, price=parse_price(pricing, version=version))
        for name, pricing in prices.items()
    )
    return Catalogue(
        models,
        version=version,
        fetched_at=datetime.fromisoformat(body["as_of"]),
        naming=NAMING_RULES,
    )


def _load_data(name: str) -> dict[str, Any]:
    packed = files("devflow_openrouter").joinpath("data", name).read_bytes()
    return orjson.loads(gzip.decompress(packed))


def parse_catalogue(body: Mapping[str, Any], *, fetched_at: datetime) -> Catalogue:
    """The catalogue of a `GET /models` body. A row that cannot be read is skipped and named.

    Raises:
        ConfigurationError: the body holds no model at all.
    """
    found: object = body.get("data")
    rows = cast("list[Any]", found) if isinstance(found, list) else []
    digest = hashlib.sha256(orjson.dumps(rows, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]
    version = f"{fetched_at.astimezone(UTC):%Y-%m-%d}/{digest}"
    models: list[ModelConfig] = []
    skipped: list[str] = []
    for row in rows:
        try:
            models.append(model_from_row(row, price_version=version))
        except (ValidationError, ValueError, TypeError):
            skipped.append(str(row.get("id", "?")) if isinstance(row, dict) else "?")  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    if not models:
        raise ConfigurationError("The list of models is empty or not what OpenRouter sends.")
    return Catalogue(
        models, version=version, fetched_at=fetched_at, skipped=tuple(skipped), naming=NAMING_RULES
    )


def with_endpoints(catalogue: Catalogue, model: str, body: Mapping[str, Any]) -> Catalogue:
    """The catalogue with the providers of one model, from its `/endpoints` body.

    Raises:
        UnknownModel: the catalogue has no such model.
    """
    known = catalogue.find(model)
    rows: list[Mapping[str, Any]] = body.get("data", body).get("endpoints", [])
    endpoints = tuple(endpoint_from_row(row, price_version=catalogue.version) for row in rows)
    return catalogue.with_models([replace(known, endpoints=endpoints)])


def with_zero_retention(catalogue: Catalogue, body: Mapping[str, Any]) -> Catalogue:
    """The catalogue with the models that have a zero-retention endpoint (`GET /endpoints/zdr`)."""
    rows: list[Mapping[str, Any]] = body.get("data", [])
    ids = frozenset(str(row["model_id"]) for row in rows if row.get("model_id"))
    return catalogue.with_models((), zero_retention=ids)
