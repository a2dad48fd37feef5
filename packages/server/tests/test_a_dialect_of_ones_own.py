"""A dialect that is declared in one place has everything: nothing else in the gateway knows it."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from devflow_core.errors import DevFlowError, RateLimited
from devflow_core.events import Event, Finished, Started, TextDelta
from devflow_core.messages import JsonObject, Message, Text
from devflow_core.request import ChatRequest, Origin
from devflow_core.response import ChatResponse
from devflow_core.settings import Settings
from devflow_core.testing import FakeUpstream, dialect_in_table, reply_events
from devflow_core.wire import Dialect, EncodedRequest, guess_dialect
from devflow_core.wire.decoding import FrameDecoder
from devflow_core.wire.usage import parse_cost
from devflow_openrouter.testing import SSE_HEAD, ScriptedUpstream, chunked_body
from devflow_server import run_gateway

NAME = "telegram"


class TelegramDecoder(FrameDecoder):
    wire = NAME

    def decode_response(self, body: dict[str, Any], raw: bytes, /) -> list[Event]:
        return [self._start(body, raw), *self._decode_events(body, raw)]

    def _decode_events(self, body: dict[str, Any], data: bytes) -> list[Event]:
        if "stop" in body:
            self.finished = True
            return [Finished(finish_reason="stop", cost=parse_cost(body, data))]
        return [TextDelta(text=body["words"])]

    def _start(self, reply: dict[str, Any], data: bytes) -> Started:
        self._is_started = True
        return Started(generation_id=reply.get("id"))

    def _decode_end(self) -> Sequence[Event]:
        raise self._incomplete("a stop")


class TelegramEncoder:
    def __init__(self, request: ChatRequest) -> None:
        self.annotations: JsonObject = {}

    def annotate(self, annotations: JsonObject, /) -> None:
        self.annotations = annotations

    def encode(self, event: Event, /) -> bytes:
        match event:
            case TextDelta():
                return b"data: %b\n\n" % orjson.dumps({"words": event.text})
            case Finished():
                return b"data: %b\n\n" % orjson.dumps({"stop": True, "devflow": self.annotations})
            case _:
                return b""

    def encode_error(self, error: DevFlowError, request_id: str, /) -> bytes:
        return b"data: %b\n\n" % orjson.dumps(encode_error(error, request_id))


def decode_request(body: JsonObject, headers: Mapping[str, str]) -> ChatRequest:
    return ChatRequest(
        model=body["to"],
        messages=(Message(role="user", parts=(Text(text=body["words"]),)),),
        is_stream=body.get("stream", False),
        origin=Origin(wire=NAME, body=body),
    )


def encode_request(
    request: ChatRequest, model: str, overrides: JsonObject | None
) -> EncodedRequest:
    words = "".join(one.text for one in request.messages)
    return EncodedRequest(orjson.dumps({"to": model, "words": words, **(overrides or {})}))


def encode_response(
    response: ChatResponse, request: ChatRequest, annotations: JsonObject | None
) -> bytes:
    return orjson.dumps({"words": response.text, "devflow": annotations})


def encode_error(error: DevFlowError, request_id: str) -> JsonObject:
    return {"returned": error.code}


TELEGRAM = Dialect(
    name=NAME,
    summary="A telegram",
    path="/telegrams",
    body_schema={"required": ["to", "words"], "properties": {"words": {"type": "string"}}},
    output_limit_field="max_words",
    free_fields=frozenset({"to", "words", "stream"}),
    has_shape=lambda body: "to" in body,
    ping=b'data: {"words": ""}\n\n',
    request_decoder=decode_request,
    request_encoder=encode_request,
    decoder_factory=TelegramDecoder,
    encoder_factory=TelegramEncoder,
    response_encoder=encode_response,
    error_encoder=encode_error,
)
BODY = {"to": "openai/gpt-4o-mini", "words": "arrive tuesday stop"}


@pytest.fixture(autouse=True)
def declared() -> Generator[None]:
    with dialect_in_table(TELEGRAM):
        yield


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_it_has_its_route_and_its_description(open_server: Any, prefix: str) -> None:
    path = f"{prefix}/v1/telegrams"
    async with open_server(FakeUpstream(reply_events("well ", "met"))) as server:
        described = (await server.client.get("/openapi.json")).json()["paths"][path]["post"]
        reply = await server.client.post(path, json=BODY)
    assert described["summary"] == "A telegram"
    (content,) = described["requestBody"]["content"].values()
    assert content["schema"] == {"type": "object", **TELEGRAM.body_schema}
    assert reply.json()["words"] == "well met"
    assert reply.json()["devflow"]["attempts"] == 1


async def test_its_errors_have_its_form(open_server: Any) -> None:
    async with open_server(FakeUpstream([RateLimited("Too many.")])) as server:
        reply = await server.client.post("/v1/telegrams", json=BODY)
    assert (reply.status_code, reply.json()) == (429, {"returned": "rate_limited"})


async def test_a_silent_stream_is_kept_alive_by_its_ping(
    open_server: Any, eventually: Any, gate: Any
) -> None:
    async with open_server(FakeUpstream([gate, *reply_events("late")])) as server:
        running = asyncio.create_task(
            server.client.post("/v1/telegrams", json={**BODY, "stream": True})
        )
        await gate.reached.wait()
        await eventually(lambda: server.keep_alive.streams)
        server.keep_alive.send_pings(server.listener.now_s + 10.0)
        gate.open()
        reply = await running
    assert TELEGRAM.ping is not None
    assert reply.content.startswith(TELEGRAM.ping + b'data: {"words":"late"}\n\n')


async def ask_over_http(tmp_path: Path, body: JsonObject) -> tuple[httpx.Response, bytes]:
    """The answer of a whole gateway, with a ceiling for the cost, and what its provider was sent"""
    frames = (b'data: {"words": "well met"}\n\n', b'data: {"stop": true, "cost": 0.000125}\n\n')
    async with ScriptedUpstream().add_script(SSE_HEAD + chunked_body(*frames)).serve() as provider:
        settings = Settings.load(
            {},
            None,
            base_url=provider.base_url,
            api_key="sk-or-v1-of-this-test",
            port=0,
            require_key=False,
            data_dir=tmp_path,
        )
        async with (
            run_gateway(settings) as gateway,
            httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as client,
        ):
            headers = {"x-devflow-max-cost-usd": "0.05"}
            reply = await client.post("/v1/telegrams", json=body, headers=headers)
        sent = [one for one in provider.requests if b"arrive tuesday" in one]
    return reply, sent[0] if sent else b""


async def test_it_goes_to_the_provider_at_its_path_with_its_limit(tmp_path: Path) -> None:
    reply, sent = await ask_over_http(tmp_path, BODY)
    assert (reply.status_code, reply.json()["words"]) == (200, "well met")
    assert reply.json()["devflow"]["cost_usd"] == "0.000125"
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/telegrams ")
    assert orjson.loads(body)["max_words"] > 0


async def test_a_field_of_unknown_cost_is_refused_where_a_limit_holds(tmp_path: Path) -> None:
    reply, sent = await ask_over_http(tmp_path, {**BODY, "by_pigeon": True})
    assert (reply.status_code, sent) == (402, b"")
    assert reply.json() == {"returned": "unknown_price"}


def test_it_is_told_by_its_shape() -> None:
    assert guess_dialect(BODY) is TELEGRAM
    assert guess_dialect({"messages": []}).name == "openai_chat"
