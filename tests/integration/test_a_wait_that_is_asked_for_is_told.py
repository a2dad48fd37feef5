"""How long a provider asks us to wait is obeyed where there is time, and told to the client."""

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_core.errors import RateLimited
from devflow_core.request import ChatRequest
from devflow_gateway import wiring
from devflow_openrouter.testing import streamed_reply
from integration.upstream_door import MODEL, OTHER, PATHS, failed, open_door, sample

WIRES = list(PATHS)


def _limited(metadata: dict[str, Any] | None = None) -> bytes:
    error = {"message": "Slow down.", "code": 429, "metadata": metadata or {}}
    return orjson.dumps({"error": error})


def _resets(name: str, in_s: float) -> bytes:
    """A sample whose limit is reset so far from now."""
    body = orjson.loads(sample(name))
    body["error"]["metadata"]["headers"]["X-RateLimit-Reset"] = str(
        int((time.time() + in_s) * 1000)
    )
    return orjson.dumps(body)


def _replies(in_s: float) -> dict[str, Any]:
    at_ms = str(int((time.time() + in_s) * 1000))
    return {
        "seconds": failed(_limited(), 429, retry_after=str(int(in_s))),
        "milliseconds": failed(_limited(), 429, retry_after_ms=str(int(in_s * 1000))),
        "reset header": failed(_limited(), 429, x_ratelimit_reset=at_ms),
        "reset in seconds": failed(_limited(), 429, x_ratelimit_reset=at_ms[:-3]),
        "reset in metadata": failed(_resets("reset_in_metadata.429.json", in_s), 429),
        "free per minute": failed(_resets("free_per_minute.429.json", in_s), 429),
        "header in metadata": failed(_limited({"headers": {"Retry-After": str(int(in_s))}}), 429),
        "metadata": failed(_limited({"retry_after_seconds": in_s}), 429),
    }


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("form", list(_replies(30)))
async def test_a_wait_beyond_the_deadline_is_told(
    tmp_path: Path, form: str, wire: str, is_stream: bool
) -> None:
    async with open_door(tmp_path, _replies(30)[form], total_timeout_s=20) as door:
        reply = await door.send(wire, stream=is_stream)
        assert len(door.upstream.bodies) == 1
    assert reply.status_code == 429
    assert 20 <= int(reply.headers["retry-after"]) <= 31
    assert "x-should-retry" not in reply.headers


@pytest.mark.parametrize("form", list(_replies(30)))
async def test_another_model_is_asked_at_once(tmp_path: Path, form: str) -> None:
    scripts = (_replies(30)[form], (streamed_reply(),))
    async with (
        open_door(
            tmp_path, *scripts, api_key=None, api_keys=["sk-or-v1-a", "sk-or-v1-b"],
            fallbacks={MODEL: (OTHER,)},
        ) as door,
        asyncio.timeout(30),
    ):  # fmt: skip
        reply = await door.send("openai_chat", stream=False)
    assert reply.status_code == 200


@pytest.mark.parametrize("form", list(_replies(30)))
async def test_a_wait_within_the_deadline_is_obeyed(
    tmp_path: Path, form: str, loop_clock: Any
) -> None:
    scripts = (_replies(30)[form], (streamed_reply(),))
    async with (
        open_door(tmp_path, *scripts) as door,
        wiring.open_gateway(door.settings) as gateway,
    ):
        asking = asyncio.ensure_future(gateway.complete(ChatRequest.from_text("Hi", model=MODEL)))
        await loop_clock.until(lambda: door.upstream.bodies)
        waited_s = await loop_clock.run_until(asking.done, step_s=0.5)
        done = await asking
    assert done.text == "Hello"
    assert waited_s >= 15  # 30, less what a busy machine takes until it reads the time told


async def test_the_allowance_of_a_day_tells_when_it_comes_back(tmp_path: Path) -> None:
    at_ms = str(int((time.time() + 7200) * 1000))
    limit = {"limit_source": "openrouter_free_tier_daily", "headers": {"X-RateLimit-Reset": at_ms}}
    async with open_door(tmp_path, failed(_limited(limit), 429)) as door:
        reply = await door.send("anthropic_messages", stream=True)
        assert len(door.upstream.bodies) == 1
    assert 7_000 < int(reply.headers["retry-after"]) <= 7_200
    assert reply.headers["x-should-retry"] == "false"  # no SDK waits so long


@pytest.mark.parametrize("form", list(_replies(1800)))
async def test_half_an_hour_is_told_whole_and_the_key_rests_for_it(
    tmp_path: Path, form: str
) -> None:
    async with open_door(tmp_path, _replies(1800)[form]) as door:
        for _ in range(2):
            reply = await door.send("openai_chat", stream=False)
            assert reply.status_code == 429
            assert 1_790 < int(reply.headers["retry-after"]) <= 1_803  # with the rest's jitter
            assert reply.headers["x-should-retry"] == "false"
        assert len(door.upstream.bodies) == 1


async def test_python_is_told_the_wait(tmp_path: Path) -> None:
    script = _replies(30)["free per minute"]
    async with (
        open_door(tmp_path, script, total_timeout_s=20) as door,
        wiring.open_gateway(door.settings) as gateway,
    ):
        with pytest.raises(RateLimited) as caught:
            await gateway.complete(ChatRequest.from_text("Hi", model=MODEL))
    assert caught.value.retry_after_s is not None
    assert 20 <= caught.value.retry_after_s <= 30
