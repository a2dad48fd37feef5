"""Edge cases of replies in a form that the client can later send to Anthropic."""

from __future__ import annotations

from typing import Any

import orjson
from devflow_core.events import Opaque, Started, ToolCallDelta
from devflow_core.media_notes import replace_media
from devflow_core.messages import Media, Message, Reasoning, Text, ToolCall
from devflow_core.request import ChatRequest, Origin
from devflow_core.wire.anthropic_messages.resumable import (
    ResumableFrames,
    filter_blocks,
    filter_parts,
    restore_reasoning,
)
from devflow_core.wire.openai_chat.chunk_repair import ChunkRepair
from devflow_core.wire.sse import SseFrame, SseReader

KEPT = (Reasoning(text="why"),)


def test_a_call_without_a_block_passes() -> None:
    frames = ResumableFrames("claude-x")
    frames.rewrite(Started(model="a/b"), b'event: x\ndata: {"message":{"model":"a/b"}}\n\n')
    raw = b'event: x\ndata: {"type":"content_block_start","index":0}\n\n'
    sent = frames.rewrite(ToolCallDelta(index=0, id="call:1", name="f"), raw)
    assert SseReader().feed(sent)[0].data == b'{"type":"content_block_start","index":0}'
    opaque = Opaque(kind="x", body={})
    start = frames.rewrite(opaque, b'data: {"message":7}\n\n')
    assert start == b'data: {"message":7}\n\n'


def test_only_signed_reasoning_of_anthropic_stays_in_a_whole_reply() -> None:
    signed = Reasoning(text="a", signature="s", detail={"format": "anthropic-claude-v1"})
    parts = (signed, Reasoning(text="b"), Text(text="c"))
    assert filter_parts(parts, "anthropic/claude-opus-5") == (signed, Text(text="c"))
    assert filter_parts(parts, "z-ai/glm-5") == (Text(text="c"),)


def test_blocks_of_a_whole_reply_are_left_out_and_cleaned_alike() -> None:
    blocks = [{"type": "thinking", "thinking": "a"}, {"type": "tool_use", "id": "c:1"}]
    foreign = filter_blocks(blocks, "z-ai/glm-5")
    assert [one["type"] for one in foreign] == ["tool_use"]
    assert ":" not in foreign[0]["id"]
    own = filter_blocks(blocks, "anthropic/claude-opus-5")
    assert [one["type"] for one in own] == ["thinking", "tool_use"]


def test_reasoning_goes_back_with_and_without_a_body() -> None:
    call = ToolCall(id="c1", name="f", arguments="{}")
    spoken = (
        Message(role="user", parts=(Text(text="q"),)),
        Message(role="assistant", parts=(call,)),
    )
    request = ChatRequest(model="a/b", messages=spoken)
    restored = restore_reasoning(request, lambda _: KEPT)
    assert restored.messages[1].parts == (*KEPT, call)
    block: dict[str, Any] = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    bodies: list[dict[str, Any]] = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [block]},
    ]
    origin = Origin(wire="anthropic_messages", body={"messages": bodies})
    hidden = (Reasoning(encrypted="e"),)
    restored = restore_reasoning(
        ChatRequest(model="a/b", messages=spoken, origin=origin), lambda _: hidden
    )
    assert restored.origin is not None
    assert restored.origin.body is not None
    assert restored.origin.body["messages"][1]["content"][0]["type"] == "redacted_thinking"


def test_media_that_a_model_takes_stay_in_their_place() -> None:
    picture = Media(kind="image", media_type="image/png", base64="AAAA")
    parts = (picture, Media(kind="file", media_type="application/pdf", base64="AAAA"))
    request = ChatRequest(model="a/b", messages=(Message(role="user", parts=parts),))
    (message,) = replace_media(request, {"file"}).messages
    assert message.parts[0] is picture


def test_a_role_that_stands_anywhere_in_its_delta_is_cut() -> None:
    repair = ChunkRepair()
    for delta, left in (
        (b'{"role":"assistant","content":"a"}', b'{"role":"assistant","content":"a"}'),
        (b'{"role":"assistant","content":"b"}', b'{"content":"b"}'),
        (b'{"content":"c","role":"assistant"}', b'{"content":"c"}'),
        (b'{"role":"assistant"}', b"{}"),
        (b'{"content":"d"}', b'{"content":"d"}'),
    ):
        raw = b'data: {"choices":[{"index":0,"delta":%b}]}\n\n' % delta
        (frame,) = SseReader().feed(raw)
        sent = repair.repair_text(orjson.loads(frame.data or b""), frame)
        assert sent == raw.replace(delta, left)
    assert isinstance(frame, SseFrame)
