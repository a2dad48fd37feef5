"""A reply that has shown nothing has not begun: the failure is asked again, in every dialect."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_core.errors import DevFlowError
from devflow_core.request import ChatRequest
from devflow_gateway import wiring
from devflow_openrouter.testing import SSE_HEAD, sse_event, streamed_reply
from integration.upstream_door import MODEL, OTHER, Script, open_door, streamed


def _event(**body: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (body["type"].encode(), orjson.dumps(body))


_RESPONSE = {"id": "gen-1", "object": "response", "model": MODEL, "status": "in_progress"}
_MESSAGE: dict[str, Any] = {
    "id": "gen-1", "type": "message", "role": "assistant", "model": MODEL, "content": [],
    "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1},
}  # fmt: skip
_OVERLOADED = {"code": 502, "message": "The provider fell over."}
OPENINGS: dict[str, tuple[bytes, ...]] = {
    "openai_chat": (
        sse_event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}]),
        sse_event(choices=[{"index": 0, "delta": {"content": None}, "finish_reason": None}]),
    ),
    "anthropic_messages": (
        _event(type="message_start", message=_MESSAGE),
        _event(type="ping"),
        _event(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ),
    "openai_responses": (
        _event(type="response.created", response=_RESPONSE),
        _event(type="response.in_progress", response=_RESPONSE),
        _event(
            type="response.output_item.added", output_index=0,
            item={"type": "message", "id": "m", "role": "assistant", "content": []},
        ),
    ),
}  # fmt: skip
ERRORS: dict[str, bytes] = {
    "openai_chat": sse_event(error=_OVERLOADED, choices=[]),
    "anthropic_messages": _event(
        type="error", error={"type": "api_error", "message": "The provider fell over."}
    ),
    "openai_responses": _event(
        type="response.failed",
        response={
            **_RESPONSE,
            "status": "failed",
            "error": {"code": "server_error", "message": "-"},
        },
    ),
}
_USAGE = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "cost": 0.0001}
REST: dict[str, tuple[bytes, ...]] = {
    "anthropic_messages": (
        _event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
        _event(type="content_block_stop", index=0),
        _event(type="message_delta", delta={"stop_reason": "end_turn"}, usage=_USAGE),
        _event(type="message_stop"),
    ),
    "openai_responses": (
        _event(type="response.output_text.delta", output_index=0, delta="Hello"),
        _event(
            type="response.completed",
            response={
                **_RESPONSE, "status": "completed", "usage": _USAGE,
                "output": [{"type": "message", "id": "m", "role": "assistant", "content": [
                    {"type": "output_text", "text": "Hello", "annotations": []}]}],
            },
        ),
    ),
}  # fmt: skip
ENDS = ("error", "cut", "reset")


def failing(wire: str, end: str, shown: int = 9) -> Script:
    """A reply that ends after its opening."""
    opening = b"".join(OPENINGS[wire][:shown])
    if end == "error":
        return streamed(opening, ERRORS[wire])
    if end == "cut":
        return streamed(opening)
    chunk = b"%x\r\n%b\r\n" % (len(opening), opening)
    return (SSE_HEAD + chunk, 0.05, "reset")


def whole(wire: str) -> Script:
    """A reply that says hello."""
    if wire == "openai_chat":
        return (streamed_reply("Hello"),)
    return streamed(*OPENINGS[wire], *REST[wire])


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", list(OPENINGS))
async def test_the_same_model_is_asked_again(
    tmp_path: Path, wire: str, is_stream: bool, end: str
) -> None:
    async with open_door(tmp_path, failing(wire, end), whole(wire)) as door:
        reply = await door.send(wire, stream=is_stream)
        assert reply.status_code == 200, reply.text
        assert "Hello" in reply.text
        assert "fell over" not in reply.text
        assert reply.headers["x-devflow-attempts"] == "2"
        assert door.upstream.models == [MODEL, MODEL]
        if is_stream:  # nothing of the reply that failed was shown
            assert reply.text.count("gen-") == b"".join(
                one for one in whole(wire) if isinstance(one, bytes)
            ).count(b'"gen-')


@pytest.mark.parametrize("wire", list(OPENINGS))
async def test_another_model_is_asked_when_the_first_goes_on_failing(
    tmp_path: Path, wire: str
) -> None:
    bad = failing(wire, "error", shown=1)
    fallbacks = {MODEL: (OTHER,)}
    async with open_door(tmp_path, bad, bad, whole(wire), fallbacks=fallbacks) as door:
        reply = await door.send(wire, stream=True)
        assert reply.status_code == 200, reply.text
        assert door.upstream.models == [MODEL, MODEL, OTHER]


@pytest.mark.parametrize("wire", list(OPENINGS))
async def test_a_stall_after_the_opening_is_asked_again(tmp_path: Path, wire: str) -> None:
    opening = b"".join(OPENINGS[wire])
    stall: Script = (SSE_HEAD + b"%x\r\n%b\r\n" % (len(opening), opening), 60.0)
    async with open_door(tmp_path, stall, whole(wire), idle_timeout_s=1.0) as door:
        reply = await door.send(wire, stream=True)
        assert reply.status_code == 200, reply.text
        assert "Hello" in reply.text
        assert len(door.upstream.bodies) == 2


@pytest.mark.parametrize("wire", list(OPENINGS))
async def test_when_it_fails_for_good_the_status_says_so(tmp_path: Path, wire: str) -> None:
    async with open_door(tmp_path, failing(wire, "error")) as door:
        reply = await door.send(wire, stream=True)
        assert reply.status_code >= 500
        assert reply.headers["x-should-retry"] == "false"
        assert len(door.upstream.bodies) == 3


@pytest.mark.parametrize("wire", list(OPENINGS))
async def test_what_has_shown_something_is_not_asked_again(tmp_path: Path, wire: str) -> None:
    said = {
        "openai_chat": (sse_event(choices=[{"index": 0, "delta": {"content": "Hel"}}]),),
        **{name: (*OPENINGS[name], rest[0]) for name, rest in REST.items()},
    }[wire]
    async with open_door(tmp_path, streamed(*said, ERRORS[wire]), whole(wire)) as door:
        reply = await door.send(wire, stream=True)
        assert reply.status_code == 200
        assert "Hel" in reply.text
        assert len(door.upstream.bodies) == 1


async def test_the_attempt_that_showed_nothing_is_booked_all_the_same(tmp_path: Path) -> None:
    wire = "openai_chat"
    async with open_door(tmp_path, failing(wire, "error"), whole(wire)) as door:
        async with wiring.open_gateway(door.settings) as gateway:
            done = await gateway.complete(ChatRequest.from_text("Hi", model=MODEL))
        first, second = done.entry.attempts
        assert (first.outcome, first.cost_status) == ("failed", "estimated")
        assert first.cost_usd > 0
        assert (second.outcome, second.cost_status) == ("succeeded", "settled")
        assert done.text == "Hello"


async def test_a_python_caller_gets_the_error_only_when_nobody_answers(tmp_path: Path) -> None:
    async with open_door(tmp_path, failing("openai_chat", "cut")) as door:
        async with wiring.open_gateway(door.settings) as gateway:
            with pytest.raises(DevFlowError, match="cut off"):
                await gateway.complete(ChatRequest.from_text("Hi", model=MODEL))
        assert len(door.upstream.bodies) == 2
