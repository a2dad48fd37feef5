"""Fetches which providers serve a model, at what price and how fast, and reads it from the file."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Protocol

from devflow_core.errors import DevFlowError, KeyRefused
from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey
from devflow_core.safe_text import clean_name
from devflow_core.usage import parse_amount
from devflow_core.wire import json_lenient as lenient
from devflow_routing.catalogue import Catalogue
from devflow_routing.endpoints import UNKNOWN, Endpoint, ModelEndpoints
from pydantic import TypeAdapter

MAX_MODELS = 32
"""The most models that are asked about at one refresh."""
MAX_ROWS = 10_000
"""The most endpoints that are read of one answer."""
MAX_AT_ONCE = 4
"""The most questions at the same time."""
DEADLINE_S = 20.0
"""The time for all questions together; models that were not reached keep their former answers."""
MAX_AGE = timedelta(days=7)
"""The age at which the answer about a model is dropped if no newer one has come."""
_TIERS = frozenset({"flex", "priority", "fast", "ultrafast", "scale"})
_MIN_TTFT_MS = 60.0
"""The least wait that is read as milliseconds; OpenRouter has published seconds as well."""

_OF_THE_SAME_NAME = (
    "ai21", "aion-labs", "anthropic", "arcee-ai", "baidu", "cohere", "deepseek", "inception",
    "inflection", "liquid", "mancer", "minimax", "moonshotai", "morph", "nex-agi", "nvidia",
    "openai", "perceptron", "perplexity", "poolside", "relace", "stepfun", "upstage", "xiaomi",
    "z-ai",
)  # fmt: skip
MAKER_SLUGS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in _OF_THE_SAME_NAME},
    "amazon": ("amazon-bedrock",),
    "bytedance-seed": ("seed",),
    "google": ("google-ai-studio", "google-vertex"),
    "mistralai": ("mistral",),
    "qwen": ("alibaba",),
    "rekaai": ("reka",),
    "x-ai": ("xai",),
}
"""The providers that makers run themselves (`GET /providers`, May 2026)."""


class EndpointsApi(Protocol):
    """The endpoints that are asked; without a key they leave out how fast a provider is."""

    async def endpoints(self, model: str, *, key: UpstreamKey | None = None) -> JsonObject:
        """Return the providers of a model, as the list `data.endpoints`.

        Raises:
            DevFlowError: they cannot be fetched.
        """
        ...


async def fetch_endpoints(
    api: EndpointsApi,
    models: Sequence[str],
    *,
    retention: JsonObject | None,
    former: Catalogue,
    key: UpstreamKey | None = None,
) -> JsonObject:
    """Ask who serves these models, and return that with what is known already; never fails.

    Args:
        api: the client.
        models: the ids of the models that are asked about; those beyond `MAX_MODELS` are not.
        retention: the answer of `GET /endpoints/zdr`; None: there is none.
        former: the catalogue in use, whose answers are kept for models that get no new one.
        key: a key, if there is one.

    Returns:
        A document for `decode_endpoints`.
    """
    now = datetime.now(UTC)
    private = None if retention is None else _read_private(retention, former)
    answers = await _ask_all(api, models[:MAX_MODELS], key)
    known: dict[str, ModelEndpoints] = {}
    if private is not None:
        known |= {name: ModelEndpoints(rows=rows) for name, rows in private.items()}
    known |= {
        name: one
        for name, one in former.endpoints.items()
        if _is_whole(one, now) or (private is None and one.asked_at is None)
    }
    known |= {name: ModelEndpoints(rows=rows, asked_at=now) for name, rows in answers.items()}
    if private is not None:
        known = {name: _mark_private(one, private.get(name, ())) for name, one in known.items()}
    return _adapter().dump_python(known, mode="json")


def decode_endpoints(document: JsonObject) -> Mapping[str, ModelEndpoints]:
    """Return the endpoints of a document that `fetch_endpoints` returned, by model.

    Raises:
        ValueError: it is not such a document.
    """
    return _adapter().validate_python(document, strict=False)


@cache
def _adapter() -> TypeAdapter[dict[str, ModelEndpoints]]:
    return TypeAdapter(dict[str, ModelEndpoints])


def _is_whole(known: ModelEndpoints, now: datetime) -> bool:
    """Return whether all endpoints of a model were fetched, and not too long ago."""
    return known.asked_at is not None and now - known.asked_at < MAX_AGE


async def _ask_all(
    api: EndpointsApi, models: Sequence[str], key: UpstreamKey | None
) -> dict[str, tuple[Endpoint, ...]]:
    """Return the answers that come before the deadline; a model whose question fails has none."""
    found: dict[str, tuple[Endpoint, ...]] = {}
    queue = iter(models)

    async def ask_next() -> None:
        for model in queue:
            with suppress(DevFlowError):
                rows = _read_rows(await _ask(api, model, key))
                if rows is not None:
                    found[model] = rows

    with suppress(TimeoutError):
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            for _ in range(MAX_AT_ONCE):
                group.create_task(ask_next())
    return found


async def _ask(api: EndpointsApi, model: str, key: UpstreamKey | None) -> JsonObject:
    if key is not None:
        with suppress(KeyRefused):  # the answer without a key lacks only the speed
            return await api.endpoints(model, key=key)
    return await api.endpoints(model)


def _read_rows(body: JsonObject) -> tuple[Endpoint, ...] | None:
    """Return the endpoints of one model; None for any other body."""
    data = lenient.as_object(body.get("data"))
    if not isinstance(data.get("endpoints"), list):
        return None
    rows = map(_read_endpoint, lenient.as_objects(data["endpoints"])[:MAX_ROWS])
    return tuple(one for one in rows if one is not None)


def _read_private(body: JsonObject, former: Catalogue) -> dict[str, tuple[Endpoint, ...]] | None:
    """Return the endpoints that keep nothing by model; None if the body is not such a list."""
    if not isinstance(body.get("data"), list):
        return None
    found: dict[str, list[Endpoint]] = {}
    for row in lenient.as_objects(body["data"])[:MAX_ROWS]:
        model = lenient.as_text(row.get("model_id"))
        endpoint = _read_endpoint(row)
        if model is not None and endpoint is not None:
            listed = former.find_listed(model)  # by the id, if it is called by its other name
            name = model if listed is None else listed.id
            found.setdefault(name, []).append(replace(endpoint, is_zero_retention=True))
    return {model: tuple(rows) for model, rows in found.items()}


def _read_endpoint(row: JsonObject) -> Endpoint | None:
    tag = clean_name(lenient.as_text(row.get("tag")))
    if tag is None:
        return None
    pricing = lenient.as_object(row.get("pricing"))
    quantization = clean_name(lenient.as_text(row.get("quantization")))
    wait = _read_median(row.get("latency_last_30m"))
    return Endpoint(
        tag=tag.lower(),
        provider=clean_name(lenient.as_text(row.get("provider_name"))) or "",
        quantization=(quantization or UNKNOWN).lower(),
        prompt_usd=parse_amount(pricing.get("prompt")),
        completion_usd=parse_amount(pricing.get("completion")),
        request_usd=parse_amount(pricing.get("request")) or Decimal(0),
        is_tier=_is_tier(tag, row.get("service_tier")),
        output_tokens_per_s=_read_median(row.get("throughput_last_30m")),
        ttft_s=wait / 1000 if wait is not None and wait >= _MIN_TTFT_MS else wait,
    )


def _is_tier(tag: str, service_tier: Any) -> bool:
    named = service_tier if isinstance(service_tier, str) else tag.partition("/")[2]
    return named in _TIERS


def _read_median(percentiles: object) -> float | None:
    value: object = lenient.as_object(percentiles).get("p50")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def _mark_private(known: ModelEndpoints, private: tuple[Endpoint, ...]) -> ModelEndpoints:
    """Return the endpoints with those marked that keep nothing."""
    tags = {one.tag for one in private}
    rows = (replace(one, is_zero_retention=one.tag in tags) for one in known.rows)
    return replace(known, rows=tuple(rows))
