"""A route for applications tells a failure as they read it, whichever handler fails."""

import socket
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import orjson
import pytest
from devflow_core.errors import (
    DevFlowError,
    KeyRefused,
    KeysExhausted,
    NotFound,
    PaymentRequired,
    StoreError,
)
from devflow_core.messages import WireName
from devflow_core.wire.table import get_dialect, with_status_codes
from devflow_server.app import App, MethodNotAllowed
from devflow_server.auth import Authenticator
from devflow_server.error_responses import application_event, error_headers, error_reply
from devflow_server.http.listener import Listener
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.tracing import NoTracing
from devflow_server.routes import Access, Face, HttpRoute, RequestContext, RouteTable

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


@pytest.fixture
async def served_routes(fake_keys: Any) -> AsyncGenerator[httpx.AsyncClient]:
    """An application behind a listener whose routes fail, each as its path says."""

    async def fail(context: RequestContext) -> None:
        raise FAILURES[context.exchange.request.path.rpartition("/")[2]]

    routes = [
        HttpRoute(
            method="GET", path=f"/app/{name}", handler=fail, access=Access.OPEN,
            face=Face.APPLICATION,
        )
        for name in FAILURES
    ]  # fmt: skip
    app = App(
        RouteTable(routes), Authenticator(fake_keys(), require_key=False), Metrics(), NoTracing()
    )
    bound = socket.create_server(("127.0.0.1", 0))
    async with (
        Listener(app, admit=app.admit) as listener,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{bound.getsockname()[1]}", timeout=60, trust_env=False
        ) as client,
    ):
        await listener.listen(bound)
        yield client


FAILURES = {"spent": SPENT, "refused": REFUSED, "rests": KeysExhausted("Rest.", status=429)}


async def test_the_code_for_applications_arrives_over_a_socket(
    served_routes: httpx.AsyncClient,
) -> None:
    for name in ("spent", "refused"):
        told = await served_routes.get(f"/app/{name}")
        assert (told.status_code, told.json()) == (503, {"detail": CODE})
        assert told.headers["x-should-retry"] == "false"
    rests = await served_routes.get("/app/rests")
    assert (rests.status_code, rests.json()["code"]) == (429, "upstream_keys_rest")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "/openrouter/status", {}, 401, "unauthorized"),
        ("GET", "/openrouter/status", {"x-api-key": "chat"}, 403, "forbidden"),
        ("GET", "/openrouter/status", {"origin": "https://elsewhere.example"}, 403, "forbidden"),
        ("POST", "/openrouter/status", {}, 405, "method_not_allowed"),
        ("GET", "/openrouter/nothing", {}, 404, "not_found"),
        ("POST", "/openrouter/status/below/it", {}, 404, "not_found"),
    ],
)
async def test_the_status_page_and_what_lies_beside_it_speak_to_applications(
    open_server: Any, fake_keys: Any, method: str, path: str, headers: dict[str, str],
    status: int, code: str,
) -> None:  # fmt: skip
    async with open_server(keys=fake_keys(chat={"routes": ["chat"]})) as server:
        reply = await server.client.request(method, path, headers=headers)
    told = reply.json()
    assert (reply.status_code, told["code"]) == (status, code)
    assert set(told) == {"detail", "code", "request_id"}
    assert told["request_id"] == reply.headers["x-devflow-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "wire"),
    [
        ("GET", "/v1/messages", "anthropic_messages"),
        ("POST", "/v1/messages/nothing", "anthropic_messages"),
        ("POST", "/api/v1/messages/nothing", "anthropic_messages"),
        ("POST", "/v1/responses/nothing", "openai_responses"),
        ("GET", "/v1/chat/completions", "openai_chat"),
        ("POST", "/v1/nothing", "openai_chat"),
        ("POST", "/api/v1/nothing", "openai_chat"),
        ("POST", "/v1/nothing" + "/x" * 4000, "openai_chat"),
        ("POST", "/system/nothing", None),
        ("POST", "/nothing", None),
    ],
)
async def test_a_path_that_is_none_is_told_as_those_around_it_are(
    open_server: Any, method: str, path: str, wire: WireName | None
) -> None:
    async with open_server() as server:
        reply = await server.client.request(method, path)
    request_id = reply.headers["x-devflow-request-id"]
    kind = MethodNotAllowed if reply.status_code == 405 else NotFound
    message = reply.json()["error"]["message"]
    dialect = None if wire is None else get_dialect(wire)
    if dialect is not None and path.startswith("/api/"):
        dialect = with_status_codes(dialect)
    assert reply.content == error_reply(kind(message), dialect, request_id)[1]


def test_routes_are_for_programs_unless_they_say_otherwise() -> None:
    assert {one.value for one in Face} == {"api", "application"}
