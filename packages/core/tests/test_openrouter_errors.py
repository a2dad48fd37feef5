"""Each failure that OpenRouter describes, or was seen to send, becomes the right error."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from devflow_core.errors import (
    DailyQuotaExceeded,
    ProviderUnavailable,
    RateLimited,
    UpstreamError,
    UpstreamRejected,
)
from devflow_core.statuses import Disposition
from devflow_core.wire.errors import LIMIT_BY_ADDRESS, error_from_body
from devflow_core.wire.retry_after import read_retry_after

KNOWN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "samples" / "openrouter_errors.json").read_bytes()
)
RETRY, FALL_BACK, FAIL = Disposition.RETRY, Disposition.FALL_BACK, Disposition.FAIL
TOLD: dict[str, tuple[int, Disposition]] = {
    "context_length_exceeded": (400, FALL_BACK), "authentication": (401, FAIL),
    "permission_denied": (403, FAIL), "payment_required": (402, FAIL),
    "rate_limit_exceeded": (429, RETRY), "provider_overloaded": (503, RETRY),
    "provider_unavailable": (502, RETRY), "not_found": (404, FALL_BACK),
    "precondition_failed": (412, FAIL), "payload_too_large": (413, FAIL),
    "unprocessable": (422, FAIL), "content_policy_violation": (403, FAIL), "refusal": (403, FAIL),
    "server": (502, RETRY), "timeout": (504, RETRY), "unmapped": (502, RETRY),
}  # fmt: skip
"""The status and disposition for each `error_type`; any other is 400 and FAIL."""


@pytest.mark.parametrize(("error_type", "status"), KNOWN["error_types"].items())
def test_every_type_has_a_status_and_a_remedy(error_type: str, status: int) -> None:
    body = {"error": {"code": status, "message": "m", "metadata": {"error_type": error_type}}}
    for seen in (status, 200):  # before the reply, and inside it
        error = error_from_body(seen, json.dumps(body).encode())
        assert (error.status_hint, error.disposition) == TOLD.get(error_type, (400, FAIL))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        *((status, status) for status in (402, 403, 404, 412, 413, 422, 429, 502, 503, 504)),
        *((408, 504), (500, 502), (524, 504), (529, 503)),
    ],
)
@pytest.mark.parametrize("word", ["server_error", "api_error", "server"])
def test_the_status_says_more_than_the_word_for_any_failure(
    status: int, told: int, word: str
) -> None:
    body = {"error": {"code": word, "message": "m"}, "metadata": None}
    error = error_from_body(status, json.dumps(body).encode())
    assert error.status_hint == told
    assert (error.disposition is RETRY) == (status in {408, 429} or status >= 500)


def test_what_stands_beside_an_error_of_the_responses_dialect_is_read() -> None:
    metadata = {"limit_source": "openrouter_credits", "headers": {"Retry-After": "7"}}
    body = {"error": {"code": "server_error", "message": "m"}, "metadata": metadata}
    error = error_from_body(402, json.dumps(body).encode())
    assert (error.status_hint, error.retry_after_s) == (402, 7.0)


@pytest.mark.parametrize(("code", "known"), KNOWN["availability_codes"].items())
def test_what_is_not_available_is_looked_for_elsewhere(code: str, known: dict[str, Any]) -> None:
    body = {"error": {"message": "m", "availability": {"code": code}}}
    error = error_from_body(known["http"], json.dumps(body).encode())
    assert error.disposition is (RETRY if known["retryable"] else FALL_BACK)
    assert error.status_hint == (known["http"] if known["retryable"] else 404)


@pytest.mark.parametrize(("source", "known"), KNOWN["limit_source"].items())
def test_a_limit_is_waited_for_only_where_that_helps(source: str, known: dict[str, Any]) -> None:
    told = cast("int | list[int]", known["http"])
    statuses = told if isinstance(told, list) else [told]
    body = {"error": {"message": "m", "metadata": {"limit_source": source}}}
    for status in statuses:
        error = error_from_body(status, json.dumps(body).encode())
        is_rate = source in {"openrouter_in_flight_budget"} or status == 429
        assert isinstance(error, RateLimited) == is_rate
        assert error.status_hint == (429 if is_rate else 402)
        assert (error.disposition is RETRY) == known["retry"]


@pytest.mark.parametrize("sample", KNOWN["samples"], ids=lambda one: one["when"])
def test_every_body_that_was_seen_is_understood(sample: dict[str, Any]) -> None:
    text = sample.get("text") or sample.get("sse", "").removeprefix("data: ")
    body = json.dumps(sample["body"]).encode() if "body" in sample else text.encode()
    headers = {name.lower(): value for name, value in sample.get("headers", {}).items()}
    error = error_from_body(sample["status"], body, headers)
    is_known = sample["status"] in {200, 502} or error.status_hint in {400, 401, 402, 403, 404, 429}
    assert is_known
    assert "it gave no reason" not in error.message


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "it gave no reason."),
        ("no", "no."),
        ("No such plan.", "No such plan."),
        ("Why me?", "Why me?"),
        ("See a.. b", "See a.. b."),
    ],
)
@pytest.mark.parametrize("is_json", [True, False])
def test_the_providers_words_end_as_a_sentence(
    status: int, words: str, sentence: str, is_json: bool
) -> None:
    body = json.dumps({"error": {"message": words}}) if is_json else words
    error = error_from_body(status, body.encode())
    assert f": {sentence} " in error.message


@pytest.mark.parametrize("status", [403, 405, 406, 410, 451])
@pytest.mark.parametrize("body", [b"", b"error code: 1020", b"<html>Attention Required!</html>"])
def test_a_page_in_place_of_the_api_is_no_answer(status: int, body: bytes) -> None:
    error = error_from_body(status, body)
    assert type(error) is ProviderUnavailable
    assert "firewall or proxy" in error.message


NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "error", "wait_s"),
    [
        ({"retry-after-ms": "1500"}, {}, 1.5),
        ({"retry-after-ms": "500", "retry-after": "7"}, {}, 0.5),
        ({"retry-after": "7", "x-ratelimit-reset": "30"}, {}, 7),
        ({"x-ratelimit-reset": "30"}, {}, 30),
        ({"x-ratelimit-reset": "1800000030"}, {}, 30),
        ({"x-ratelimit-reset": "1800000030500"}, {}, 30.5),
        ({"x-ratelimit-reset": "1700000000000"}, {}, 0),
        ({"x-ratelimit-reset": "9999999999999"}, {}, 86_400),
        ({"x-ratelimit-reset": "soon"}, {}, None),
        ({}, {"metadata": {"headers": {"X-RateLimit-Reset": "1800000030000"}}}, 30),
        ({}, {"metadata": {"headers": {"Retry-After": 9}}}, 9),
        ({}, {"metadata": {"retry_after_seconds": 2.5}}, 2.5),
        ({}, {"metadata": {"retry_after_seconds": float("nan")}}, None),
        ({}, {"metadata": {"retry_after_seconds": True, "headers": "x"}}, None),
        ({}, {"availability": {"retry_after": 7}}, 7),
    ],
)
def test_a_wait_is_read_in_every_form(
    headers: dict[str, str], error: dict[str, Any], wait_s: float | None
) -> None:
    assert read_retry_after(headers, error, is_limit=True, now_s=NOW_S) == wait_s


def test_a_reset_is_heeded_only_where_a_limit_was_reached() -> None:
    headers = {"x-ratelimit-reset": "30"}
    assert read_retry_after(headers, {}, is_limit=False, now_s=NOW_S) is None


@pytest.mark.parametrize(
    ("status", "message", "kind", "error_type"),
    [
        (429, "Rate limit exceeded: free-models-per-day. Add", DailyQuotaExceeded, "daily"),
        (429, "Rate limit exceeded: free-models-per-min. ", RateLimited, "per_minute"),
        (400, "You wrote free-models-per-day.", UpstreamRejected, None),
    ],
)
def test_a_limit_that_only_the_words_name_is_known(
    status: int, message: str, kind: type[UpstreamError], error_type: str | None
) -> None:
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": message}}
    if status == 400:
        body["error"] = {"type": "invalid_request_error", "message": message}
    error = error_from_body(status, json.dumps(body).encode())
    assert type(error) is kind
    if error_type is not None:
        assert error.error_type == f"openrouter_free_tier_{error_type}"


@pytest.mark.parametrize("body", [b"error code: 1015", b"", b"<html>Slow down</html>"])
def test_a_limit_without_json_counts_by_address(body: bytes) -> None:
    error = error_from_body(429, body)
    assert isinstance(error, RateLimited)
    assert (error.error_type, error.is_unbilled) == (LIMIT_BY_ADDRESS, False)
