"""The status of a failure tells whose fault it is, and clients repeat only what may pass."""

from pathlib import Path

import anthropic
import openai
import orjson
import pytest
from devflow_core.errors import KeysExhausted
from devflow_core.request import ChatRequest
from devflow_gateway import wiring
from devflow_openrouter.testing import error_body, error_reply, streamed_reply
from integration.upstream_door import MODEL, OTHER, PATHS, Script, failed, open_door, sample

WIRES = list(PATHS)
_CREDITS: Script = (
    error_reply(402, "Insufficient credits. Add more.", limit_source="openrouter_credits"),
)
_LIMIT: Script = (error_reply(403, "Key limit exceeded (total limit). Manage it."),)
_REFUSED: Script = failed(sample("key_refused.401.json"), 401)
FAILURES = {
    "refused": (_REFUSED, 503, "User not found."),
    "credits": (_CREDITS, 402, "Insufficient credits."),
    "limit": (_LIMIT, 402, "Key limit exceeded"),
}


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", list(FAILURES))
async def test_the_gateways_own_key_is_its_operators_matter(
    tmp_path: Path, kind: str, wire: str, is_stream: bool
) -> None:
    script, status, words = FAILURES[kind]
    async with open_door(tmp_path, script) as door:
        reply = await door.send(wire, stream=is_stream)
    assert reply.status_code == status
    assert reply.headers["x-should-retry"] == "false"
    assert "retry-after" not in reply.headers
    assert words in reply.text
    assert "Its operator" in reply.json()["error"]["message"]
    assert "overloaded_error" not in reply.text  # which Claude Code would repeat


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("kind", "status"), [("refused", 401), ("credits", 402), ("limit", 402)])
async def test_a_callers_own_key_is_the_callers_matter(
    tmp_path: Path, kind: str, status: int, wire: str, is_stream: bool
) -> None:
    script, _, words = FAILURES[kind]
    headers = {"x-openrouter-key": "sk-or-v1-of-the-caller"}
    async with open_door(tmp_path, script) as door:
        reply = await door.send(wire, stream=is_stream, headers=headers)
        assert (await door.send(wire, stream=is_stream)).status_code != 401
    assert reply.status_code == status
    assert reply.headers["x-should-retry"] == "false"
    assert words in reply.text


@pytest.mark.parametrize("kind", list(FAILURES))
async def test_real_clients_do_not_repeat_it(tmp_path: Path, kind: str) -> None:
    script, status, words = FAILURES[kind]
    async with (
        open_door(tmp_path, script, script, api_key=None, api_keys=["sk-or-v1-a"]) as door,
        openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="x") as chat,
        anthropic.AsyncAnthropic(base_url=door.url, api_key="x") as messages,
    ):
        with pytest.raises(openai.APIStatusError) as first:
            await chat.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi"}]
            )
        with pytest.raises(anthropic.APIStatusError) as second:
            await messages.messages.create(
                model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
            )
        metrics = (await door.client.get("/metrics")).text
    for caught in (first.value, second.value):
        assert caught.status_code == status
        assert words in caught.message
    asked = [line for line in metrics.splitlines() if line.startswith("devflow_requests_total")]
    assert not asked or sum(float(line.rpartition(" ")[2]) for line in asked) <= 2


async def test_python_is_told_the_same(tmp_path: Path) -> None:
    async with open_door(tmp_path, _REFUSED) as door, wiring.open_gateway(door.settings) as gateway:
        with pytest.raises(KeysExhausted, match="User not found") as caught:
            await gateway.complete(ChatRequest.from_text("Hi", model=MODEL))
    assert (caught.value.status_hint, caught.value.status) == (503, 401)


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
async def test_the_page_of_a_firewall_is_no_word_of_the_provider(
    tmp_path: Path, wire: str, is_stream: bool
) -> None:
    page = failed(sample("firewall.403.html"), 403, "text/html")
    async with open_door(tmp_path, page, fallbacks={MODEL: (OTHER,)}) as door:
        reply = await door.send(wire, stream=is_stream)
        assert door.upstream.models == [MODEL, MODEL, OTHER]
    assert reply.status_code == 502
    assert "Attention Required!" in reply.text
    assert "Change the request" not in reply.text


async def test_after_the_page_of_a_firewall_the_next_model_answers(tmp_path: Path) -> None:
    page = failed(sample("firewall.403.html"), 403, "text/html")
    async with open_door(
        tmp_path, page, page, (streamed_reply(),), fallbacks={MODEL: (OTHER,)}
    ) as door:
        reply = await door.send("openai_chat", stream=False)
    assert reply.json()["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("status", [412, 413, 422])
async def test_what_is_wrong_with_the_request_is_told_as_it_is(
    tmp_path: Path, wire: str, status: int
) -> None:
    async with open_door(tmp_path, failed(error_body(status, "Not so."), status)) as door:
        reply = await door.send(wire, stream=False)
    assert reply.status_code == status
    assert reply.headers["x-should-retry"] == "false"
    if wire == "anthropic_messages" and status == 413:
        assert orjson.loads(reply.content)["error"]["type"] == "request_too_large"
