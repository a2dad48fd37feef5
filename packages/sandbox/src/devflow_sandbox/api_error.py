"""Builds OpenRouter's errors in each dialect, word for word where they were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from devflow_sandbox.message import Answer, JsonObject, json_answer

DialectName = Literal["chat", "messages", "responses"]

CREDITS_URL = "https://openrouter.ai/settings/credits"
KEYS_URL = "https://openrouter.ai/settings/keys"
INTEGRATIONS_URL = "https://openrouter.ai/settings/integrations"
DOCS_URL = "https://openrouter.ai/docs"

STATUS_OF_TYPE: Mapping[str, int] = {
    "context_length_exceeded": 400,
    "max_tokens_exceeded": 400,
    "token_limit_exceeded": 400,
    "string_too_long": 400,
    "authentication": 401,
    "permission_denied": 403,
    "payment_required": 402,
    "rate_limit_exceeded": 429,
    "provider_overloaded": 503,
    "provider_unavailable": 502,
    "invalid_request": 400,
    "invalid_prompt": 400,
    "not_found": 404,
    "precondition_failed": 412,
    "payload_too_large": 413,
    "unprocessable": 422,
    "content_policy_violation": 400,
    "refusal": 400,
    "invalid_image": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "unsupported_image_format": 400,
    "image_not_found": 404,
    "image_download_failed": 400,
    "server": 500,
    "timeout": 504,
    "unmapped": 500,
}
"""HTTP status of each `error_type` (OpenRouter's error documentation of 2026-08)."""

# From the same documentation.
TYPE_OF_STATUS: Mapping[int, str] = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    408: "timeout",
    412: "precondition_failed",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    500: "server",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
    524: "timeout",
    529: "provider_overloaded",
}
"""The `error_type` of an error that has none of its own, by HTTP status."""

# Types of Anthropic's dialect; everything else is `invalid_request_error`.
_ANTHROPIC_TYPE: Mapping[str, str] = {
    "authentication": "authentication_error",
    "permission_denied": "permission_error",
    "payment_required": "billing_error",
    "not_found": "not_found_error",
    "image_not_found": "not_found_error",
    "rate_limit_exceeded": "rate_limit_error",
    "provider_overloaded": "overloaded_error",
    "timeout": "timeout_error",
    "provider_unavailable": "api_error",
    "server": "api_error",
    "unmapped": "api_error",
}

_RESPONSES_CODE: Mapping[str, str] = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "context_length_exceeded": "invalid_prompt",
    "invalid_request": "invalid_prompt",
    "content_policy_violation": "image_content_policy_violation",
}


class ApiError(Exception):
    """An error answer. It can be raised anywhere; the app renders it.

    Args:
        status: the HTTP status, also the `code` of OpenRouter's envelope.
        message: the message, as the client gets it.
        error_type: one of `STATUS_OF_TYPE`; None is the usual one of the status.
        metadata: `metadata` of the envelope; None leaves it out.
        availability: `availability` of the envelope; None leaves it and `error_type` out.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str | None = None,
        metadata: JsonObject | None = None,
        availability: JsonObject | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error_type = error_type or TYPE_OF_STATUS.get(status, "unmapped")
        self.metadata = metadata
        self.availability = availability
        self.headers = dict(headers or {})

    def to_error_object(self) -> JsonObject:
        """Return the `error` object of OpenRouter's envelope."""
        error: JsonObject = {"message": self.message, "code": self.status}
        if self.metadata is not None:
            error["metadata"] = self.metadata
        if self.availability is not None:
            error |= {
                "error_type": self.error_type,
                "http_status": self.status,
                "availability": self.availability,
            }
        return error

    def to_body(
        self, dialect: DialectName, *, user_id: str | None = None, request_id: str | None = None
    ) -> JsonObject:
        """Return the error body in a dialect.

        An authentication error has OpenRouter's envelope on `/messages` too (captured in 2026),
        since it is found before the dialect is considered.

        Args:
            dialect: the dialect of the request.
            user_id: named in OpenRouter's envelope, unless it is None or the status is 401.
            request_id: named in Anthropic's form.
        """
        if dialect == "messages" and self.status != 401:
            kind = _ANTHROPIC_TYPE.get(self.error_type, "invalid_request_error")
            inner = {"type": kind, "message": self.message, "error_type": self.error_type}
            return {"type": "error", "error": inner, "request_id": request_id}
        if dialect == "responses" and self.status != 401:
            code = _RESPONSES_CODE.get(self.error_type, "server_error")
            return {"error": {"code": code, "message": self.message}, "metadata": self.metadata}
        body: JsonObject = {"error": self.to_error_object()}
        if user_id is not None and self.status != 401:
            body["user_id"] = user_id
        return body

    def to_answer(
        self,
        dialect: DialectName = "chat",
        *,
        user_id: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Return the complete HTTP answer; the ids are those of `to_body`."""
        body = self.to_body(dialect, user_id=user_id, request_id=request_id)
        return json_answer(body, self.status, self.headers.items())


def missing_key() -> ApiError:
    """Return the error for a missing Authorization header (recorded 2026-06-08)."""
    return ApiError(401, "Missing Authentication header")


def unknown_key() -> ApiError:
    """Return the error for an unknown key (captured 2026-09-30)."""
    return ApiError(401, "User not found.")


def management_key_required() -> ApiError:
    """Return the error for an inference key where a management key is required."""
    return ApiError(403, "Only management keys can perform this operation")


def invalid_request(message: str, **metadata: Any) -> ApiError:
    """Return the error for a request that is itself wrong."""
    return ApiError(400, message, metadata=metadata or None)


def unknown_model(model: str) -> ApiError:
    """Return the error for an unknown model id."""
    return ApiError(
        400,
        f"{model} is not a valid model ID",
        availability={
            "code": "model_not_found",
            "retryable": False,
            "requested_models": [model],
            "docs_url": f"{DOCS_URL}/errors#model_not_found",
        },
    )


def no_endpoints(model: str, why: str, *, code: str = "constraint_filtered") -> ApiError:
    """Return the error for a model none of whose providers may or can serve the request.

    Args:
        model: the model's id.
        why: ends the sentence "No endpoints found …".
        code: the reason for programs.
    """
    return ApiError(
        404,
        f"No endpoints found {why}. To learn more about provider routing, visit: "
        f"{DOCS_URL}/guides/routing/provider-selection",
        availability={
            "code": code,
            "retryable": False,
            "requested_models": [model],
            "docs_url": f"{DOCS_URL}/errors#{code}",
        },
    )


def context_too_long(limit: int, requested: int, output: int) -> ApiError:
    """Return the error for a prompt beyond the endpoint's window (recorded 2026-06-08).

    Args:
        limit: the window, in tokens.
        requested: tokens of the prompt and the longest reply together.
        output: tokens of the longest reply.
    """
    parts = f"{requested - output} of text input"
    if output:
        parts += f", {output} in the output"
    return ApiError(
        400,
        f"This endpoint's maximum context length is {limit} tokens. However, you requested about "
        f"{requested} tokens ({parts}). Please reduce the length of either one, or use the "
        "context-compression plugin to compress your prompt automatically.",
        error_type="context_length_exceeded",
        metadata={"provider_name": None},
    )


_ADD_CREDITS = (
    f"Add credits at {CREDITS_URL}, or lower max_tokens / prompt size to fit your remaining "
    "balance."
)


def no_credits() -> ApiError:
    """Return the error for an empty account (captured 2026-07)."""
    return ApiError(
        402,
        f"Insufficient credits. Add more using {CREDITS_URL}",
        metadata={"limit_source": "openrouter_credits", "remedy_hint": _ADD_CREDITS},
    )


def not_affordable(max_tokens: int, affordable: int) -> ApiError:
    """Return the error for a balance that does not cover `max_tokens` (captured 2026)."""
    return ApiError(
        402,
        "This request requires more credits, or fewer max_tokens. You requested up to "
        f"{max_tokens} tokens, but can only afford {affordable}. To increase, visit "
        f"{CREDITS_URL} and upgrade to a paid account",
        metadata={
            "limit_source": "openrouter_credits",
            "remedy_hint": _ADD_CREDITS,
            "provider_name": None,
            "previous_errors": [],
        },
    )


def in_flight_limit(retry_after_s: int = 5) -> ApiError:
    """Return the error for a balance that running calls may use up (documented; worth a retry)."""
    return ApiError(
        402,
        "This request would exceed your available credits given your current in-flight requests. "
        "Retry after in-flight requests settle, or add credits.",
        metadata={
            "reason": "in_flight_budget_exhausted",
            "limit_source": "openrouter_in_flight_budget",
            "remedy_hint": "Retry after your in-flight requests settle (see the Retry-After "
            f"header). Adding credits at {CREDITS_URL} raises your in-flight budget, up to a "
            "capped ceiling.",
        },
        headers={"Retry-After": str(retry_after_s)},
    )


def key_limit(kind: str = "total") -> ApiError:
    """Return the error for a key whose own limit is used up (seen 2026)."""
    return ApiError(403, f"Key limit exceeded ({kind} limit). Manage it using {KEYS_URL}")


def rate_limited_upstream(model: str, provider: str) -> ApiError:
    """Return the error for a provider whose shared pool is busy (captured 2026-09-07)."""
    return ApiError(
        429,
        "Provider returned error",
        metadata={
            "raw": f"{model} is temporarily rate-limited upstream. Please retry shortly, or add "
            f"your own key to accumulate your rate limits: {INTEGRATIONS_URL}",
            "provider_name": provider,
            "is_byok": False,
            "limit_source": "upstream_provider_shared_pool",
            "remedy_hint": f"Retry shortly, add your own provider key ({INTEGRATIONS_URL}), or "
            "route to another provider with provider routing: "
            f"{DOCS_URL}/features/provider-routing",
        },
    )


def free_limit(limit: int, reset_ms: int, *, daily: bool) -> ApiError:
    """Return the error for too many `:free` calls (captured 2026-09-30 and 2026-10).

    Args:
        limit: the calls allowed.
        reset_ms: when calls are allowed again, Unix time in milliseconds.
        daily: whether it is the limit of the day, or else of the minute.
    """
    headers = {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(reset_ms),
    }
    metadata: JsonObject = {
        "headers": headers,
        "limit_source": f"openrouter_free_tier_{'daily' if daily else 'per_minute'}",
    }
    message = "Rate limit exceeded: free-models-per-min. "
    if daily:
        message = "Rate limit exceeded: free-models-per-day"
        metadata["remedy_hint"] = (
            "Wait for the daily reset (see X-RateLimit-Reset), or purchase credits to raise your "
            "free-model daily limit."
        )
        # only accounts that never bought ten credits get this hint
        if limit < 1000:
            message += ". Add 10 credits to unlock 1000 free model requests per day"
    return ApiError(429, message, metadata=metadata, headers=headers)


def flagged_input(provider: str, model: str, flagged: str) -> ApiError:
    """Return the error for input that moderation flagged (documented shape)."""
    return ApiError(
        403,
        "Input was flagged by moderation",
        metadata={
            "reasons": ["violence"],
            "flagged_input": flagged[:100],
            "provider_name": provider,
            "model_slug": model,
        },
    )
