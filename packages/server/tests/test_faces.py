"""A route for applications tells a failure as they read it, whichever handler fails."""

import orjson
import pytest
from devflow_core.errors import (
    DevFlowError,
    KeyRefused,
    KeysExhausted,
    PaymentRequired,
    StoreError,
)
from devflow_server.error_responses import application_event, error_headers, error_reply
from devflow_server.routes import Face

SPENT = KeysExhausted("Spent.", status=402)
REFUSED = KeysExhausted("Refused.", status=401)
CODE = "OPENROUTER_SYSTEM_KEY_EXHAUSTED"


@pytest.mark.parametrize("error", [SPENT, REFUSED])
def test_spent_and_refused_keys_are_one_status_and_one_code(error: KeysExhausted) -> None:
    status, body = error_reply(error, None, "req_1", is_for_application=True)
    assert (status, orjson.loads(body)) == (503, {"detail": CODE})
    assert ("x-should-retry", "false") in error_headers(error, "req_1")
    event = application_event(error)
    assert event.startswith(b"event: error\ndata: ")
    said = orjson.loads(event.partition(b"data: ")[2])
    assert said == {"error": error.message, "code": CODE, "message": error.message}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeysExhausted("Rest.", status=429, retry_after_s=3.0), 429),
        (PaymentRequired("Yours.", status=402), 402),
        (KeyRefused("Yours.", status=401), 401),
        (StoreError("Gone."), 503),
    ],
)
def test_nothing_else_has_that_code(error: DevFlowError, status: int) -> None:
    told, body = error_reply(error, None, "req_1", is_for_application=True)
    document = orjson.loads(body)
    assert (told, document["detail"], document["request_id"]) == (status, error.message, "req_1")
    assert document["code"] == error.code != CODE


def test_routes_are_for_programs_unless_they_say_otherwise() -> None:
    assert {one.value for one in Face} == {"api", "application"}
