"""Turns failures that a provider reports into our errors, by one table for all dialects.

The values come from OpenRouter's description of 2026-08-22 and from bodies captured in 2026; the
codes of OpenAI's and Anthropic's dialects follow them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from devflow_core.errors import (
    ContextTooLong,
    DailyQuotaExceeded,
    DevFlowError,
    KeyRefused,
    ModelUnavailable,
    Overloaded,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    Refused,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)
from devflow_core.messages import JsonObject
from devflow_core.safe_text import clean_name, excerpt
from devflow_core.status_errors import error_for_status
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.retry_after import read_retry_after

_BY_LIMIT: dict[str, type[UpstreamError]] = {
    "openrouter_credits": PaymentRequired,
    "openrouter_key_limit": KeyRefused,
    # ends once the requests in flight have ended, so it counts as a rate limit
    "openrouter_in_flight_budget": RateLimited,
    "openrouter_free_tier_daily": DailyQuotaExceeded,
    "openrouter_free_tier_per_minute": RateLimited,
    "upstream_provider_shared_pool": RateLimited,
    "openrouter_guardrail_budget": PaymentRequired,
    "openrouter_workspace_budget": PaymentRequired,
}
_LIMIT_WORDS = {
    "free-models-per-day": "openrouter_free_tier_daily",
    "free-models-per-min": "openrouter_free_tier_per_minute",
}
"""Words of a message → source of the limit; Anthropic's dialect has no field for the source."""
LIMIT_BY_ADDRESS = "limit_by_address"
"""The `error_type` of a 429 without JSON, from a proxy that counts requests by address."""
_BY_AVAILABILITY: dict[str, type[UpstreamError]] = {
    "capacity_exhausted": RateLimited,
    "temporarily_unavailable": Overloaded,
}
_BY_TYPE: Mapping[str, type[UpstreamError]] = {
    # OpenRouter's error_type
    "authentication": KeyRefused,
    "permission_denied": Refused,
    "payment_required": PaymentRequired,
    "rate_limit_exceeded": RateLimited,
    "provider_overloaded": Overloaded,
    "provider_unavailable": ProviderUnavailable,
    "not_found": ModelUnavailable,
    "content_policy_violation": Refused,
    "refusal": Refused,
    "timeout": UpstreamTimeout,
    "server": ProviderUnavailable,
    # Anthropic's error.type
    "authentication_error": KeyRefused,
    "permission_error": Refused,
    "billing_error": PaymentRequired,
    "not_found_error": ModelUnavailable,
    "rate_limit_error": RateLimited,
    "overloaded_error": Overloaded,
    "timeout_error": UpstreamTimeout,
    "api_error": ProviderUnavailable,
    "request_too_large": UpstreamRejected,
    # OpenAI's error.code
    "server_error": ProviderUnavailable,
    "insufficient_quota": PaymentRequired,
    "invalid_api_key": KeyRefused,
    "model_not_found": ModelUnavailable,
} | dict.fromkeys(
    (
        "invalid_request", "invalid_prompt", "invalid_request_error", "max_tokens_exceeded",
        "token_limit_exceeded", "string_too_long", "precondition_failed", "payload_too_large",
        "unprocessable", "invalid_image", "image_too_large", "image_too_small",
        "unsupported_image_format", "image_not_found", "image_download_failed",
    ),
    UpstreamRejected,
)  # fmt: skip

_TOO_LONG = re.compile(
    r"maximum context length|prompt is too long|context_length_exceeded|context window", re.I
)
_UNPAID = re.compile(r"\b(?:insufficient (?:funds|credits?|balance)|payment required)\b", re.I)
"""Words that report an unpaid account, at any status.

A provider behind the router may use them about its own account, so they count only if the failure
names no such provider.
"""
_KEY_LIMIT = re.compile(r"\bkey limit exceeded", re.I)
_REQUESTED = re.compile(r"(?:requested about|resulted in|too long:|requested)\s+([0-9]{1,12})\b")
_MAXIMUM = re.compile(r"(?:maximum context length is|tokens? >)\s*([0-9]{1,12})\b")

_ADVICE: dict[type[UpstreamError], str] = {
    DailyQuotaExceeded: "It comes back at 00:00 UTC; a paid model answers now.",
    KeyRefused: "Use another key, or raise this key's limit.",
    PaymentRequired: "Add credits, or ask for fewer output tokens.",
    ModelUnavailable: "Ask another model, or relax what the request demands.",
    Refused: "Change the request; no other model was asked.",
    UpstreamRejected: "Change the request.",
    RateLimited: "Wait, or ask another model.",
}
_API_STATUSES = frozenset({400, 401, 402, 404, 408, 413, 422, 429})
"""Statuses that an API of models uses for requests; other 4xx without JSON come from a proxy."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """The fields of a failure, wherever the body holds them."""

    status: int | None
    """The HTTP status; None if neither the reply nor the body gives one."""
    message: str
    codes: tuple[str, ...]
    """`error_type`, `type` and `code`: all names of the kind, the most specific first."""
    limit_source: str | None
    availability: str | None
    provider: str | None
    generation_id: str | None


def error_from_body(
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    model: str | None = None,
) -> DevFlowError:
    """Return the error for a reply that is a failure.

    Args:
        status: the HTTP status; 200 if a successful reply holds an error.
        body: JSON in any dialect, HTML, plain text or nothing.
        headers: names in lower case, or a case-insensitive mapping.
        model: the model that was asked.

    Returns:
        `ContextTooLong` if the prompt is longer than the window, otherwise an `UpstreamError`,
        whose `is_unbilled` is True if the body is a JSON object with an `error`.
    """
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    is_answer = isinstance(parsed, dict) and "error" in parsed
    if not isinstance(parsed, dict):
        kind = LIMIT_BY_ADDRESS if status == 429 else None
        parsed = {"error": {"message": excerpt(body), "type": kind}}
        if 400 <= status < 500 and status not in _API_STATUSES:
            return _error_from_page(status, excerpt(body), headers or {}, model)
    error = error_from_object(cast("JsonObject", parsed), status, headers, model=model)
    if isinstance(error, UpstreamError):
        # the gateway in front that gave up waiting does not know what the provider goes on to do
        error.is_unbilled = is_answer
    return error


def _error_from_page(
    status: int, detail: str, headers: Mapping[str, str], model: str | None
) -> ProviderUnavailable:
    """Return the error for a page that a proxy between us and the provider has sent."""
    return ProviderUnavailable(
        f"A firewall or proxy in front of the provider answered {status}: "
        f"{_end_sentence(detail)} Ask again, ask another model, or check the network.",
        status=status,
        retry_after_s=read_retry_after(headers, {}, is_limit=False),
        model=model,
        detail=detail or None,
    )


def error_from_object(
    body: JsonObject,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    model: str | None = None,
) -> DevFlowError:
    """Return the error for a decoded failure: a body, or an event in the middle of a stream.

    Args:
        body: the decoded object.
        status: the HTTP status; 200 if a successful reply holds an error.
        headers: names in lower case, or a case-insensitive mapping.
        model: the model that was asked.

    Returns:
        `ContextTooLong` if the prompt is longer than the window, otherwise an `UpstreamError`,
        whose `is_unbilled` is True.
    """
    headers = headers or {}
    failure = _parse_failure(body, status, headers)
    detail = excerpt(failure.message)
    if _is_too_long(failure):
        return ContextTooLong(_format_too_long(failure.message, detail), model=model)
    kind = _error_class(failure)
    error_type = clean_name(
        failure.limit_source or failure.availability or next(iter(failure.codes), None)
    )
    source = ", ".join(one for one in (failure.provider, error_type) if one)
    status = failure.status or kind.status_hint
    summary = f"The provider answered {status}" + (f" ({source})" if source else "")
    advice = _ADVICE.get(kind, "Ask again, or ask another model.")
    error = kind(
        f"{summary}: {_end_sentence(detail)} {advice}",
        status=status,
        error_type=error_type,
        provider=failure.provider,
        generation_id=failure.generation_id,
        retry_after_s=read_retry_after(
            headers,
            {"metadata": body.get("metadata"), **lenient.as_object(body.get("error"))},
            is_limit=issubclass(kind, RateLimited),
        ),
        model=model,
        detail=detail or None,
    )
    error.is_unbilled = True
    return error


def _parse_failure(body: JsonObject, status: int, headers: Mapping[str, str]) -> _Failure:
    raw_error = body.get("error")
    error = lenient.as_object(raw_error) or {
        "message": raw_error if isinstance(raw_error, str) else ""
    }
    # in the responses dialect it is next to the error, not inside it
    metadata = lenient.as_object(error.get("metadata") or body.get("metadata"))
    availability = lenient.as_object(error.get("availability"))
    codes = (
        metadata.get("error_type"), error.get("error_type"), body.get("error_type"),
        error.get("code"), error.get("type"),
    )  # fmt: skip
    ids = (body.get("id"), headers.get("x-generation-id"), body.get("request_id"))
    stated_status, message = _read_status(error, status), _read_message(error, metadata)
    limit_source = lenient.as_text(metadata.get("limit_source"))
    if limit_source is None and stated_status in (429, None):
        limit_source = next((one for words, one in _LIMIT_WORDS.items() if words in message), None)
    return _Failure(
        status=stated_status,
        message=message,
        codes=tuple(code for code in codes if isinstance(code, str) and code),
        limit_source=limit_source,
        availability=lenient.as_text(availability.get("code")),
        provider=clean_name(
            lenient.as_text(metadata.get("provider_name")) or lenient.as_text(body.get("provider"))
        ),
        generation_id=clean_name(next((one for one in map(lenient.as_text, ids) if one), None)),
    )


def _read_status(error: JsonObject, status: int) -> int | None:
    """Return the status of the failure: the HTTP reply's or, if that claims success, the body's.

    None if neither is that of a failure.
    """
    if status >= 300:
        return status
    for key in ("code", "http_status"):
        code = error.get(key)
        if isinstance(code, int) and 400 <= code < 600:
            return code
    return None


def _read_message(error: JsonObject, metadata: JsonObject) -> str:
    message = lenient.as_text(error.get("message")) or ""
    raw = lenient.as_text(metadata.get("raw"))
    # the reason is in `raw`, often as JSON of the provider behind the router
    return raw if raw and message in {"", "Provider returned error"} else message


def _is_too_long(failure: _Failure) -> bool:
    if "context_length_exceeded" in failure.codes:
        return True
    return failure.status in {400, 413, 422} and bool(_TOO_LONG.search(failure.message))


def _format_too_long(message: str, detail: str) -> str:
    """Return the message in the wording that clients recognize as a prompt that is too long."""
    requested, maximum = _REQUESTED.search(message), _MAXIMUM.search(message)
    if requested and maximum:
        return f"prompt is too long: {requested[1]} tokens > {maximum[1]} maximum"
    return detail if "prompt is too long" in detail else f"prompt is too long: {detail}"


def _end_sentence(detail: str) -> str:
    """Return the provider's words with a full stop, unless they end a sentence themselves."""
    words = detail or "it gave no reason"
    return words if words[-1] in ".!?…" else f"{words}."


def _error_class(failure: _Failure) -> type[UpstreamError]:
    if failure.limit_source in _BY_LIMIT:
        return _BY_LIMIT[failure.limit_source]
    if failure.availability is not None:
        return _BY_AVAILABILITY.get(failure.availability, ModelUnavailable)
    if failure.status in {402, 403} and _KEY_LIMIT.search(failure.message):
        return KeyRefused
    if failure.provider is None and _UNPAID.search(failure.message):
        return PaymentRequired
    by_status = error_for_status(failure.status or 502)
    known = next((_BY_TYPE[code] for code in failure.codes if code in _BY_TYPE), by_status)
    # the responses dialect calls most failures `server_error`; the status is more specific
    return by_status if known is ProviderUnavailable else known
