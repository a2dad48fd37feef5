"""Answers `/benchmarks`, `/datasets/rankings-daily` and `/classifications/task`.

Nothing here was measured: the scores and shares are invented from prices and names, always the
same, and every answer says so.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zlib import crc32

from devflow_sandbox.api_error import invalid_request
from devflow_sandbox.catalogue.models import Model
from devflow_sandbox.endpoints.account import format_timestamp
from devflow_sandbox.message import Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.sandbox_state import SandboxState

INVENTED = "Invented by the stand-in for OpenRouter: nothing of this was measured."
_SOURCES = ("artificial-analysis", "design-arena", "openrouter")
_RUNS = {"gpqa_diamond": 198, "tau_bench_verified_airline": 150}
"""OpenRouter's own benchmarks, with the number of tasks of a run."""
_CATEGORIES = ("codecategories", "website", "uicomponent")
_MAX_RANKED = 50
_TASKS = (("code:general_impl", "Code generation"), ("summarization", "Summarization"))


def list_benchmarks(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /benchmarks`: invented scores of two models in three, by the filter `source`."""
    now_s = state.now_s()
    state.accounts.authenticate(request.headers, now_s)
    source = request.query_parameters().get("source")
    if source is not None and source not in _SOURCES:
        raise invalid_request(f"source: expected one of {', '.join(_SOURCES)}")
    models = [one for one in _text_models(state) if crc32(one.id.encode()) % 3]
    rows = [row for one in models for row in _score_rows(one, now_s)]
    rows = [row for row in rows if source in (None, row["source"])]
    meta = {
        "as_of": format_timestamp(now_s),
        "version": "v1",
        "source": source,
        "source_url": None,
        "citation": INVENTED,
        "model_count": len({row["model_permaslug"] for row in rows}),
        "task_type": None,
    }
    return json_answer({"data": rows, "meta": meta})


def list_daily_rankings(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /datasets/rankings-daily`: invented tokens of yesterday."""
    now_s = state.now_s()
    state.accounts.authenticate(request.headers, now_s)
    day = _yesterday(now_s)
    ranked = sorted(_text_models(state), key=lambda one: crc32(one.id.encode()))[:_MAX_RANKED]
    rows = [
        {
            "date": day,
            "model_permaslug": one.row["canonical_slug"],
            "total_tokens": str(10**12 // (place + 1)),
        }
        for place, one in enumerate(ranked)
    ]
    meta = {
        "as_of": format_timestamp(now_s),
        "version": "v1",
        "start_date": day,
        "end_date": day,
        "citation": INVENTED,
    }
    return json_answer({"data": rows, "meta": meta})


def list_task_shares(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /classifications/task`: invented shares of two kinds of tasks."""
    now_s = state.now_s()
    state.accounts.authenticate(request.headers, now_s)
    models = _text_models(state)[:10]
    share = 1 / len(_TASKS)
    rows = [
        {
            "tag": tag,
            "display_name": name,
            "macro_category": "code" if tag.startswith("code") else "general",
            "usage_share": share,
            "token_share": share,
            "category_usage_share": 1.0,
            "category_token_share": 1.0,
            "models": [
                {"id": one.id, "tag_usage_share": 0.1, "tag_token_share": 0.1} for one in models
            ],
        }
        for tag, name in _TASKS
    ]
    groups = [
        {"key": key, "label": key.title(), "usage_share": share, "token_share": share}
        for key in ("code", "general")
    ]
    data = {
        "as_of": _yesterday(now_s),
        "window_days": 7,
        "classifications": rows,
        "macro_categories": groups,
        "citation": INVENTED,
    }
    return json_answer({"data": data})


def _text_models(state: SandboxState) -> list[Model]:
    """Return the models that write text and are priced, without variants and routers."""
    return [
        one
        for one in state.catalogue.models
        if not one.is_router
        and ":" not in one.id
        and not one.id.startswith("~")
        and float(one.row["pricing"].get("completion", 0)) > 0
        and one.row["architecture"]["output_modalities"] == ["text"]
    ]


def _score_rows(one: Model, now_s: float) -> list[JsonObject]:
    """Return the rows of one model: the dearer, the better, with a chance of its own."""
    pricing = one.row["pricing"]
    usd = max(float(pricing["prompt"]) * 3 + float(pricing["completion"]), 1e-9) * 1e6 / 4
    luck = crc32(f"{one.id} score".encode()) % 100 / 100 - 0.5
    level = 1 / (1 + math.exp(-0.5 * math.log(usd) - luck))
    named = {
        "model_permaslug": one.row["canonical_slug"],
        "display_name": one.row["name"].rpartition(": ")[2],
    }
    prices = {"prompt": pricing["prompt"], "completion": pricing["completion"]}
    index: JsonObject = {
        "source": "artificial-analysis",
        **named,
        "intelligence_index": round(60 * level, 1),
        "coding_index": round(70 * level, 1),
        "agentic_index": round(55 * level, 1),
        "pricing": prices,
    }
    arena: list[JsonObject] = [
        {
            "source": "design-arena",
            **named,
            "arena": "models",
            "category": category,
            "elo": round(1000 + 400 * level),
            "win_rate": round(30 + 40 * level, 1),
            "avg_generation_time_ms": None,
            "tournament_stats": dict.fromkeys(
                ("first_place", "second_place", "third_place", "fourth_place", "total"), 10
            ),
            "pricing": prices,
        }
        for category in _CATEGORIES
    ]
    runs: list[JsonObject] = [
        {
            "source": "openrouter",
            **named,
            "benchmark_type": name,
            "accuracy": round(0.2 + 0.7 * level, 4),
            "accuracy_stddev": 0.02,
            "avg_cost_per_task": None,
            "total_tasks": tasks,
            "last_run_timestamp": format_timestamp(now_s),
        }
        for name, tasks in _RUNS.items()
    ]
    return [index, *arena, *runs]


def _yesterday(now_s: float) -> str:
    return str((datetime.fromtimestamp(now_s, UTC) - timedelta(days=1)).date())
