"""Turns OpenRouter's list of models into a catalogue: as shipped, last fetched, or current."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Protocol, cast

import orjson
from devflow_core.addresses import LOOPBACK_UPSTREAM
from devflow_core.errors import ConfigurationError, DevFlowError
from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey
from devflow_core.settings import Settings
from devflow_core.wire import json_lenient as lenient
from devflow_routing.catalogue import Catalogue, NamingRules
from devflow_routing.fetched_file import FetchedFile
from devflow_routing.live_catalogue import LiveCatalogue
from devflow_routing.live_evidence import LiveEvidence
from devflow_routing.model_config import ModelConfig
from devflow_upstream.provider import ModelRows
from pydantic import ValidationError

from devflow_openrouter.models.endpoints import (
    MAKER_SLUGS,
    EndpointsApi,
    decode_endpoints,
    fetch_endpoints,
)
from devflow_openrouter.models.evidence import make_evidence, open_evidence
from devflow_openrouter.models.model_config import model_from_row
from devflow_openrouter.pricing import parse_price

NAMING_RULES = NamingRules(
    suffixes=frozenset({"nitro", "floor", "exacto", "online", "extended", "thinking"}),
    list_price_suffixes=frozenset({"floor", "online"}),
    preset_marker="@preset/",
    maker_slugs=MAKER_SLUGS,
)
"""Names that OpenRouter accepts besides its listed ids (its documentation, read 2026-08-22)."""
CATALOGUE_FILE = "models.json"
"""The file in the data folder that holds the list as it was last fetched."""
LOOPBACK_CATALOGUE_FILE = "models.loopback.json"
"""The same for a list of an upstream on this machine, which never takes the real one's place."""


class ModelsApi(EndpointsApi, Protocol):
    """The endpoints that a new list is fetched from; none needs a key."""

    async def models(self) -> JsonObject:
        """Return all models, as the list `data`.

        Raises:
            DevFlowError: they cannot be fetched.
        """
        ...

    async def embedding_models(self) -> JsonObject:
        """Return the models that make embeddings, as the list `data`.

        Raises:
            DevFlowError: they cannot be fetched.
        """
        ...

    async def zero_retention_endpoints(self) -> JsonObject:
        """Return the endpoints that keep no data, as the list `data`.

        Raises:
            DevFlowError: they cannot be fetched.
        """
        ...


def make_catalogue(settings: Settings, *, rows: ModelRows | None = None) -> LiveCatalogue:
    """Return the shipped list with the user's corrections; fetched lists stay in memory.

    Args:
        settings: the corrections.
        rows: applied to every list instead of the settings' corrections, which they include.

    Raises:
        ConfigurationError: a correction is wrong.
    """
    return _build_catalogue(settings.models if rows is None else rows, None, make_evidence())


def open_catalogue(
    settings: Settings, *, rows: ModelRows | None = None, tolerates_damage: bool = False
) -> LiveCatalogue:
    """Return the list last fetched into the data folder, or the shipped one, with corrections.

    Fetched lists are saved there.

    Args:
        settings: the folder and the corrections.
        rows: applied to every list instead of the settings' corrections, which they include.
        tolerates_damage: whether a damaged saved list counts as missing; for a refresh, which
            replaces it.

    Raises:
        ConfigurationError: the saved list cannot be read or is damaged, or a correction is wrong.
    """
    is_loopback = settings.upstream == LOOPBACK_UPSTREAM
    path = settings.data_dir / (LOOPBACK_CATALOGUE_FILE if is_loopback else CATALOGUE_FILE)
    file = FetchedFile(path, tolerates_damage=tolerates_damage)
    return _build_catalogue(
        settings.models if rows is None else rows, file, open_evidence(settings)
    )


def _build_catalogue(
    rows: ModelRows, file: FetchedFile | None, evidence: LiveEvidence
) -> LiveCatalogue:
    return LiveCatalogue(
        load_shipped_catalogue,
        decode_document,
        file=file,
        overrides=rows,
        unlisted=load_unlisted_prices,
        evidence=evidence,
    )


async def fetch_document(
    api: ModelsApi,
    former: Catalogue,
    asked: Sequence[str] = (),
    *,
    key: UpstreamKey | None = None,
) -> JsonObject:
    """Fetch OpenRouter's list of models, the endpoints that keep no data, and those of some models.

    This takes three requests, and one for each of these models. If only the list of models for
    embeddings fails, the former rows of these models are missing until the next fetch. If only the
    later ones fail, the former answers are kept: OpenRouter itself enforces what a request asks of
    endpoints.

    Args:
        api: the client; no key is needed.
        former: the catalogue in use, which has the former answers.
        asked: the ids of the models whose endpoints are asked for, at most `MAX_MODELS`.
        key: a key, without which the speed of endpoints stays unknown.

    Returns:
        A document for `decode_document`.

    Raises:
        DevFlowError: OpenRouter does not answer the first request, or not with a JSON object.
    """
    fetched_at = datetime.now(UTC)
    body = await _with_embedding_models(await api.models(), api)
    zero_retention, retention = former.zero_retention, None
    try:
        retention = await api.zero_retention_endpoints()
        found = _zero_retention_models(retention)
        zero_retention = zero_retention if found is None else found
    except DevFlowError:
        pass
    document: dict[str, Any] = {"fetched_at": fetched_at.isoformat(), "body": body}
    document["endpoints"] = await fetch_endpoints(
        api, asked, retention=retention, former=former, key=key
    )
    if zero_retention is not None:
        document["zero_retention"] = sorted(zero_retention)
    return document


async def _with_embedding_models(body: JsonObject, api: ModelsApi) -> JsonObject:
    """Return the list with the models for embeddings that it lacks; as it is, if those fail.

    The list of all models holds them, too, unless OpenRouter returns to leaving them out. Without
    their prices, a call under a budget is refused.
    """
    try:
        found = lenient.as_objects((await api.embedding_models()).get("data"))
    except DevFlowError:
        return body
    rows = body.get("data")
    if not isinstance(rows, list):
        return body
    listed = {lenient.as_text(row.get("id")) for row in lenient.as_objects(cast("Any", rows))}
    added = [row for row in found if lenient.as_text(row.get("id")) not in listed]
    return {**body, "data": [*cast("list[Any]", rows), *added]}


def decode_document(document: JsonObject) -> Catalogue:
    """Return the catalogue of a document that `fetch_document` returned.

    Raises:
        ConfigurationError: it holds no model.
        AttributeError, KeyError, TypeError, ValueError: it is not such a document.
    """
    fetched_at = datetime.fromisoformat(document["fetched_at"])
    catalogue = parse_catalogue(document["body"], fetched_at=fetched_at)
    catalogue = catalogue.with_endpoints(decode_endpoints(document.get("endpoints") or {}))
    known = document.get("zero_retention")
    return catalogue if known is None else catalogue.with_zero_retention(map(str, known))


def _zero_retention_models(body: JsonObject) -> frozenset[str] | None:
    """Return the models of a `GET /endpoints/zdr` body; None for any other body."""
    if not isinstance(body.get("data"), list):
        return None
    ids = (lenient.as_text(row.get("model_id")) for row in lenient.as_objects(body["data"]))
    return frozenset(one for one in ids if one is not None)


def load_shipped_catalogue() -> Catalogue:
    """Return the snapshot that ships with the package; `data/README.md` gives its origin."""
    body = _load_data("catalogue.json.gz")
    return parse_catalogue(body, fetched_at=datetime.fromisoformat(body["fetched_at"]))


@cache
def load_unlisted_prices() -> Catalogue:
    """Return models that the shipped snapshot does not list, retired or newer: ids and prices only.

    They serve to price recorded work; nothing else is known of them, so they are never routed to.
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
    """Return the catalogue of a `GET /models` body; an invalid row is skipped and its id recorded.

    Args:
        body: the body, whose `data` is the list of models.
        fetched_at: when it was fetched; names the version of the prices.

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
        except (ValidationError, AttributeError, OverflowError, TypeError, ValueError):
            skipped.append(str(row.get("id", "?")) if isinstance(row, dict) else "?")  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    if not models:
        raise ConfigurationError("The list of models is empty or not what OpenRouter sends.")
    return Catalogue(
        models, version=version, fetched_at=fetched_at, skipped=tuple(skipped), naming=NAMING_RULES
    )
