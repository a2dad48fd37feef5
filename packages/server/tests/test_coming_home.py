"""Replies to Claude Code can be sent to Anthropic later; what must not be in them is kept here."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from devflow_core.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.messages import Reasoning
from devflow_core.testing import FakeUpstream
from devflow_core.wire import SseReader
from devflow_core.wire.anthropic_messages import ANTHROPIC_MESSAGES
from devflow_core.wire.anthropic_messages.resumable import HOME_MODEL
from devflow_server.replies.kept_reasoning import ReasoningMemory

GLM, KIMI, CLAUDE = "z-ai/glm-5", "moonshotai/kimi-k2.5", "anthropic/claude-opus-4.8-20260723"
CLIENT = {"user-agent": "claude-cli/2.1.329 (external, sdk-cli)", "anthropic-version": "2023-06-01"}
PATH = "/v1/messages"
Block = dict[str, Any]
THOUGHT: Block = {"type": "thinking", "thinking": "First I look.", "signature": "by-the-vendor"}
SAID: Block = {"type": "text", "text": 'I look: "index":7.'}
CALL: Block = {"type": "tool_use", "id": "functions.Bash:0", "name": "Bash", "input": {"index": 3}}
OTHER: Block = {"type": "tool_use", "id": "call_2", "name": "Bash", "input": {}}


def frames_of(model: str, blocks: Sequence[dict[str, Any]]) -> list[bytes]:
    """The frames of a message as a provider of Anthropic's dialect streams it."""
    usage = {"input_tokens": 3, "output_tokens": 1}
    message: dict[str, Any] = {"id": "gen-1", "type": "message", "role": "assistant"}
    message |= {"usage": usage, "model": model, "content": []}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(blocks):
        empty, delta = taken_apart(block)
        at = {"index": index}
        events.append({"type": "content_block_start", **at, "content_block": empty})
        events += [{"type": "content_block_delta", **at, "delta": one} for one in delta]
        events.append({"type": "content_block_stop", **at})
    end = {"stop_reason": "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": 9}})
    events.append({"type": "message_stop"})
    return [
        b"event: %b\ndata: %b\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in events
    ]


def taken_apart(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "thinking":
            signature = block.get("signature")
            signed = [{"type": "signature_delta", "signature": signature}] if signature else []
            text = {"type": "thinking_delta", "thinking": block["thinking"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [text, *signed]
        case "tool_use":
            call = orjson.dumps(block["input"]).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": call}]
        case "text":
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": block["text"]}]
        case _:
            return block, []


def reply_of(model: str, *blocks: dict[str, Any]) -> list[Event]:
    decoder = ANTHROPIC_MESSAGES.make_decoder(model)
    frames = (frame for raw in frames_of(model, blocks) for frame in SseReader().feed(raw))
    return [event for frame in frames for event in decoder.feed(frame)]


def message_in(text: str) -> dict[str, Any]:
    """The message that a client makes of a stream; its blocks must have no gaps."""
    message: dict[str, Any] = {}
    for line in text.splitlines():
        if not line.startswith("data: "):
            continue
        event = orjson.loads(line[6:])
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append({**event["content_block"], "pieces": ""})
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                if delta["type"] == "signature_delta":
                    block["signature"] = delta["signature"]
                    continue
                block["pieces"] += next(
                    delta[key] for key in ("text", "thinking", "partial_json") if key in delta
                )
            case "content_block_stop":
                block = message["content"][event["index"]]
                finish(block, block.pop("pieces"))
            case _:
                pass
    return message


def finish(block: dict[str, Any], pieces: str) -> None:
    match block["type"]:
        case "tool_use":
            block["input"] = orjson.loads(pieces or "{}")
        case "text" | "thinking":
            block[block["type"]] = pieces
        case _:
            assert not pieces


def asked(model: str, *history: dict[str, Any], is_stream: bool = True) -> dict[str, Any]:
    prompt = {"role": "user", "content": "list the files"}
    tools = [{"name": "Bash", "input_schema": {"type": "object"}}]
    body = {"model": model, "max_tokens": 99, "stream": is_stream, "tools": tools}
    return {**body, "messages": [prompt, *history]}


def answered(content: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The turn of the tool loop after a reply."""
    results = [
        {"type": "tool_result", "tool_use_id": one["id"], "content": "nothing"}
        for one in content
        if one["type"] == "tool_use"
    ]
    return {"role": "assistant", "content": content}, {"role": "user", "content": results}


async def ask(server: Any, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    reply = await server.client.post(PATH, json=body, headers={**CLIENT, **headers})
    assert reply.status_code == 200, reply.text
    return message_in(reply.text) if body["stream"] else reply.json()


def sent_content(server: Any, model: str = GLM) -> list[dict[str, Any]]:
    """The content of the assistant's turn, as the provider gets it with the latest call."""
    encoded = ANTHROPIC_MESSAGES.encode_request(server.upstream.calls[-1].request, model)
    return orjson.loads(encoded.body)["messages"][1]["content"]


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("claude-opus-4-8[1m]", "claude-opus-4-8"),
        ("anthropic/claude-opus-4.8", "claude-opus-4-8"),
        ("claude-via-devflow/anthropic/claude-opus-4.8", "claude-opus-4-8"),
        (GLM, HOME_MODEL),
        ("claude-via-devflow/z-ai/glm-5", HOME_MODEL),
        ("auto", HOME_MODEL),
    ],
)
async def test_a_reply_names_a_model_that_anthropic_has(
    open_server: Any, model: str, named: str, is_stream: bool
) -> None:
    upstream = FakeUpstream(reply_of(CLAUDE, SAID))
    async with open_server(upstream) as server:
        message = await ask(server, asked(model, is_stream=is_stream))
    assert message["model"] == named
    assert message["content"] == [SAID]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_thinking_that_anthropic_has_signed_stays(open_server: Any, is_stream: bool) -> None:
    redacted: Block = {"type": "redacted_thinking", "data": "c2VjcmV0"}
    upstream = FakeUpstream(reply_of(CLAUDE, THOUGHT, redacted, SAID))
    async with open_server(upstream) as server:
        message = await ask(server, asked("claude-opus-4-8", is_stream=is_stream))
    assert message["content"] == [THOUGHT, redacted, SAID]


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("model", ["claude-opus-4-8", GLM])
async def test_thinking_of_another_vendor_is_kept_for_the_tool_loop(
    open_server: Any, model: str, is_stream: bool
) -> None:
    unsigned: Block = {"type": "thinking", "thinking": "And again."}
    upstream = FakeUpstream(reply_of(GLM, THOUGHT, SAID, CALL, unsigned, OTHER))
    nodes = {"nodes": {"main": {"model": GLM}}}
    async with open_server(upstream, settings=nodes) as server:
        message = await ask(server, asked(model, is_stream=is_stream))
        calls = [{**CALL, "id": "functions_Bash_0"}, OTHER]
        assert message["content"] == [SAID, *calls]
        assert not is_stream or message["devflow"]["model"] == GLM
        await ask(server, asked(model, *answered(message["content"]), is_stream=is_stream))
        assert sent_content(server) == [THOUGHT, SAID, calls[0], unsigned, calls[1]]
        assert sent_content(server, KIMI) == [SAID, *calls]


async def test_thinking_of_another_dialect_is_kept_as_well(open_server: Any) -> None:
    events: list[Event] = [
        Started(model="local/qwen"),
        ReasoningDelta(text="First ", index=0),
        ReasoningDelta(text="I look.", index=0),
        TextDelta(text="I look."),
        ToolCallDelta(index=0, id="call_2", name="Bash", arguments="{}"),
        Finished(finish_reason="tool_calls"),
    ]
    async with open_server(FakeUpstream(events)) as server:
        message = await ask(server, asked("local/qwen"))
        assert (message["model"], message["devflow"]) == (HOME_MODEL, {"model": "local/qwen"})
        assert [one["type"] for one in message["content"]] == ["text", "tool_use"]
        await ask(server, asked("local/qwen", *answered(message["content"])))
        turn = server.upstream.calls[-1].request.messages[1]
        assert isinstance(turn.parts[0], Reasoning)
        assert turn.parts[0].text == "First I look."


async def test_blocks_that_only_the_dialect_knows_close_the_gap(open_server: Any) -> None:
    search: Block = {
        "type": "web_search_tool_result",
        "tool_use_id": "s",
        "content": [{"index": 5}],
    }
    async with open_server(FakeUpstream(reply_of(GLM, THOUGHT, search, SAID))) as server:
        message = await ask(server, asked(GLM))
    assert message["content"] == [search, SAID]


async def test_kept_thinking_goes_to_its_own_caller_only(open_server: Any, fake_keys: Any) -> None:
    keys, body = fake_keys(one={}, two={}), asked(GLM)
    async with open_server(FakeUpstream(reply_of(GLM, THOUGHT, OTHER)), keys=keys) as server:
        message = await ask(server, body, authorization="Bearer one")
        turn = asked(GLM, *answered(message["content"]))
        await ask(server, turn, authorization="Bearer two")
        assert sent_content(server) == [OTHER]
        await ask(server, turn, authorization="Bearer one")
        assert sent_content(server) == [THOUGHT, OTHER]


async def test_other_clients_get_the_real_model_and_all_of_its_thinking(open_server: Any) -> None:
    agent = {"user-agent": "Anthropic/Python 2.14.0"}
    async with open_server(FakeUpstream(reply_of(GLM, THOUGHT, CALL))) as server:
        reply = await server.client.post(PATH, json=asked(GLM), headers=agent)
        message = message_in(reply.text)
        assert message["model"] == GLM
        assert [one["type"] for one in message["content"]] == ["thinking", "tool_use"]
        again = asked(GLM, *answered(message["content"]))
        await server.client.post(PATH, json=again, headers=agent)
        assert sent_content(server) == [THOUGHT, CALL]


async def test_thinking_sealed_by_an_older_gateway_is_understood(open_server: Any) -> None:
    async with open_server(FakeUpstream(reply_of(GLM, THOUGHT, OTHER))) as server:
        reply = await server.client.post(PATH, json=asked(GLM), headers={"user-agent": "sdk"})
        sealed = message_in(reply.text)["content"]
        assert sealed[0]["signature"].startswith("devflow1.")
        await ask(server, asked(GLM, *answered(sealed)))
        assert sent_content(server) == [THOUGHT, OTHER]
        assert sent_content(server, "anthropic/claude-opus-4.8") == [OTHER]


def test_what_is_kept_is_bounded() -> None:
    memory = ReasoningMemory(max_bytes=10_000)
    for number in range(50):
        memory.put("one", {f"call_{number}": (Reasoning(text="x" * 300),)})
        memory.put("one", {f"call_{number}": (Reasoning(text="y" * 300),)})
        memory.find("one", "call_0")
    assert memory.size_bytes <= 10_000
    assert memory.find("one", "call_0")[0].text == "y" * 300
    assert memory.find("one", "call_49")
    assert not memory.find("one", "call_1")
    memory.put("one", {"call_50": (Reasoning(text="z" * 9_000),)})
    assert memory.size_bytes <= 10_000
