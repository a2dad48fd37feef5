"""A key that the provider refused by mistake serves the very next request."""

from pathlib import Path

import pytest
from devflow_core.errors import KeysExhausted
from devflow_core.request import ChatRequest
from devflow_gateway import wiring
from devflow_openrouter.testing import error_reply, streamed_reply
from integration.upstream_door import MODEL, Script, failed, open_door, sample

REFUSALS: dict[str, tuple[Script, int]] = {
    "refused": (failed(sample("key_refused.401.json"), 401), 503),
    "credits": (
        (error_reply(402, "Insufficient credits.", limit_source="openrouter_credits"),),
        402,
    ),
    "limit": ((error_reply(403, "Key limit exceeded (total limit)."),), 402),
}
WELL: Script = (streamed_reply(),)


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("kind", list(REFUSALS))
async def test_after_one_refusal_the_next_request_is_served(
    tmp_path: Path, kind: str, is_stream: bool
) -> None:
    refusal, status = REFUSALS[kind]
    async with open_door(tmp_path, refusal, WELL) as door:
        first = await door.send("openai_chat", stream=is_stream)
        second = await door.send("openai_chat", stream=is_stream)
        assert len(door.upstream.bodies) == 2
    assert (first.status_code, second.status_code) == (status, 200)
    assert first.headers["x-should-retry"] == "false"


async def test_while_it_is_refused_it_is_asked_ever_more_rarely(tmp_path: Path) -> None:
    refusal, status = REFUSALS["refused"]
    async with open_door(tmp_path, refusal) as door:
        statuses = {(await door.send("openai_chat", stream=False)).status_code for _ in range(20)}
        assert len(door.upstream.bodies) <= 5  # after 1, 2 and 4 s; nobody waits longer than 5
    assert statuses == {status}


async def test_python_is_served_as_well(tmp_path: Path) -> None:
    refusal, _ = REFUSALS["refused"]
    request = ChatRequest.from_text("Hi", model=MODEL)
    async with (
        open_door(tmp_path, refusal, WELL) as door,
        wiring.open_gateway(door.settings) as gateway,
    ):
        with pytest.raises(KeysExhausted, match="User not found"):
            await gateway.complete(request)
        assert (await gateway.complete(request)).text == "Hello"
