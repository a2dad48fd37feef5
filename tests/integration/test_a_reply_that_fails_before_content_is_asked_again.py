"""A reply that has shown nothing has not begun: the failure is asked again, in every dialect."""

from pathlib import Path

import pytest
from devflow_core.errors import DevFlowError
from devflow_core.request import ChatRequest
from devflow_core.wire import DIALECTS
from devflow_gateway import wiring
from devflow_openrouter.testing import SSE_HEAD
from dialect_samples import samples_of
from integration.upstream_door import MODEL, OTHER, Script, open_door, streamed

WIRES = sorted(DIALECTS)
ENDS = ("error", "cut", "reset")


def failing(wire: str, end: str, shown: int = 9) -> Script:
    """A reply that ends after its opening."""
    opening = b"".join(samples_of(wire).opening[:shown])
    if end == "error":
        return streamed(opening, samples_of(wire).failure)
    if end == "cut":
        return streamed(opening)
    chunk = b"%x\r\n%b\r\n" % (len(opening), opening)
    return (SSE_HEAD + chunk, 0.05, "reset")


def whole(wire: str) -> Script:
    """A reply that says hello."""
    return streamed(*samples_of(wire).hello)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
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


@pytest.mark.parametrize("wire", WIRES)
async def test_another_model_is_asked_when_the_first_goes_on_failing(
    tmp_path: Path, wire: str
) -> None:
    bad = failing(wire, "error", shown=1)
    fallbacks = {MODEL: (OTHER,)}
    async with open_door(tmp_path, bad, bad, whole(wire), fallbacks=fallbacks) as door:
        reply = await door.send(wire, stream=True)
        assert reply.status_code == 200, reply.text
        assert door.upstream.models == [MODEL, MODEL, OTHER]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stall_after_the_opening_is_asked_again(tmp_path: Path, wire: str) -> None:
    opening = b"".join(samples_of(wire).opening)
    stall: Script = (SSE_HEAD + b"%x\r\n%b\r\n" % (len(opening), opening), 60.0)
    async with open_door(tmp_path, stall, whole(wire), idle_timeout_s=1.0) as door:
        reply = await door.send(wire, stream=True)
        assert reply.status_code == 200, reply.text
        assert "Hello" in reply.text
        assert len(door.upstream.bodies) == 2


@pytest.mark.parametrize("wire", WIRES)
async def test_when_it_fails_for_good_the_status_says_so(tmp_path: Path, wire: str) -> None:
    async with open_door(tmp_path, failing(wire, "error")) as door:
        reply = await door.send(wire, stream=True)
        assert reply.status_code >= 500
        assert reply.headers["x-should-retry"] == "false"
        assert len(door.upstream.bodies) == 3


@pytest.mark.parametrize("wire", WIRES)
async def test_what_has_shown_something_is_not_asked_again(tmp_path: Path, wire: str) -> None:
    samples = samples_of(wire)
    said = (*samples.opening, samples.rest[0])
    async with open_door(tmp_path, streamed(*said, samples_of(wire).failure), whole(wire)) as door:
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
