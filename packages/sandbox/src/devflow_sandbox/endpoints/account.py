"""Answers `/key`, `/credits` and `/activity`."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

from devflow_sandbox.books.accounts import DAY_S, Key
from devflow_sandbox.books.billing_book import BilledCall
from devflow_sandbox.catalogue.billing import to_json_number
from devflow_sandbox.message import Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.sandbox_state import SandboxState

WORKSPACE = "0df9e665-d932-5740-b2c7-b52af166bc11"
"""The id of the only workspace."""
_RATE_LIMIT = {
    "requests": -1,
    "interval": "10s",
    "note": "This field is deprecated and safe to ignore.",
}
_ACTIVITY_DAYS = 30
"""Completed UTC days that `/activity` covers."""


def format_timestamp(unix_s: float | None) -> str | None:
    """Format Unix time as the API does: RFC 3339 in UTC, in milliseconds; None stays None."""
    if unix_s is None:
        return None
    text = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def usage_fields(
    key: Key, now_s: float, late: Decimal = Decimal(0), late_byok: Decimal = Decimal(0)
) -> JsonObject:
    """Return the usage fields of `/key` and `/keys`.

    Args:
        key: the key to describe.
        now_s: Unix time.
        late: USD taken from the credits that are not counted yet.
        late_byok: USD charged to the account's own provider keys that are not counted yet.
    """
    periods = {"": None, "_daily": "daily", "_weekly": "weekly", "_monthly": "monthly"}
    fields: JsonObject = {}
    for suffix, period in periods.items():
        used = key.usage.spent_in_period(period, now_s) - late
        byok = key.byok_usage.spent_in_period(period, now_s) - late_byok
        fields[f"usage{suffix}"] = to_json_number(max(Decimal(0), used))
        fields[f"byok_usage{suffix}"] = to_json_number(max(Decimal(0), byok))
    remaining = key.remaining_usd(now_s)
    return fields | {
        "limit": None if key.limit_usd is None else to_json_number(key.limit_usd),
        "limit_remaining": None if remaining is None else to_json_number(remaining),
        "limit_reset": key.limit_reset,
        "include_byok_in_limit": key.include_byok_in_limit,
        "expires_at": format_timestamp(key.expires_s),
        "creator_user_id": key.account.user_id,
        "workspace_id": WORKSPACE,
    }


def get_key(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /key`: what is left on the key of the request."""
    now_s = state.now_s()
    one = state.accounts.authenticate(request.headers, now_s)
    account = one.account
    late, late_byok = _sum_late(state, one)
    used = account.free_by_day[int(now_s // DAY_S)]
    budget = _format_budget(one, now_s)
    data = usage_fields(one, now_s, late, late_byok) | {
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


def _sum_late(state: SandboxState, key: Key) -> tuple[Decimal, Decimal]:
    """Sum the calls that are not counted yet: their cost, and their part over BYOK."""
    since_s = state.now_s() - state.setup.totals_delay_s
    late = [
        call.charge
        for call in (state.billing.calls if state.setup.totals_delay_s else ())
        if call.key is key and call.ended_s is not None and call.ended_s > since_s
    ]
    byok = (one.inference for one in late if one.byok_fee is not None)
    return sum((one.total for one in late), Decimal(0)), sum(byok, Decimal(0))


def _format_budget(one: Key, now_s: float) -> JsonObject | None:
    if one.limit_usd is None:
        return None
    remaining = one.remaining_usd(now_s) or Decimal(0)
    return {
        "scope": "key_limit",
        "limit_usd": to_json_number(one.limit_usd),
        "spend_usd": to_json_number(one.limit_usd - remaining),
        "remaining_usd": to_json_number(remaining),
        "reset_interval": one.limit_reset,
        "resets_at": None,
        "include_byok": one.include_byok_in_limit,
        "guardrail_id": None,
        "budget_id": None,
    }


def get_credits(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /credits` for management keys: all credits bought and used."""
    account = state.accounts.authorise_management(request.headers, state.now_s()).account
    data = {
        "total_credits": to_json_number(account.credits_usd),
        "total_usage": to_json_number(account.used_usd),
    }
    return json_answer({"data": data})


def get_activity(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /activity` for management keys: the last 30 UTC days by model and provider.

    Today is not among them.
    """
    now_s = state.now_s()
    account = state.accounts.authorise_management(request.headers, now_s).account
    parameters = request.query_parameters()
    today = int(now_s // DAY_S)
    groups: dict[tuple[int, str, str], list[BilledCall]] = defaultdict(list)
    for call in state.billing.calls:
        day = int(call.started_s // DAY_S)
        if call.key is None or call.key.account is not account or call.served_model is None:
            continue
        if today - _ACTIVITY_DAYS <= day < today and _is_requested(call, day, parameters):
            groups[day, call.served_model, call.provider or ""].append(call)
    rows = [_activity_row(*group, calls) for group, calls in sorted(groups.items(), reverse=True)]
    return json_answer({"data": rows})


def _format_date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()


def _is_requested(call: BilledCall, day: int, parameters: dict[str, str]) -> bool:
    wanted_hash = parameters.get("api_key_hash")
    if wanted_hash is not None and (call.key is None or call.key.hash != wanted_hash):
        return False
    return parameters.get("date", _format_date(day)) == _format_date(day)


def _activity_row(day: int, model: str, provider: str, calls: list[BilledCall]) -> JsonObject:
    byok = sum(
        (one.charge.inference for one in calls if one.charge.byok_fee is not None), Decimal(0)
    )
    generation = calls[0].generation
    return {
        "date": _format_date(day),
        "model": model,
        "model_permaslug": generation.resolved.model.row["canonical_slug"] if generation else model,
        "endpoint_id": f"{model}|{provider}",
        "provider_name": provider,
        "usage": to_json_number(sum((one.cost_usd for one in calls), Decimal(0))),
        "byok_usage_inference": to_json_number(byok),
        "requests": len(calls),
        "prompt_tokens": sum(one.tokens.prompt for one in calls),
        "completion_tokens": sum(one.tokens.completion for one in calls),
        "reasoning_tokens": sum(one.tokens.reasoning for one in calls),
        "cached_tokens": sum(one.tokens.cached for one in calls),
    }
