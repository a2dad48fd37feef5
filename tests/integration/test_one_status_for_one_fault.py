"""One fault has one status, one code and one word on whether to repeat it, whoever asks and how.

What is done with each fault by the gateway itself is tested elsewhere; here is what is told of it:
in every dialect, whole and streamed, before the first byte and after, and in Python. The one
exception is declared by the dialect (`Dialect.statuses`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import orjson
import pytest
from devflow_core.errors import DevFlowError
from devflow_core.request import ChatRequest
from devflow_core.wire.table import get_dialect
from devflow_gateway import wiring
from devflow_openrouter.testing import error_body
from devflow_server.error_responses import error_headers, error_reply
from dialect_samples import samples_of
from integration.told_faults import ENCODED, EXHAUSTED, FAULTS, LATER, Fault, at_once
from integration.upstream_door import MODEL, OTHER, PATHS, Door, Script, failed, open_door, streamed

WIRES = list(PATHS)


def _said(status: int, message: str = "No.", **headers: str) -> Script:
    return failed(error_body(status, message), status, **headers)


@pytest.fixture(params=list(FAULTS))
def fault(request: pytest.FixtureRequest) -> Fault:
    return FAULTS[request.param]


async def _meet(door: Door, fault: Fault, wire: str, *, is_stream: bool) -> httpx.Response:
    """The reply that tells of the fault, or the last one."""
    async with fault.prepare(door):
        for _ in range(fault.tries - 1):
            reply = await door.send(wire, stream=is_stream, **fault.request(wire))
            if f'"{fault.code}"' in reply.text:
                return reply
        return await door.send(wire, stream=is_stream, **fault.request(wire))


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
async def test_before_the_reply_every_dialect_tells_the_same(
    tmp_path: Path, fault: Fault, wire: str, is_stream: bool
) -> None:
    if fault.by_wire and wire not in fault.by_wire:
        pytest.skip("this dialect has no words for such a request")
    async with open_door(tmp_path, fault.script, **fault.settings) as door:
        reply = await _meet(door, fault, wire, is_stream=is_stream)
        assert fault.asked in (None, len(door.upstream.bodies))
    error = reply.json().get("error", {})
    assert error["code"] == fault.code
    assert reply.status_code == fault.status_in(wire)
    assert reply.headers.get("x-should-retry") == fault.should_retry
    assert ("retry-after" in reply.headers) == fault.retry_after
    assert error["message"]
    if wire == "anthropic_messages" and fault.should_retry:
        assert error["type"] != "overloaded_error"  # which Claude Code would repeat


async def test_python_is_told_the_same(tmp_path: Path, fault: Fault) -> None:
    headers = fault.fields.get("headers", {})
    if not fault.asked or fault.prepare is not at_once:
        pytest.skip("what only a server refuses, or Python by its types")
    async with (
        open_door(tmp_path, fault.script, **fault.settings) as door,
        wiring.open_gateway(door.settings) as gateway,
    ):
        asked = ChatRequest.from_text("Hi", model=MODEL)
        request = replace(asked, user_key=headers.get("x-openrouter-key"))
        for _ in range(fault.tries - 1):
            with pytest.raises(DevFlowError):
                await gateway.complete(request)
        with pytest.raises(DevFlowError) as caught:
            await gateway.complete(request)
    assert type(caught.value) is fault.kind
    assert (caught.value.status_hint, caught.value.code) == (fault.status, fault.code)
    assert caught.value.attempts == fault.asked - fault.tries + 1


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", list(ENCODED))
def test_what_no_request_here_can_bring_about_is_told_like_the_rest(
    kind: type[DevFlowError], wire: Any
) -> None:
    error = ENCODED[kind]
    status, body = error_reply(error, get_dialect(wire), "req_1")
    told = orjson.loads(body)["error"]
    assert (status, told["code"]) == (kind.status_hint, kind.code)
    assert told["message"] == error.message
    headers = dict(error_headers(error, "req_1"))
    assert ("retry-after" in headers) == (error.retry_after_s is not None)
    assert ("x-should-retry" in headers) == (error.retry_after_s is None)


LATE: dict[str, tuple[bytes, int, str]] = {
    "overloaded": (
        b'{"type":"error","error":{"type":"overloaded_error","message":"Busy."}}', 503,
        "upstream_overloaded",
    ),
    "refused": (
        b'{"error":{"code":403,"message":"Flagged."}}', 403, "upstream_refused",
    ),
    "spent": (b'{"error":{"code":402,"message":"Insufficient credits."}}', 402,
              "upstream_payment_required"),
}  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", list(LATE))
async def test_in_the_middle_of_a_reply_the_number_is_that_of_the_fault(
    tmp_path: Path, kind: str, wire: str
) -> None:
    event, status, code = LATE[kind]
    samples = samples_of(wire)
    name = b"event: error\n" if samples.failure.startswith(b"event: ") else b""
    last = b"%bdata: %b\n\n" % (name, event)
    async with open_door(tmp_path, streamed(*samples.opening, samples.rest[0], last)) as door:
        whole = await door.send(wire, stream=False)
        stream = await door.send(wire, stream=True)
    assert stream.status_code == 200
    assert whole.status_code == get_dialect(wire).statuses.get(code, status)
    assert whole.headers["x-should-retry"] == "false"
    for reply in (whole, stream):
        assert f'"{code}"' in reply.text
        assert f"answered {status}" in reply.text


@pytest.mark.parametrize("wire", WIRES)
async def test_after_a_sign_of_life_the_event_says_what_the_status_would_have(
    tmp_path: Path, wire: str
) -> None:
    script: Script = (6.0, *_said(401, "User not found."))
    async with open_door(tmp_path, script) as door:
        reply = await door.send(wire, stream=True)
    assert reply.status_code == 200
    assert EXHAUSTED in reply.text
    assert "overloaded_error" not in reply.text


async def test_several_models_that_fail_alike_are_one_fault(tmp_path: Path) -> None:
    script = _said(429, "Slow down.", **LATER)
    keys = {"api_key": None, "api_keys": ["sk-or-v1-a", "sk-or-v1-b"]}
    async with open_door(tmp_path, script, fallbacks={MODEL: (OTHER,)}, **keys) as door:
        reply = await door.send("openai_chat", stream=False)
    assert (reply.status_code, reply.headers["x-should-retry"]) == (429, "false")
    assert 40 <= int(reply.headers["retry-after"]) <= 50


async def _count_chat(door: Door) -> int:
    async with openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="x") as client:
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi"}]
            )
    return len(door.upstream.bodies)


async def _count_messages(door: Door) -> int:
    async with anthropic.AsyncAnthropic(base_url=door.url, api_key="x") as client:
        with pytest.raises(anthropic.APIStatusError):
            await client.messages.create(
                model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
            )
    return len(door.upstream.bodies)


@pytest.mark.parametrize("count", [_count_chat, _count_messages])
@pytest.mark.parametrize("kind", ["overloaded, and says when", "throttled until given up", "fails"])
async def test_real_clients_do_not_multiply_what_was_given_up(
    tmp_path: Path, kind: str, count: Callable[[Door], Any]
) -> None:
    async with open_door(tmp_path, FAULTS[kind].script) as door:
        assert await count(door) == FAULTS[kind].asked


@pytest.mark.parametrize("count", [_count_chat, _count_messages])
async def test_real_clients_repeat_what_the_gateway_could_not_wait_for(
    tmp_path: Path, count: Callable[[Door], Any]
) -> None:
    script = _said(429, "Slow down.", retry_after="2")
    async with open_door(tmp_path, script, total_timeout_s=1.5) as door:
        assert await count(door) == 3


async def test_the_first_words_about_a_wrong_key_are_about_the_key(tmp_path: Path) -> None:
    async with open_door(tmp_path, _said(401, "User not found.")) as door:
        reply = await door.send("openai_chat", stream=False)
    message = orjson.loads(reply.content)["error"]["message"]
    assert message.startswith("The provider does not accept this gateway's keys")
    assert "rests" not in message
