"""Answers `/models`, `/model/…`, `/models/…/endpoints`, `/providers` and `/endpoints/zdr`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from devflow_sandbox.api_error import ApiError, invalid_request
from devflow_sandbox.catalogue import providers
from devflow_sandbox.catalogue.billing import decimal_text
from devflow_sandbox.catalogue.models import Model
from devflow_sandbox.catalogue.providers import Provider
from devflow_sandbox.catalogue.services import TIER_FACTOR, Tier
from devflow_sandbox.message import Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.sandbox_state import SandboxState

_DEFAULT_LIMIT, _MAX_LIMIT = 500, 1000
"""The rows of a page of `/models` without `limit`, and the most with it."""
_PER_MILLION = Decimal(1_000_000)


def list_models(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /models`: all models that write text, on one page unless the query differs."""
    return _list_page(state.catalogue.models, request)


def list_user_models(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /models/user`: the models that the account's policy allows."""
    account = state.accounts.authenticate(request.headers, state.now_s()).account
    allowed = [one for one in state.catalogue.models if not account.is_zdr or _zdr_providers(one)]
    return _list_page(allowed, request)


def list_embedding_models(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /embeddings/models`: the models that make embeddings."""
    rows = [one for one in state.catalogue.models if one.can_output("embeddings")]
    return _answer_page(rows, request)


def count_models(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /models/count`: how many rows `GET /models` has for the same query."""
    rows = _filter(state.catalogue.models, request.query_parameters())
    return json_answer({"data": {"count": len(rows)}})


def _list_page(rows: list[Model], request: SandboxRequest) -> Answer:
    return _answer_page(_filter(rows, request.query_parameters()), request)


def _answer_page(rows: list[Model], request: SandboxRequest) -> Answer:
    """Answer with the page of the rows that is asked for; without one, with all of them."""
    parameters = request.query_parameters()
    total, following = len(rows), None
    if "offset" in parameters or "limit" in parameters:
        offset = _parse_integer(parameters, "offset", 0, 10**9)
        limit = _parse_integer(parameters, "limit", _DEFAULT_LIMIT, _MAX_LIMIT)
        if offset + limit < total:
            following = f"{request.path}?offset={offset + limit}&limit={limit}"
        rows = rows[offset : offset + limit]
    body = {
        "data": [one.row for one in rows],
        "total_count": total,
        "links": {"next": following},
    }
    return json_answer(body)


def _parse_integer(parameters: dict[str, str], name: str, default: int, maximum: int) -> int:
    text = parameters.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not int(name == "limit") <= int(text) <= maximum:
        raise invalid_request(
            f"Invalid query parameter {name}: expected a whole number up to {maximum}"
        )
    return int(text)


def _filter(rows: list[Model], parameters: dict[str, str]) -> list[Model]:
    modalities = set(parameters.get("output_modalities", "text").split(","))
    if "all" not in modalities:
        rows = [one for one in rows if any(one.can_output(kind) for kind in modalities)]
    if "supported_parameters" in parameters:
        needed = set(parameters["supported_parameters"].split(","))
        rows = [one for one in rows if needed <= one.parameters]
    if "q" in parameters:
        query = parameters["q"].lower()
        rows = [one for one in rows if query in f"{one.id} {one.row['name']}".lower()]
    if "max_price" in parameters:
        max_price = _parse_price(parameters["max_price"])
        rows = [one for one in rows if 0 <= one.prices.prompt * _PER_MILLION <= max_price]
    return _sort(rows, parameters.get("sort"))


def _parse_price(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise invalid_request("Invalid query parameter max_price: expected a number") from error


def _sort(rows: list[Model], by: str | None) -> list[Model]:
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
            raise invalid_request(f"Invalid query parameter sort: '{by}'")


def _find_model(state: SandboxState, author: str, slug: str) -> Model:
    try:
        return state.catalogue.resolve(f"{author}/{slug}").model
    except ApiError as error:
        raise ApiError(404, f"Model {author}/{slug} not found") from error


def get_model(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /model/{author}/{slug}` (singular), which resolves aliases."""
    author, slug = request.path.rsplit("/", 2)[-2:]
    return json_answer({"data": _find_model(state, author, slug).row})


def list_endpoints(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /models/{author}/{slug}/endpoints`: the providers of the model."""
    author, slug = request.path.rsplit("/", 3)[-3:-1]
    model = _find_model(state, author, slug)
    is_known = "authorization" in request.headers
    keys = ("id", "name", "created", "description", "architecture")
    data: JsonObject = {key: model.row[key] for key in keys}
    data["endpoints"] = [
        _format_endpoint(model, provider, tier, shows_speed=is_known)
        for provider in model.providers
        for tier in ("default", *sorted(model.tiers.intersection(provider.tiers)))
    ]
    return json_answer({"data": data})


_TOKEN_PRICES = frozenset({"prompt", "completion", "internal_reasoning", "image", "audio"})


def _tier_price(name: str, value: str, tier: Tier) -> str:
    """Return a price "with the tier multiplier already applied" ("Service Tiers")."""
    is_token = name in _TOKEN_PRICES or name.startswith("input_") or name.endswith("_output")
    return decimal_text(Decimal(value) * TIER_FACTOR[tier]) if is_token else value


def _format_endpoint(
    one: Model, provider: Provider, tier: Tier = "default", *, shows_speed: bool = False
) -> JsonObject:
    """Return one endpoint; its speed is "only visible when authenticated"."""
    row, speed = one.row, provider.tokens_per_s
    has_tools = "tools" in one.parameters
    pricing = {
        key: value if tier == "default" else _tier_price(key, value, tier)
        for key, value in row["pricing"].items()
        if key != "overrides"
    }
    return {
        "name": f"{provider.name} | {row['canonical_slug']}",
        "model_id": one.id,
        "model_name": row["name"],
        "context_length": one.context_length,
        "pricing": {"request": "0", "image": "0", **pricing, "discount": 0},
        "provider_name": provider.name,
        "tag": provider.slug if tier == "default" else f"{provider.slug}/{tier}",
        "quantization": provider.quantization,
        "max_completion_tokens": row["top_provider"].get("max_completion_tokens"),
        "max_prompt_tokens": None,
        "supported_parameters": row["supported_parameters"],
        "status": 0,
        "uptime_last_5m": 100,
        "uptime_last_30m": 99.9,
        "uptime_last_1d": 99.8,
        "latency_last_30m": {"p50": 420, "p75": 610, "p90": 900, "p99": 2100}
        if shows_speed
        else None,
        "throughput_last_30m": {"p50": speed, "p75": speed - 7, "p90": speed - 21, "p99": 18}
        if shows_speed
        else None,
        "supports_implicit_caching": one.author != "anthropic",
        "native_tools": {},
        "service_tier": None if tier == "default" else tier,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), has_tools),
    }


def _zdr_providers(one: Model) -> list[Provider]:
    return [provider for provider in one.providers if provider.keeps_nothing]


def list_zdr_endpoints(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /endpoints/zdr`: the endpoints with zero data retention."""
    rows = [
        _format_endpoint(one, provider)
        for one in state.catalogue.models
        for provider in _zdr_providers(one)
    ]
    return json_answer({"data": rows})


def list_providers(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /providers`: all of them, as of 2026-05-22."""
    return json_answer({"data": providers.list_providers()})
