"""`GET /generation?id=`: a call's true cost, a while after it."""

from __future__ import annotations

from devflow_sandbox.api_error import Refusal, invalid
from devflow_sandbox.books.billing_book import Billed
from devflow_sandbox.catalogue.billing import on_wire
from devflow_sandbox.endpoints.account import timestamp
from devflow_sandbox.message import Answer, JsonObject, Request, json_answer
from devflow_sandbox.sandbox_state import World

_API_TYPES = {
    "embeddings": "embeddings",
    "rerank": "rerank",
    "images": "image",
    "transcriptions": "stt",
    "speech": "tts",
}


def generation(world: World, request: Request) -> Answer:
    """`GET /generation`: unknown while the call runs and for a while after, as there."""
    asking = world.accounts.authorise(request.headers, world.now_s())
    wanted = request.parameters().get("id")
    if not wanted:
        raise invalid("Invalid query parameter id: expected string, received undefined")
    call = world.book.find(wanted)
    is_known = (
        call is not None
        and call.key is not None
        and call.key.account is asking.account
        and call.ended_s is not None
        and world.now_s() >= call.ended_s + world.setup.generation_delay_s
    )
    if call is None or not is_known:
        raise Refusal(404, f"Generation {wanted} not found")
    return json_answer({"data": {**_cost(call), **_tokens(call), **_course(call), **_origin(call)}})


def _cost(call: Billed) -> JsonObject:
    is_byok = call.charge.byok_fee is not None
    return {
        "id": call.generation_id,
        "total_cost": on_wire(call.cost_usd),
        "usage": on_wire(call.cost_usd),
        "upstream_inference_cost": on_wire(call.charge.inference) if is_byok else None,
        "cache_discount": _discount(call),
        "is_byok": is_byok,
    }


def _discount(call: Billed) -> object:
    """What the prompt cache saved; writing costs, so it may be below zero."""
    done = call.generation
    if done is None or not (call.tokens.cached or call.tokens.written):
        return None
    return on_wire(call.tokens.prompt * done.named.model.prices.prompt - call.charge.prompt)


def _tokens(call: Billed) -> JsonObject:
    tokens, done = call.tokens, call.generation
    return {
        "tokens_prompt": tokens.prompt,
        "tokens_completion": tokens.completion,
        "native_tokens_prompt": tokens.prompt,
        "native_tokens_completion": tokens.completion,
        "native_tokens_reasoning": tokens.reasoning,
        "native_tokens_cached": tokens.cached,
        "native_tokens_completion_images": 0,
        "num_fetches": 0,
        "num_input_audio_prompt": 0,
        "num_media_completion": 0,
        "num_media_prompt": 0,
        "num_search_results": done.searches * 5 if done else 0,
        "web_search_engine": "exa" if done and done.searches else None,
    }


def _course(call: Billed) -> JsonObject:
    done = call.generation
    took_ms = round(((call.ended_s or call.at_s) - call.at_s) * 1000)
    return {
        "model": done.named.model.label if done else call.served,
        "provider_name": call.provider,
        "router": done.named.router if done else None,
        "finish_reason": done.reply.finish if done else None,
        "native_finish_reason": done.native_finish if done else None,
        "latency": took_ms,
        "generation_time": took_ms,
        "moderation_latency": None,
        "streamed": call.streamed,
        "cancelled": call.outcome == "cancelled",
        "created_at": timestamp(call.at_s),
        "api_type": _API_TYPES.get(call.path.rsplit("/", 1)[-1], "completions"),
        "service_tier": None,
        "provider_responses": None,
        "response_cache_source_id": call.cached_from,
    }


def _origin(call: Billed) -> JsonObject:
    done = call.generation
    return {
        "origin": call.referer or "",
        "app_id": None,
        "http_referer": call.referer,
        "user_agent": call.user_agent,
        "external_user": done.ask.user if done else None,
        "session_id": done.ask.session_id if done else None,
        "upstream_id": None,
        "request_id": call.generation_id,
        "preset_id": None,
        "data_region": "global",
        "workspace_id": None,
    }
