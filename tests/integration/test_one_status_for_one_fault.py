"""One fault has one status, one code and one word on whether to repeat it, whoever asks and how.

What is done with each fault by the gateway itself is tested elsewhere; here is what is told of it:
in every dialect, whole and streamed, before the first byte and after, and in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import pytest
from devflow_core.errors import DevFlowError
from devflow_core.request import ChatRequest
from devflow_gateway import wiring
from devflow_openrouter.testing import SSE_HEAD, chunked_body, error_body, http_reply
from integration.upstream_door import MODEL, OTHER, PATHS, Door, Script, failed, open_door

WIRES = list(PATHS)
EXHAUSTED = "OPENROUTER_SYSTEM_KEY_EXHAUSTED"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What the provider does, and what a client has to be told."""

    script: Script
    status: int
    code: str
    should_retry: str | None = "false"
    """The header; None: left to the client."""
    retry_after: bool = False
    asked: int = 1
    """How often the provider is asked."""
    fields: dict[str, Any]
    settings: dict[str, Any]


def _fault(
    script: Script, status: int, code: str, *, fields: Any = None, settings: Any = None, **more: Any
) -> Fault:
    return Fault(
        script=script,
        status=status,
        code=code,
        fields=fields or {},
        settings=settings or {},
        **more,
    )


def _said(status: int, message: str = "No.", **fields: Any) -> Script:
    headers = fields.pop("headers", {})
    return failed(error_body(status, message, **fields), status, **headers)


OWN = {"headers": {"x-openrouter-key": "sk-or-v1-of-the-caller"}}
SOON = {"retry_after": "0"}
LATER = {"retry_after": "45"}
SHORT = {"total_timeout_s": 20}

FAULTS: dict[str, Fault] = {
    "our key is refused": _fault(_said(401, "User not found."), 503, EXHAUSTED),
    "our account is spent": _fault(
        _said(402, "Insufficient credits.", limit_source="openrouter_credits"), 402, EXHAUSTED
    ),
    "our key's limit is reached": _fault(_said(403, "Key limit exceeded (total)."), 402, EXHAUSTED),
    "our account, said under 429": _fault(_said(429, "Insufficient credits left."), 402, EXHAUSTED),
    "our account, said under 400": _fault(_said(400, "Payment required."), 402, EXHAUSTED),
    "our account, said under 503": _fault(_said(503, "Insufficient funds."), 402, EXHAUSTED),
    "our key is throttled": _fault(
        _said(429, "Slow down.", headers=LATER), 429, "rate_limited",
        should_retry=None, retry_after=True, settings=SHORT,
    ),
    "their key is refused": _fault(
        _said(401, "User not found."), 401, "upstream_key_refused", fields=OWN
    ),
    "their account is spent": _fault(
        _said(402, "Insufficient credits.", limit_source="openrouter_credits"), 402,
        "upstream_payment_required", fields=OWN,
    ),
    "their key's limit is reached": _fault(
        _said(403, "Key limit exceeded (total)."), 402, "upstream_key_refused", fields=OWN
    ),
    "moderation": _fault(_said(403, "Flagged."), 403, "upstream_refused"),
    "the request is wrong": _fault(_said(400, "Bad field."), 400, "upstream_rejected"),
    "a precondition": _fault(_said(412, "Not so."), 412, "upstream_rejected"),
    "too large there": _fault(_said(413, "Too large."), 413, "upstream_rejected"),
    "not to be processed": _fault(_said(422, "Not so."), 422, "upstream_rejected"),
    "too long there": _fault(
        _said(400, "This endpoint's maximum context length is 9 tokens."), 400,
        "context_length_exceeded",
    ),
    "no endpoint": _fault(_said(404, "No endpoints found."), 404, "upstream_model_unavailable"),
    "throttled until given up": _fault(
        _said(429, "Slow down.", headers=SOON), 429, "rate_limited", retry_after=True, asked=3,
        settings={"fallback_models": ()},
    ),
    "overloaded, and says when": _fault(
        _said(503, "Busy.", headers=SOON), 503, "upstream_overloaded", retry_after=True, asked=3
    ),
    "fails": _fault(_said(500, "Oops."), 502, "upstream_unavailable", asked=3),
    "is nothing": _fault(_said(502, "Bad."), 502, "upstream_unavailable", asked=3),
    "closes without a word": _fault(("close",), 502, "upstream_disconnected", asked=2),
    "is no JSON": _fault(
        (http_reply(b"<html>hello</html>", 200, "text/html"),), 502, "upstream_protocol_error",
        asked=2,
    ),
    "an unknown model": _fault(
        _said(500), 404, "model_not_found", asked=0, fields={"model": "nope/nothing"}
    ),
    "a request that is none": _fault(
        _said(500), 400, "invalid_request", asked=0, fields={"model": 7}
    ),
    "over its own ceiling": _fault(
        _said(500), 402, "budget_exceeded", asked=0,
        fields={"headers": {"x-devflow-max-cost-usd": "0.000000001"}},
    ),
    "too large for us": _fault(
        _said(500), 413, "payload_too_large", asked=0, fields={"user": "u" * 5000},
        settings={"max_body_bytes": 4096},
    ),
    "no key at all": _fault(
        _said(500), 500, "configuration_error", asked=0, settings={"api_key": None}
    ),
}  # fmt: skip


@pytest.fixture(params=list(FAULTS))
def fault(request: pytest.FixtureRequest) -> Fault:
    return FAULTS[request.param]


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
async def test_before_the_reply_every_dialect_tells_the_same(
    tmp_path: Path, fault: Fault, wire: str, is_stream: bool
) -> None:
    async with open_door(tmp_path, fault.script, **fault.settings) as door:
        reply = await door.send(wire, stream=is_stream, **fault.fields)
        assert len(door.upstream.bodies) == fault.asked
    error = reply.json().get("error", {})
    assert error["code"] == fault.code
    assert reply.status_code == fault.status
    assert reply.headers.get("x-should-retry") == fault.should_retry
    assert ("retry-after" in reply.headers) == fault.retry_after
    assert error["message"]
    if wire == "anthropic_messages" and fault.code == EXHAUSTED:
        assert error["type"] != "overloaded_error"  # which Claude Code would repeat


async def test_python_is_told_the_same(tmp_path: Path, fault: Fault) -> None:
    headers = fault.fields.get("headers", {})
    if fault.asked == 0:
        pytest.skip("what only a server refuses, or Python by its types")
    async with (
        open_door(tmp_path, fault.script, **fault.settings) as door,
        wiring.open_gateway(door.settings) as gateway,
    ):
        asked = ChatRequest.from_text("Hi", model=MODEL)
        request = replace(asked, user_key=headers.get("x-openrouter-key"))
        with pytest.raises(DevFlowError) as caught:
            await gateway.complete(request)
    assert (caught.value.status_hint, caught.value.code) == (fault.status, fault.code)
    assert caught.value.attempts == fault.asked


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
DELTA = b'data: {"id":"gen-1","model":"m","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", list(LATE))
async def test_in_the_middle_of_a_reply_the_number_is_that_of_the_fault(
    tmp_path: Path, kind: str, wire: str
) -> None:
    event, status, code = LATE[kind]
    script = (SSE_HEAD + chunked_body(DELTA, b"data: " + event + b"\n\n"),)
    begun = {"anthropic_messages": _MESSAGE, "openai_responses": _RESPONSE}.get(wire)
    if begun is not None:
        script = (SSE_HEAD + chunked_body(*begun, b"event: error\ndata: " + event + b"\n\n"),)
    async with open_door(tmp_path, script) as door:
        whole = await door.send(wire, stream=False)
        stream = await door.send(wire, stream=True)
    assert stream.status_code == 200
    assert whole.status_code == status
    assert whole.headers["x-should-retry"] == "false"
    for reply in (whole, stream):
        assert f'"{code}"' in reply.text
        assert f"answered {status}" in reply.text


_MESSAGE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
    b'"role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}\n\n',
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
    b'{"type":"text","text":""}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    b'{"type":"text_delta","text":"Hello"}}\n\n',
)


_RESPONSE = (
    b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1",'
    b'"object":"response","model":"m","status":"in_progress","output":[]}}\n\n',
    b'event: response.output_item.added\ndata: {"type":"response.output_item.added",'
    b'"output_index":0,"item":{"id":"i","type":"message","role":"assistant","content":[]}}\n\n',
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","item_id":"i",'
    b'"output_index":0,"content_index":0,"delta":"Hello"}\n\n',
)


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
    script = _said(429, "Slow down.", headers=LATER)
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
    script = _said(429, "Slow down.", headers={"retry_after": "2"})
    async with open_door(tmp_path, script, total_timeout_s=1.5) as door:
        assert await count(door) == 3


async def test_the_first_words_about_a_wrong_key_are_about_the_key(tmp_path: Path) -> None:
    async with open_door(tmp_path, _said(401, "User not found.")) as door:
        reply = await door.send("openai_chat", stream=False)
    message = orjson.loads(reply.content)["error"]["message"]
    assert message.startswith("The provider does not accept this gateway's keys")
    assert "rests" not in message
