import json
from typing import Any

import pytest
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
from devflow_core.statuses import Disposition
from devflow_core.wire import error_from_body
from devflow_core.wire.retry_after import parse_retry_after


def _error(status: int, headers: dict[str, str] | None = None, **error: Any) -> DevFlowError:
    body = json.dumps({"error": {"code": status, **error}}).encode()
    return error_from_body(status, body, headers, model="a/b")


def _limit(source: str) -> dict[str, Any]:
    return {"message": "m", "metadata": {"limit_source": source}}


def _available(code: str, **more: Any) -> dict[str, Any]:
    return {"message": "m", "availability": {"code": code, "retryable": False, **more}}


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "bad"}, UpstreamRejected),
        (401, {"message": "User not found."}, KeyRefused),
        (401, {"message": "Missing Authentication header"}, KeyRefused),
        (402, _limit("openrouter_credits"), PaymentRequired),
        (402, _limit("openrouter_key_limit"), KeyRefused),
        (402, _limit("openrouter_in_flight_budget"), RateLimited),
        (402, {"message": "Insufficient credits"}, PaymentRequired),
        (403, {"message": "Key limit exceeded (total limit). Manage it"}, KeyRefused),
        (403, {"message": "flagged", "metadata": {"reasons": ["violence"]}}, Refused),
        (403, _limit("openrouter_guardrail_budget"), PaymentRequired),
        (404, {"message": "No endpoints found that support tool use."}, ModelUnavailable),
        (400, _available("model_not_found"), ModelUnavailable),
        (403, _available("region_restricted"), ModelUnavailable),
        (429, _available("capacity_exhausted"), RateLimited),
        (503, _available("temporarily_unavailable"), Overloaded),
        (408, {"message": "m"}, UpstreamTimeout),
        (413, {"message": "m"}, UpstreamRejected),
        (422, {"message": "m"}, UpstreamRejected),
        (429, _limit("openrouter_free_tier_daily"), DailyQuotaExceeded),
        (429, _limit("openrouter_free_tier_per_minute"), RateLimited),
        (429, _limit("upstream_provider_shared_pool"), RateLimited),
        (500, {"message": "m", "metadata": {"error_type": "server"}}, ProviderUnavailable),
        (500, {"message": "m", "metadata": {"error_type": "provider_overloaded"}}, Overloaded),
        (400, {"message": "m", "metadata": {"error_type": "content_policy_violation"}}, Refused),
        (502, {"message": "m"}, ProviderUnavailable),
        (503, {"message": "m"}, Overloaded),
        (504, {"message": "m"}, UpstreamTimeout),
        (524, {"message": "m"}, UpstreamTimeout),
        (529, {"message": "m"}, Overloaded),
        (418, {"message": "m"}, UpstreamRejected),
        (599, {"message": "m"}, ProviderUnavailable),
    ],
)
def test_every_declared_failure_has_its_class(
    status: int, error: dict[str, Any], kind: type[UpstreamError]
) -> None:
    raised = _error(status, **error)
    assert type(raised) is kind
    assert raised.status == status  # pyright: ignore[reportAttributeAccessIssue]
    assert raised.model == "a/b"


def test_the_free_allowance_of_a_day_is_not_waited_for() -> None:
    assert DailyQuotaExceeded.disposition is Disposition.FALL_BACK
    assert "00:00 UTC" in str(_error(429, **_limit("openrouter_free_tier_daily")))


def test_a_budget_of_calls_in_flight_is_waited_for() -> None:
    error = _error(402, {"retry-after": "5"}, **_limit("openrouter_in_flight_budget"))
    assert error.disposition is Disposition.RETRY
    assert error.retry_after_s == 5


def test_availability_may_say_how_long_to_wait() -> None:
    assert _error(503, **_available("temporarily_unavailable", retry_after=7)).retry_after_s == 7


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "This endpoint's maximum context length is 200000 tokens. However, you requested"
            " about 2500021 tokens (2500021 of text input). Please reduce the length.",
            "prompt is too long: 2500021 tokens > 200000 maximum",
        ),
        (
            "prompt is too long: 210 tokens > 200 maximum",
            "prompt is too long: 210 tokens > 200 maximum",
        ),
        ("prompt is too long", "prompt is too long"),
        (
            "Your input exceeds the context window of this model.",
            "prompt is too long: Your input exceeds the context window of this model.",
        ),
    ],
)
def test_too_long_a_prompt_is_said_in_the_words_that_clients_know(
    message: str, expected: str
) -> None:
    error = _error(400, message=message)
    assert type(error) is ContextTooLong
    assert error.message == expected


def test_too_long_a_prompt_is_known_by_its_type() -> None:
    error: dict[str, Any] = {"message": "no", "metadata": {"error_type": "context_length_exceeded"}}
    assert type(_error(400, **error)) is ContextTooLong


def test_what_is_known_of_the_provider_is_kept() -> None:
    body = {
        "error": {
            "code": 429,
            "message": "Provider returned error",
            "metadata": {
                "raw": "x/y is temporarily rate-limited upstream. Key sk-or-v1-0123456789abcdef",
                "provider_name": "DigitalOcean",
                "limit_source": "upstream_provider_shared_pool",
            },
        },
        "user_id": "u",
    }
    error = error_from_body(429, json.dumps(body).encode(), {"x-generation-id": "gen-7"})
    assert isinstance(error, RateLimited)
    assert error.provider == "DigitalOcean"
    assert error.error_type == "upstream_provider_shared_pool"
    assert error.generation_id == "gen-7"
    assert error.detail == "x/y is temporarily rate-limited upstream. Key [masked API key]"
    assert "sk-or" not in str(error)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html><body><h1>502 Bad Gateway</h1></body></html>", "502 Bad Gateway"),
        (b"error code: 502", "error code: 502"),
        (b"", None),
        (b"[]", "[]"),
        (b'{"error":"teapot"}', "teapot"),
        (b'{"error":null}', None),
    ],
)
def test_a_body_of_any_form_is_an_error(body: bytes, detail: str | None) -> None:
    error = error_from_body(502, body)
    assert isinstance(error, ProviderUnavailable)
    assert error.detail == detail
    assert str(error).startswith("The provider answered 502: ")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, Overloaded),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}, RateLimited),
        ({"error": {"code": "insufficient_quota", "message": "m"}}, PaymentRequired),
        ({"error": {"code": "invalid_prompt", "message": "m"}, "metadata": None}, UpstreamRejected),
        ({"error": {"http_status": 404, "message": "m"}}, ModelUnavailable),
        ({"error": {"message": "m"}, "error_type": "timeout"}, UpstreamTimeout),
        ({"error": {"message": "m"}}, ProviderUnavailable),
    ],
)
def test_a_failure_inside_a_200_is_known_in_every_dialect(
    body: dict[str, Any], kind: type[UpstreamError]
) -> None:
    assert type(error_from_body(200, json.dumps(body).encode())) is kind


NOW_S = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("0", 0), ("7", 7), ("60", 60), ("3600", 3600), ("86401", 86_400), ("999999999", 86_400),
        ("Sun, 06 Nov 1994 08:49:57 GMT", 20), ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
        ("Mon, 07 Nov 1994 08:49:37 GMT", 86_400),
        (None, None), ("", None), ("-5", None), ("1e20", None), ("inf", None), ("nan", None),
        ("soon", None), ("٣", None), ("1.5", None), (" 7", None), ("7 ", None),
        ("1234567890", None), ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        ("Sun, 32 Nov 1994 08:49:37 GMT", None), ("Sun, 06 Nov 1994 25:49:37 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_strictly(text: str | None, wait_s: float | None) -> None:
    assert parse_retry_after(text, NOW_S) == wait_s


def test_retry_after_as_a_date_is_taken_from_now() -> None:
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT") == 0
