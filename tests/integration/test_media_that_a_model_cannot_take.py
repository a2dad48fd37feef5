"""Media that a named model cannot take become notes, unless the newest message asks about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from devflow_core.messages import Media, Message, Text
from devflow_core.request import ChatRequest
from devflow_core.settings import Settings
from devflow_core.wire import DIALECTS
from devflow_openrouter.gateway import OpenRouterGateway
from dialect_samples import samples_of
from integration.doors import KEY, Installation
from integration.upstream_door import failed, open_door, streamed

BLIND, SEEING = "z-ai/glm-5", "anthropic/claude-haiku-4.5"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
PDF = "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmo8PC9MZW5ndGg+PgpzdHJlYW0="
NOTE = "[image left out: image/png]"
OMITTED = "images that the model cannot take"
CLAUDE_CODE = {"user-agent": "claude-cli/2.1.332 (external, cli)"}
Turns = list[dict[str, Any]]


def anthropic_turns(media: dict[str, Any] | None = None) -> Turns:
    """A question with an image, and a tool's result with one; the newest message is text."""
    image = media or {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
    }
    call: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}
    return [
        {"role": "user", "content": [image, {"type": "text", "text": "See this."}]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "What now?"}]},
    ]


def chat_turns() -> Turns:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    return [
        {"role": "user", "content": [image, {"type": "text", "text": "See this."}]},
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": [image]},
        {"role": "assistant", "content": "The same."},
        {"role": "user", "content": "What now?"},
    ]


def response_items() -> Turns:
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
    text = {"type": "input_text", "text": "See this."}
    return [
        {"role": "user", "content": [image, text]},
        {"type": "function_call", "call_id": "c1", "name": "Read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [image]},
        {"role": "user", "content": "What now?"},
    ]


HISTORIES: dict[str, dict[str, Any]] = {
    "anthropic_messages": {"messages": anthropic_turns()},
    "openai_chat": {"messages": chat_turns()},
    "openai_responses": {"input": response_items()},
}
QUESTIONS: dict[str, dict[str, Any]] = {
    "anthropic_messages": {"messages": anthropic_turns()[:1]},
    "openai_chat": {"messages": chat_turns()[:1]},
    "openai_responses": {"input": response_items()[:1]},
}


def hello(wire: str) -> Any:
    return streamed(*samples_of(wire).hello)


@pytest.mark.parametrize("wire", DIALECTS)
async def test_in_the_history_they_become_notes(tmp_path: Path, wire: str) -> None:
    async with open_door(tmp_path, hello(wire)) as door:
        for is_stream in (True, False):
            reply = await door.send(wire, stream=is_stream, model=BLIND, **HISTORIES[wire])
            assert (reply.status_code, "Hello" in reply.text) == (200, True)
            assert reply.headers["x-devflow-omitted"] == OMITTED
            sent = orjson.dumps(door.upstream.bodies[-1]).decode()
            assert (sent.count(NOTE), PIXEL in sent) == (2, False)
            assert "See this." in sent
            assert "What now?" in sent
        seen = await door.send(wire, stream=False, model=SEEING, **HISTORIES[wire])
        assert "x-devflow-omitted" not in seen.headers
        assert orjson.dumps(door.upstream.bodies[-1]).decode().count(PIXEL) == 2


@pytest.mark.parametrize("wire", DIALECTS)
async def test_the_newest_message_is_not_answered_blindly(tmp_path: Path, wire: str) -> None:
    async with open_door(tmp_path, hello(wire)) as door:
        refused = await door.send(wire, stream=True, model=BLIND, **QUESTIONS[wire])
        assert refused.status_code == 400
        assert f"{BLIND} cannot take images" in refused.json()["error"]["message"]
        assert door.upstream.bodies == []
        chosen = await door.send(wire, stream=False, model="auto", **QUESTIONS[wire])
        assert chosen.status_code == 200
        assert PIXEL in orjson.dumps(door.upstream.bodies[-1]).decode()


@pytest.mark.parametrize("question", [anthropic_turns()[:1], anthropic_turns()[:1] * 2])
async def test_claude_code_goes_on_whatever_its_newest_message_holds(
    tmp_path: Path, question: Turns
) -> None:
    wire = "anthropic_messages"
    async with open_door(tmp_path, hello(wire)) as door:
        reply = await door.send(
            wire, stream=True, model=BLIND, messages=question, headers=CLAUDE_CODE
        )
        assert (reply.status_code, reply.headers["x-devflow-omitted"]) == (200, OMITTED)
        assert NOTE in orjson.dumps(door.upstream.bodies[-1]).decode()


PICTURE = anthropic_turns()[0]["content"]
SINCE = {"type": "text", "text": "What now?"}


@pytest.mark.parametrize(
    ("later", "status"),
    [
        ([*PICTURE, SINCE], 200),
        (PICTURE, 400),
        ([PICTURE[0], SINCE], 400),
        ([*PICTURE, SINCE, PICTURE[0]], 400),
    ],
    ids=["text behind it", "the same again", "another question", "an image behind it"],
)
async def test_a_refused_question_with_more_behind_it_goes_on(
    tmp_path: Path, later: list[dict[str, Any]], status: int
) -> None:
    # some clients put all that a user has said since the last reply into one message
    async with open_door(tmp_path, hello("anthropic_messages")) as door:
        refused, reply, alike = [
            await door.send(
                "anthropic_messages",
                stream=False,
                model=BLIND,
                messages=[{"role": "user", "content": content}],
            )
            for content in (PICTURE, later, later)
        ]
    assert (refused.status_code, reply.status_code, alike.status_code) == (400, status, status)
    if status == 200:
        assert reply.headers["x-devflow-omitted"] == OMITTED
        sent = orjson.dumps(door.upstream.bodies).decode()
        assert (PIXEL in sent, NOTE in sent, SINCE["text"] in sent) == (False, True, True)


async def test_an_image_that_a_tool_returned_is_no_question(tmp_path: Path) -> None:
    turns = anthropic_turns()
    turns[2]["content"] = turns[2]["content"][:1]
    async with open_door(tmp_path, hello("anthropic_messages")) as door:
        reply = await door.send("anthropic_messages", stream=False, model=BLIND, messages=turns)
        assert (reply.status_code, reply.headers["x-devflow-omitted"]) == (200, OMITTED)


async def test_each_model_of_a_chain_gets_what_it_can_take(tmp_path: Path) -> None:
    wire, busy = "anthropic_messages", failed(b'{"error":{"message":"busy","code":404}}', 404)
    async with open_door(
        tmp_path, busy, hello(wire), fallbacks={SEEING: [BLIND]}, max_retries=1
    ) as door:
        reply = await door.send(wire, stream=False, model=SEEING, **HISTORIES[wire])
        assert (reply.status_code, door.upstream.models) == (200, [SEEING, BLIND])
        first, second = (orjson.dumps(one).decode() for one in door.upstream.bodies)
        assert (first.count(PIXEL), second.count(PIXEL), second.count(NOTE)) == (2, 0, 2)
        assert reply.headers["x-devflow-omitted"] == OMITTED


async def test_a_model_that_sees_is_not_followed_by_one_that_answers_blindly(
    tmp_path: Path,
) -> None:
    wire, busy = "anthropic_messages", failed(b'{"error":{"message":"busy","code":404}}', 404)
    async with open_door(tmp_path, busy, fallbacks={SEEING: [BLIND]}, max_retries=1) as door:
        reply = await door.send(wire, stream=False, model=SEEING, **QUESTIONS[wire])
        assert (reply.status_code, door.upstream.models) == (404, [SEEING])


async def test_the_rest_of_the_request_stays(tmp_path: Path) -> None:
    marker = {"cache_control": {"type": "ephemeral"}}
    image = {**anthropic_turns()[0]["content"][0], **marker}
    tools = [{"name": "Read", "input_schema": {"type": "object"}}]
    turns = anthropic_turns(image)
    async with open_door(tmp_path, hello("anthropic_messages")) as door:
        await door.send(
            "anthropic_messages", stream=False, model=BLIND, messages=turns, tools=tools, top_k=3
        )
        (body,) = door.upstream.bodies
    note = {"type": "text", "text": NOTE, **marker}
    assert body["messages"][0]["content"] == [note, {"type": "text", "text": "See this."}]
    assert body["messages"][1] == turns[1]
    assert body["messages"][2]["content"][0]["content"] == [note]
    assert (body["tools"][0]["name"], body["top_k"]) == ("Read", 3)


DOCUMENT = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
}


async def test_a_document_is_passed_on_since_the_provider_reads_it(tmp_path: Path) -> None:
    turns = anthropic_turns(DOCUMENT)
    async with open_door(tmp_path, hello("anthropic_messages")) as door:
        for messages in (turns, turns[:1]):
            reply = await door.send(
                "anthropic_messages", stream=False, model=BLIND, messages=messages
            )
            assert reply.status_code == 200
            assert PDF in orjson.dumps(door.upstream.bodies[-1]).decode()
            assert "x-devflow-omitted" not in reply.headers


async def test_claude_code_does_not_pay_for_a_document_in_every_request(tmp_path: Path) -> None:
    limited = {**CLAUDE_CODE, "x-devflow-max-cost-usd": "1"}  # reading one may cost 2.2 USD
    asked: dict[str, Any] = {
        "stream": False,
        "messages": anthropic_turns(DOCUMENT),
        "headers": limited,
    }
    async with open_door(tmp_path, hello("anthropic_messages")) as door:
        reply = await door.send("anthropic_messages", model=BLIND, **asked)
        assert (reply.status_code, reply.headers["x-devflow-omitted"]) == (
            200,
            "documents that the model cannot take",
        )
        sent = orjson.dumps(door.upstream.bodies[-1]).decode()
        assert (sent.count("[document left out: application/pdf]"), PDF in sent) == (2, False)
        await door.send("anthropic_messages", model=SEEING, **asked)
        assert PDF in orjson.dumps(door.upstream.bodies[-1]).decode()


async def test_notes_do_not_fill_the_window(tmp_path: Path) -> None:
    turns = [*chat_turns()[:2] * 300, chat_turns()[-1]]  # 480,000 tokens for a model that sees
    async with open_door(tmp_path, hello("openai_chat")) as door:
        reply = await door.send("openai_chat", stream=False, model=BLIND, messages=turns)
        assert reply.status_code == 200


async def test_python_and_the_command_line_say_so(tmp_path: Path) -> None:
    image = Media(kind="image", media_type="image/png", base64=PIXEL)
    messages = (
        Message(role="user", parts=(image,)),
        Message(role="assistant", parts=(Text(text="I see."),)),
        Message(role="user", parts=(Text(text="What now?"),)),
    )
    async with open_door(tmp_path, hello("openai_chat")) as door:
        settings = Settings.load({}, None, base_url=door.settings.base_url, api_key=KEY)
        async with OpenRouterGateway(settings, ledger="memory") as gateway:
            request = ChatRequest(model=BLIND, messages=messages)
            async with gateway.stream(request) as reply:
                assert [type(event).__name__ async for event in reply][-1] == "Finished"
        assert reply.journal.omitted == (OMITTED,)
        assert NOTE in orjson.dumps(door.upstream.bodies[-1]).decode()
    here = Installation(home=tmp_path / "home", folder=tmp_path / "folder")
    file = here.folder / "request.json"
    file.write_bytes(orjson.dumps({"model": BLIND, **HISTORIES["openai_chat"]}))
    shown = here.run("explain", "--request", str(file))
    assert f"{BLIND} gets notes in the place of: image" in shown.stdout, shown.stderr
