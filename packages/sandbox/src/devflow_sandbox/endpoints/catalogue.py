"""`/models`, `/model/…`, `/models/…/endpoints`, `/providers`, `/endpoints/zdr`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from devflow_sandbox.api_error import Refusal, invalid
from devflow_sandbox.catalogue import providers
from devflow_sandbox.catalogue.models import Model
from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.message import Answer, JsonObject, Request, json_answer
from devflow_sandbox.sandbox_state import World

_DEFAULT_LIMIT, _MOST = 500, 1000
_ZDR = frozenset({"Anthropic", "Amazon Bedrock", "Google", "Azure", "Together", "Fireworks"})
"""Providers taken as keeping nothing; there the list changes by the day."""
_PER_MILLION = Decimal(1_000_000)


def models(world: World, request: Request) -> Answer:
    """`GET /models`: all at once unless `offset` or `limit` is given."""
    return _listed(world.catalogue.models, request)


def user_models(world: World, request: Request) -> Answer:
    """`GET /models/user`: those that the account's policy leaves."""
    account = world.accounts.authorise(request.headers, world.now_s()).account
    kept = [one for one in world.catalogue.models if not account.is_zdr or _zdr_providers(one)]
    return _listed(kept, request)


def count(world: World, request: Request) -> Answer:
    """`GET /models/count`."""
    rows = _filtered(world.catalogue.models, request.parameters())
    return json_answer({"data": {"count": len(rows)}})


def _listed(rows: list[Model], request: Request) -> Answer:
    asked = request.parameters()
    rows = _filtered(rows, asked)
    total, following = len(rows), None
    if "offset" in asked or "limit" in asked:
        offset = _whole(asked, "offset", 0, 10**9)
        limit = _whole(asked, "limit", _DEFAULT_LIMIT, _MOST)
        if offset + limit < total:
            following = f"/api/v1/models?offset={offset + limit}&limit={limit}"
        rows = rows[offset : offset + limit]
    body = {
        "data": [one.row for one in rows],
        "total_count": total,
        "links": {"next": following},
    }
    return json_answer(body)


def _whole(asked: dict[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not int(name == "limit") <= int(text) <= most:
        raise invalid(f"Invalid query parameter {name}: expected a whole number up to {most}")
    return int(text)


def _filtered(rows: list[Model], asked: dict[str, str]) -> list[Model]:
    modalities = set(asked.get("output_modalities", "text").split(","))
    if "all" not in modalities:
        rows = [one for one in rows if any(one.outputs(kind) for kind in modalities)]
    if "supported_parameters" in asked:
        needed = set(asked["supported_parameters"].split(","))
        rows = [one for one in rows if needed <= one.parameters]
    if "q" in asked:
        words = asked["q"].lower()
        rows = [one for one in rows if words in f"{one.id} {one.row['name']}".lower()]
    if "max_price" in asked:
        most = _price(asked["max_price"])
        rows = [one for one in rows if 0 <= one.prices.prompt * _PER_MILLION <= most]
    return _sorted(rows, asked.get("sort"))


def _price(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise invalid("Invalid query parameter max_price: expected a number") from error


def _sorted(rows: list[Model], by: str | None) -> list[Model]:
    match by:
        case None | "most-popular" | "top-weekly":
            return rows
        case "newest":
            return sorted(rows, key=lambda one: -one.row["created"])
        case "pricing-low-to-high":
            return sorted(rows, key=lambda one: one.prices.prompt)
        case "pricing-high-to-low":
            return sorted(rows, key=lambda one: -one.prices.prompt)
        case "context-high-to-low":
            return sorted(rows, key=lambda one: -one.row["context_length"])
        case _:
            raise invalid(f"Invalid query parameter sort: '{by}'")


def _found(world: World, author: str, slug: str) -> Model:
    try:
        return world.catalogue.resolve(f"{author}/{slug}").model
    except Refusal as refusal:
        raise Refusal(404, f"Model {author}/{slug} not found") from refusal


def model(world: World, request: Request) -> Answer:
    """`GET /model/{author}/{slug}`, singular; resolves aliases."""
    author, slug = request.path.rsplit("/", 2)[-2:]
    return json_answer({"data": _found(world, author, slug).row})


def endpoints(world: World, request: Request) -> Answer:
    """`GET /models/{author}/{slug}/endpoints`: who serves the model."""
    author, slug = request.path.rsplit("/", 3)[-3:-1]
    found = _found(world, author, slug)
    keys = ("id", "name", "created", "description", "architecture")
    data: JsonObject = {key: found.row[key] for key in keys}
    data["endpoints"] = [_endpoint(found, provider) for provider in found.providers]
    return json_answer({"data": data})


def _endpoint(one: Model, provider: Provider) -> JsonObject:
    row = one.row
    has_tools = "tools" in one.parameters
    pricing = {key: value for key, value in row["pricing"].items() if key != "overrides"}
    return {
        "name": f"{provider.name} | {row['canonical_slug']}",
        "model_id": one.id,
        "model_name": row["name"],
        "context_length": one.context_length,
        "pricing": {"request": "0", "image": "0", **pricing, "discount": 0},
        "provider_name": provider.name,
        "tag": provider.slug,
        "quantization": "unknown",
        "max_completion_tokens": row["top_provider"].get("max_completion_tokens"),
        "max_prompt_tokens": None,
        "supported_parameters": row["supported_parameters"],
        "status": 0,
        "uptime_last_5m": 100,
        "uptime_last_30m": 99.9,
        "uptime_last_1d": 99.8,
        "latency_last_30m": {"p50": 420, "p75": 610, "p90": 900, "p99": 2100},
        "throughput_last_30m": {"p50": 62, "p75": 55, "p90": 41, "p99": 18},
        "supports_implicit_caching": one.author != "anthropic",
        "native_tools": {},
        "service_tier": None,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), has_tools),
    }


def _zdr_providers(one: Model) -> list[Provider]:
    return [provider for provider in one.providers if provider.name in _ZDR]


def zdr(world: World, request: Request) -> Answer:
    """`GET /endpoints/zdr`: the endpoints that keep nothing."""
    rows = [
        _endpoint(one, provider)
        for one in world.catalogue.models
        for provider in _zdr_providers(one)
    ]
    return json_answer({"data": rows})


def all_providers(world: World, request: Request) -> Answer:
    """`GET /providers`."""
    return json_answer({"data": providers.listed()})
