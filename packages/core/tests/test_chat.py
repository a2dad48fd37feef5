"""Requests are immutable values, and replies are folds over events."""

from collections.abc import AsyncIterator

import pytest
from devflow_core.events import (
    Event,
    Finished,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.messages import Message, Reasoning, Text, ToolCall
from devflow_core.request import ChatRequest, Origin
from devflow_core.response import collect
from devflow_core.testing import a_request, reply_events, sse_frames


async def given(*events: Event) -> AsyncIterator[Event]:
    for event in events:
        yield event


def test_a_request_from_text_has_the_system_prompt_first() -> None:
    request = ChatRequest.from_text("Hi", system="Be brief.")
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.messages[0].text == "Be brief."


def test_other_messages_drop_the_body_of_the_origin_and_keep_its_wire() -> None:
    request = a_request(origin=Origin(wire="openai_chat", body={}))
    changed = request.with_messages((Message(role="user", parts=(Text(text="x"),)),))
    assert changed.origin == Origin(wire="openai_chat", body=None)
    assert request.origin is not None


def test_a_users_key_is_in_no_repr() -> None:
    assert "sk-or" not in repr(a_request(user_key="sk-or-v1-secret"))


async def test_interleaved_blocks_keep_their_order() -> None:
    response = await collect(
        given(
            Started(generation_id="gen-1"),
            ReasoningDelta(text="Let me "),
            ReasoningDelta(text="see.", signature="sig", detail={"type": "reasoning.text"}),
            TextDelta(text=""),
            TextDelta(text="First, "),
            TextDelta(text="look."),
            ToolCallDelta(index=0, id="t1", name="Read", arguments='{"path"'),
            ToolCallDelta(index=1, id="t2", name="Bash"),
            ToolCallDelta(index=0, arguments=':"a.py"}'),
            Opaque(kind="ping"),
            TextDelta(text="Then wait."),
            ReasoningDelta(index=1, encrypted="zzz"),
            Finished(finish_reason="tool_calls"),
        )
    )
    assert response.parts == (
        Reasoning(text="Let me see.", signature="sig", detail={"type": "reasoning.text"}),
        Text(text="First, look."),
        ToolCall(id="t1", name="Read", arguments='{"path":"a.py"}'),
        ToolCall(id="t2", name="Bash", arguments=""),
        Text(text="Then wait."),
        Reasoning(encrypted="zzz"),
    )
    assert [call.name for call in response.tool_calls] == ["Read", "Bash"]
    assert response.text == "First, look.Then wait."
    assert response.generation_id == "gen-1"


async def test_a_reply_that_is_cut_is_no_reply() -> None:
    with pytest.raises(ValueError, match="not finished"):
        await collect(given(*reply_events("half")[:-1]))


async def test_the_terminal_event_is_known() -> None:
    from devflow_core.response import Collector

    collector = Collector()
    assert collector.finished is None
    collector.add(Finished(finish_reason="stop"))
    assert collector.finished == Finished(finish_reason="stop")


def test_frames_are_built_as_a_wire_has_them() -> None:
    assert [frame.data for frame in sse_frames("[DONE]")] == [b"data: [DONE]\n\n"]
