"""Structured output, and the other endpoints."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from devflow_core.errors import (
    InvalidRequest,
    ModelUnavailable,
    NotFound,
    NotSent,
    ProtocolError,
    RateLimited,
    StructuredOutputInvalid,
    UpstreamError,
    UpstreamTimeout,
)
from devflow_core.ports import UpstreamKey
from devflow_core.request import ResponseFormat
from devflow_core.settings import Settings
from devflow_core.testing import a_request
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.billing_on_cancel import bills_on_cancel
from devflow_openrouter.client.api_client import ApiClient
from devflow_openrouter.client.oauth import Authorization
from devflow_openrouter.structured_output import parse_structured
from devflow_openrouter.testing import (
    CANARY,
    GatewayHarness,
    ScriptedUpstream,
    error_reply,
    http_reply,
    streamed_reply,
)
from devflow_upstream import Http1Transport, HttpRequest
from devflow_upstream.keys import key_id
from devflow_upstream.transport.httpx_transport import HttpxTransport, make_proxy_transport

SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}
WANTED = ResponseFormat(kind="json_schema", schema=SCHEMA)
KEY = UpstreamKey(secret=CANARY, id="k", source="server")


def body_of(upstream: ScriptedUpstream, number: int) -> dict[str, Any]:
    return orjson.loads(upstream.requests[number].partition(b"\r\n\r\n")[2])


async def test_a_reply_that_fits_its_schema_is_asked_of_providers_that_obey(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply('{"age":', "3}"))
    outcome = await harness(request=a_request(response_format=WANTED))
    assert outcome.text == '{"age":3}'
    assert body_of(upstream, 0)["provider"] == {"require_parameters": True}


async def test_a_reply_that_does_not_fit_holds_reply_and_violations(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply('{"age":"three","x":1}'))
    outcome = await harness(request=a_request(response_format=WANTED))
    assert isinstance(outcome.error, StructuredOutputInvalid)
    assert outcome.error.reply == '{"age":"three","x":1}'
    assert any("$.age" in line for line in outcome.error.violations)
    assert outcome.entry.outcome == "succeeded"  # it was whole, and is paid for


async def test_a_repair_is_asked_for_once_where_it_is_allowed(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply("no JSON")).add_script(streamed_reply('{"age":3}'))
    async with harness.build_gateway() as gateway:
        completion = await gateway.complete(a_request(response_format=WANTED), repairs=1)
    assert completion.text == '{"age":3}'
    roles = [message["role"] for message in body_of(upstream, 1)["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert len(harness.book.ledger.entries) == 2


async def test_a_schema_that_is_none_is_refused_before_anything_is_paid(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    broken = ResponseFormat(kind="json_schema", schema={"type": "nonsense"})
    async with harness.build_gateway() as gateway:
        with pytest.raises(InvalidRequest, match="schema"):
            await gateway.complete(a_request(response_format=broken))
    assert upstream.requests == []


@pytest.mark.parametrize("bad", ["[1]", "3", "", "{"])
def test_a_json_object_is_an_object(bad: str) -> None:
    wanted = ResponseFormat(kind="json_object")
    assert parse_structured(wanted, ' {"a": 1}') == {"a": 1}
    with pytest.raises(StructuredOutputInvalid):
        parse_structured(wanted, bad)


async def test_reports_are_made_of_what_was_asked(upstream: ScriptedUpstream) -> None:
    upstream.add_script(streamed_reply())
    settings = Settings.model_validate({"base_url": upstream.base_url, "api_key": CANARY})
    async with OpenRouterGateway(settings, ledger="memory") as gateway:
        request = a_request(model="anthropic/claude-haiku-4.5")
        assert gateway.explain(request).chosen.model == "anthropic/claude-haiku-4.5"
        await gateway.complete(request)
        document = (await gateway.report(by="model")).as_json()
    assert document["total"]["requests"] == 1
    assert document["total"]["cost_usd"] == "0.000064"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http_reply(b"<html>", content_type="text/html"), ProtocolError),
        (http_reply(b"[]"), ProtocolError),
        (http_reply(b"{}", 302), ProtocolError),
        (error_reply(404), ModelUnavailable),
        (http_reply(b'{"error":{"code":503,"message":"x"}}'), UpstreamError),
    ],
)
async def test_an_endpoint_that_fails_raises_as_a_model_does(
    upstream: ScriptedUpstream, answer: bytes, kind: type[Exception]
) -> None:
    upstream.add_script(answer)
    with pytest.raises(kind):
        await ApiClient(Http1Transport(upstream.base_url)).providers()


async def test_an_endpoint_that_is_silent_is_given_up(
    upstream: ScriptedUpstream, loop_clock: Any
) -> None:
    upstream.add_script(60.0)
    api = ApiClient(Http1Transport(upstream.base_url), timeout_s=0.1)
    pending = asyncio.ensure_future(api.providers())
    await loop_clock.until(upstream.request_received.is_set)
    loop_clock.advance(0.1)
    with pytest.raises(UpstreamTimeout):
        await pending


async def test_a_get_is_asked_again_where_its_connection_was_closed(
    upstream: ScriptedUpstream,
) -> None:
    upstream.add_script(http_reply(b"{}")).add_script("reset").add_script(http_reply(b'{"data":1}'))
    api = ApiClient(Http1Transport(upstream.base_url))
    await api.providers()
    assert await api.providers() == {"data": 1}


async def test_limits_are_learned_from_the_keys(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(http_reply(b'{"data":{"rate_limit":{"requests":50,"interval":"1m"}}}'))
    async with harness.build_gateway() as gateway:
        await gateway.learn_limits()
        assert gateway._limiter.limit_per_min(key_id(CANARY), is_free=False) == 50


@pytest.mark.parametrize(("source", "per_min"), [("per_minute", 7), ("daily", 20)])
async def test_a_rate_is_learned_of_a_minute_and_not_of_a_day(
    harness: GatewayHarness, upstream: ScriptedUpstream, source: str, per_min: int
) -> None:
    limit = {"limit_source": f"openrouter_free_tier_{source}"}
    upstream.add_script(error_reply(429, headers={"X-RateLimit-Limit": "7"}, **limit))
    async with harness.build_gateway("acme/one:free", max_retries=1) as gateway:
        with pytest.raises(RateLimited):
            await gateway.complete(a_request())
        assert gateway._limiter.limit_per_min(key_id(CANARY), is_free=True) == per_min


async def test_feedback_is_given_on_a_request_that_is_remembered(
    upstream: ScriptedUpstream,
) -> None:
    upstream.add_script(streamed_reply())
    values = {"base_url": upstream.base_url, "api_key": CANARY}
    settings = Settings.model_validate(values)
    async with OpenRouterGateway(settings, ledger="memory") as gateway:
        done = await gateway.complete(a_request(model="anthropic/claude-haiku-4.5"))
        assert gateway.feedback(done.entry.entry_id, 1.0) is False  # learning is off
        with pytest.raises(ValueError, match="score"):
            gateway.feedback(done.entry.entry_id, 3.0)
        with pytest.raises(NotFound):
            gateway.feedback("req_none", 1.0)


async def test_a_key_is_obtained_by_oauth(upstream: ScriptedUpstream) -> None:
    upstream.add_script(http_reply(orjson.dumps({"key": CANARY}))).add_script(http_reply(b"{}"))
    api = ApiClient(Http1Transport(upstream.base_url))
    authorization = Authorization.begin("http://localhost:3000/cb")
    assert "code_challenge_method=S256" in authorization.url
    assert authorization.verifier not in f"{authorization!r}{authorization.url}"
    assert await authorization.exchange_code(api, "code-1") == CANARY
    assert body_of(upstream, 0)["code_verifier"] == authorization.verifier
    with pytest.raises(ProtocolError):
        await Authorization.begin().exchange_code(api, "code-2")


@pytest.mark.parametrize(
    ("provider", "bills"),
    [("OpenAI", False), ("Anthropic", False), ("Amazon Bedrock", True), ("Groq", True),
     ("Google AI Studio", True), ("Someone New", True), (None, True)],
)  # fmt: skip
def test_who_bills_what_nobody_reads(provider: str | None, bills: bool) -> None:
    assert bills_on_cancel(provider) is bills


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("x"), "upstream_unreachable"),
        (httpx.ReadError("x"), "upstream_disconnected"),
        (httpx.RemoteProtocolError("x"), "upstream_protocol_error"),
        (httpx.ReadTimeout("x"), "upstream_timeout"),
        (httpx.LocalProtocolError("x"), "invalid_request"),
    ],
)
async def test_failures_of_httpx_are_ours(
    harness: GatewayHarness, raised: Exception, kind: str
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise raised

    transport = HttpxTransport("http://127.0.0.1:1", httpx.MockTransport(answer))
    gateway = harness.build_gateway(max_retries=1)
    gateway.api._transport = transport
    async with gateway:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the code is what matters
            await gateway.complete(a_request())
    assert getattr(caught.value, "code", None) == kind


async def test_a_reply_over_httpx_is_read_as_it_comes() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"x" * 100)

    transport = HttpxTransport("http://127.0.0.1:1", httpx.MockTransport(answer))
    request = HttpRequest(method="GET", path="/x", headers={})
    exchange = await transport.start(request, deadline_s=1e12)
    assert (exchange.status, await exchange.read(), await exchange.read()) == (200, b"x" * 100, b"")
    await exchange.close(is_complete=True)
    await transport.aclose()


async def test_a_proxy_that_is_not_there_is_not_sent(harness: GatewayHarness) -> None:
    away = "https://openrouter.invalid/api/v1"
    outcome = await harness(base_url=away, proxy_url="http://127.0.0.1:9", max_retries=1)
    assert outcome.codes == ["upstream_unreachable"]
    assert isinstance(outcome.error, NotSent)


async def test_this_machine_is_not_asked_by_way_of_a_proxy(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply())
    assert (await harness(proxy_url="http://127.0.0.1:9")).text == "Hello"


async def test_a_call_goes_through_its_proxy(
    harness: GatewayHarness, upstream: ScriptedUpstream
) -> None:
    upstream.add_script(streamed_reply())  # it plays the proxy
    away = "http://openrouter.invalid/api/v1"
    transport = make_proxy_transport(away, f"http://127.0.0.1:{upstream.port}")
    gateway = harness.build_gateway()
    gateway.api._transport = transport
    async with gateway:
        assert (await gateway.complete(a_request())).text == "Hello"
    await transport.aclose()
    assert upstream.requests[0].startswith(b"POST http://openrouter.invalid/api/v1/chat")
