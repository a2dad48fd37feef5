"""Answers `GET /generation?id=`: the real cost of a call, some time after it."""

from __future__ import annotations

from devflow_sandbox.api_error import ApiError, invalid_request
from devflow_sandbox.books.billing_book import BilledCall
from devflow_sandbox.catalogue.billing import to_json_number
from devflow_sandbox.endpoints.account import format_timestamp
from devflow_sandbox.message import Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.sandbox_state import SandboxState

_API_TYPES = {
    "embeddings": "embeddings",
    "rerank": "rerank",
    "images": "image",
    "transcriptions": "stt",
    "speech": "tts",
}


def get_generation(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /generation`; as with OpenRouter, a call is unknown until shortly after its end.

    Another account's call is unknown, too (404).
    """
    key = state.accounts.authenticate(request.headers, state.now_s())
    generation_id = request.query_parameters().get("id")
    if not generation_id:
        raise invalid_request("Invalid query parameter id: expected string, received undefined")
    call = state.billing.find(generation_id)
    # an unknown id, another account's call and a call that is not booked yet look the same
    is_known = (
        call is not None
        and call.key is not None
        and call.key.account is key.account
        and call.ended_s is not None
        and state.now_s() >= call.ended_s + state.setup.generation_delay_s
    )
    if call is None or not is_known:
        raise ApiError(404, f"Generation {generation_id} not found")
    return json_answer(
        {
            "data": {
                **_cost_fields(call),
                **_token_fields(call),
                **_timing_fields(call),
                **_origin_fields(call),
            }
        }
    )


def _cost_fields(call: BilledCall) -> JsonObject:
    is_byok = call.charge.byok_fee is not None
    return {
        "id": call.generation_id,
        "total_cost": to_json_number(call.cost_usd),
        "usage": to_json_number(call.cost_usd),
        "upstream_inference_cost": to_json_number(call.charge.inference) if is_byok else None,
        "cache_discount": _cache_discount(call),
        "is_byok": is_byok,
    }


def _cache_discount(call: BilledCall) -> object:
    """Return what the prompt cache saved; negative if writing cost more."""
    generation = call.generation
    if generation is None or not (call.tokens.cached or call.tokens.written):
        return None
    return to_json_number(
        call.tokens.prompt * generation.resolved.model.prices.prompt - call.charge.prompt
    )


def _token_fields(call: BilledCall) -> JsonObject:
    tokens = call.tokens
    return {
        "tokens_prompt": tokens.prompt,
        "tokens_completion": tokens.completion,
        "native_tokens_prompt": tokens.prompt,
        "native_tokens_completion": tokens.completion,
        "native_tokens_reasoning": tokens.reasoning,
        "native_tokens_cached": tokens.cached,
        "native_tokens_completion_images": tokens.image_out,
        "num_fetches": sum(one.count for one in call.extras if one.kind == "web_fetch"),
        "num_input_audio_prompt": 0,
        "num_media_completion": int(tokens.image_out > 0),
        "num_media_prompt": 0,
        "num_search_results": sum(one.results for one in call.extras),
        "web_search_engine": next(
            (one.name for one in call.extras if one.kind == "web_search"), None
        ),
    }


def _timing_fields(call: BilledCall) -> JsonObject:
    generation = call.generation
    took_ms = round(((call.ended_s or call.started_s) - call.started_s) * 1000)
    return {
        "model": generation.resolved.model.label if generation else call.served_model,
        "provider_name": call.provider,
        "router": generation.resolved.router if generation else None,
        "finish_reason": generation.reply.finish_reason if generation else None,
        "native_finish_reason": generation.native_finish if generation else None,
        "latency": took_ms,
        "generation_time": took_ms,
        "moderation_latency": None,
        "streamed": call.streamed,
        "cancelled": call.outcome == "cancelled",
        "created_at": format_timestamp(call.started_s),
        "api_type": _API_TYPES.get(call.path.rsplit("/", 1)[-1], "completions"),
        "service_tier": generation.service_tier if generation else None,
        "provider_responses": None,
        "response_cache_source_id": call.cached_from,
    }


def _origin_fields(call: BilledCall) -> JsonObject:
    generation = call.generation
    return {
        "origin": call.referer or "",
        "app_id": None,
        "http_referer": call.referer,
        "user_agent": call.user_agent,
        "external_user": generation.request.user if generation else None,
        "session_id": generation.request.session_id if generation else None,
        "upstream_id": None,
        "request_id": call.generation_id,
        "preset_id": None,
        "data_region": "global",
        "workspace_id": None,
    }
