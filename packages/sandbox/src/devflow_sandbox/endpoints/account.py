"""`/key`, `/credits`, `/activity`."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

from devflow_sandbox.books.accounts import DAY_S, Key
from devflow_sandbox.books.billing_book import Billed
from devflow_sandbox.catalogue.billing import on_wire
from devflow_sandbox.message import Answer, JsonObject, Request, json_answer
from devflow_sandbox.sandbox_state import World

WORKSPACE = "0df9e665-d932-5740-b2c7-b52af166bc11"
_RATE_LIMIT = {
    "requests": -1,
    "interval": "10s",
    "note": "This field is deprecated and safe to ignore.",
}
_ACTIVITY_DAYS = 30


def timestamp(at_s: float | None) -> str | None:
    """Unix time as the API writes it."""
    if at_s is None:
        return None
    text = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def spending(key: Key, now_s: float) -> JsonObject:
    """The usage fields that `/key` and `/keys` share."""
    periods = {"": None, "_daily": "daily", "_weekly": "weekly", "_monthly": "monthly"}
    fields: JsonObject = {}
    for suffix, period in periods.items():
        fields[f"usage{suffix}"] = on_wire(key.usage.since(period, now_s))
        fields[f"byok_usage{suffix}"] = on_wire(key.byok_usage.since(period, now_s))
    remaining = key.remaining_usd(now_s)
    return fields | {
        "limit": None if key.limit_usd is None else on_wire(key.limit_usd),
        "limit_remaining": None if remaining is None else on_wire(remaining),
        "limit_reset": key.limit_reset,
        "include_byok_in_limit": key.include_byok_in_limit,
        "expires_at": timestamp(key.expires_s),
        "creator_user_id": key.account.user_id,
        "workspace_id": WORKSPACE,
    }


def key(world: World, request: Request) -> Answer:
    """`GET /key`: what is left on the key that asks."""
    now_s = world.now_s()
    one = world.accounts.authorise(request.headers, now_s)
    account = one.account
    used = account.free_by_day[int(now_s // DAY_S)]
    budget = _budget(one, now_s)
    data = spending(one, now_s) | {
        "label": one.label,
        "is_free_tier": account.credits_usd == 0,
        "is_management_key": one.is_management,
        "is_provisioning_key": one.is_management,
        "rate_limit": _RATE_LIMIT,
        "free_model_daily_requests": {
            "used": used,
            "limit": account.free_per_day,
            "remaining": max(0, account.free_per_day - used),
        },
        "budgets": [] if budget is None else [budget],
        "effective_budget": budget,
        "allowed_data_regions": ["global"],
        "organization_id": None,
    }
    return json_answer({"data": data})


def _budget(one: Key, now_s: float) -> JsonObject | None:
    if one.limit_usd is None:
        return None
    left = one.remaining_usd(now_s) or Decimal(0)
    return {
        "scope": "key_limit",
        "limit_usd": on_wire(one.limit_usd),
        "spend_usd": on_wire(one.limit_usd - left),
        "remaining_usd": on_wire(left),
        "reset_interval": one.limit_reset,
        "resets_at": None,
        "include_byok": one.include_byok_in_limit,
        "guardrail_id": None,
        "budget_id": None,
    }


def credits(world: World, request: Request) -> Answer:
    """`GET /credits`, for management keys: all that was bought and all that was used."""
    account = world.accounts.manager(request.headers, world.now_s()).account
    data = {
        "total_credits": on_wire(account.credits_usd),
        "total_usage": on_wire(account.used_usd),
    }
    return json_answer({"data": data})


def activity(world: World, request: Request) -> Answer:
    """`GET /activity`, for management keys: the last 30 whole UTC days by model and provider."""
    now_s = world.now_s()
    account = world.accounts.manager(request.headers, now_s).account
    asked = request.parameters()
    today = int(now_s // DAY_S)
    groups: dict[tuple[int, str, str], list[Billed]] = defaultdict(list)
    for call in world.book.calls:
        day = int(call.at_s // DAY_S)
        if call.key is None or call.key.account is not account or call.served is None:
            continue
        if today - _ACTIVITY_DAYS <= day < today and _wanted(call, day, asked):
            groups[day, call.served, call.provider or ""].append(call)
    rows = [_activity(*group, calls) for group, calls in sorted(groups.items(), reverse=True)]
    return json_answer({"data": rows})


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()


def _wanted(call: Billed, day: int, asked: dict[str, str]) -> bool:
    wanted_hash = asked.get("api_key_hash")
    if wanted_hash is not None and (call.key is None or call.key.hash != wanted_hash):
        return False
    return asked.get("date", _date(day)) == _date(day)


def _activity(day: int, model: str, provider: str, calls: list[Billed]) -> JsonObject:
    byok = sum(
        (one.charge.inference for one in calls if one.charge.byok_fee is not None), Decimal(0)
    )
    done = calls[0].generation
    return {
        "date": _date(day),
        "model": model,
        "model_permaslug": done.named.model.row["canonical_slug"] if done else model,
        "endpoint_id": f"{model}|{provider}",
        "provider_name": provider,
        "usage": on_wire(sum((one.cost_usd for one in calls), Decimal(0))),
        "byok_usage_inference": on_wire(byok),
        "requests": len(calls),
        "prompt_tokens": sum(one.tokens.prompt for one in calls),
        "completion_tokens": sum(one.tokens.completion for one in calls),
        "reasoning_tokens": sum(one.tokens.reasoning for one in calls),
        "cached_tokens": sum(one.tokens.cached for one in calls),
    }
