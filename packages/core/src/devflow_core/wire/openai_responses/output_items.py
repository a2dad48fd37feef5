"""Writes output items of a streamed response: each added, filled and completed once, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from devflow_core.events import ReasoningDelta, TextDelta, ToolCallDelta
from devflow_core.ids import new_id
from devflow_core.messages import JsonObject, Reasoning
from devflow_core.wire import json_strict as strict
from devflow_core.wire.openai_responses.tool_names import WireTool, unwrap_input
from devflow_core.wire.reasoning import seal

Delta = TextDelta | ReasoningDelta | ToolCallDelta
Emit = Callable[..., bytes]
"""Encodes one event, given its type and, by keyword, its fields."""


def make_message_item(item_id: str, text: str, status: str = "completed") -> dict[str, Any]:
    """Return a message item of the assistant; its text is left out until it is `completed`."""
    content: list[dict[str, Any]] = [make_text_part(text)]
    return {
        "type": "message",
        "id": item_id,
        "role": "assistant",
        "status": status,
        "content": content if status == "completed" else [],
    }


def make_text_part(text: str) -> dict[str, Any]:
    """Return a text part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def make_call_item(
    item_id: str, call_id: str, tool: WireTool, arguments: str, status: str = "completed"
) -> dict[str, Any]:
    """Return a call item, in the form in which the client declared the tool."""
    form = (
        {"type": "custom_tool_call", "input": unwrap_input(arguments) if arguments else ""}
        if tool.is_custom
        else {"type": "function_call", "arguments": arguments}
    )
    return {
        **form,
        "id": item_id,
        "call_id": call_id,
        "name": tool.name,
        **strict.drop_none(namespace=tool.namespace),
        "status": status,
    }


def make_reasoning_item(item_id: str, thinking: Reasoning, model: str) -> dict[str, Any]:
    """Return a reasoning item; `encrypted_content`, if any, is sealed unless it is OpenAI's."""
    detail = thinking.detail or {}
    is_native = thinking.encrypted is not None and "openai" in str(detail.get("format"))
    needs_seal = thinking.encrypted is not None or thinking.signature is not None
    sealed = seal(thinking, model) if needs_seal else None
    return {
        "type": "reasoning",
        "id": detail.get("id") or item_id,
        "summary": [{"type": "summary_text", "text": thinking.text}] if thinking.text else [],
        **strict.drop_none(encrypted_content=thinking.encrypted if is_native else sealed),
    }


class MessageItem:
    """A message item while it is streamed."""

    def __init__(self, index: int, emit: Emit) -> None:
        self._id = new_id("msg")
        self._position: dict[str, Any] = {"output_index": index, "item_id": self._id}
        self._emit = emit
        self._texts: list[str] = []

    def begin(self) -> bytes:
        """Return the encoded events before the first piece."""
        item = make_message_item(self._id, "", "in_progress")
        position = {**self._position, "content_index": 0}
        return self._emit(
            "response.output_item.added", output_index=self._position["output_index"], item=item
        ) + self._emit("response.content_part.added", **position, part=make_text_part(""))

    def add_delta(self, delta: Delta) -> bytes:
        """Append a piece of text and return its encoded event."""
        assert isinstance(delta, TextDelta)  # noqa: S101 - items are chosen by the delta's type
        self._texts.append(delta.text)
        position = {**self._position, "content_index": 0}
        return self._emit("response.output_text.delta", **position, delta=delta.text, logprobs=[])

    def is_complete(self) -> bool:
        """Return whether another item may begin; always true."""
        return True

    def end(self) -> tuple[bytes, JsonObject]:
        """Return the encoded closing events, and the complete item."""
        text = "".join(self._texts)
        item = make_message_item(self._id, text)
        position = {**self._position, "content_index": 0}
        closing = (
            self._emit("response.output_text.done", **position, text=text, logprobs=[])
            + self._emit("response.content_part.done", **position, part=make_text_part(text))
            + self._emit(
                "response.output_item.done", output_index=self._position["output_index"], item=item
            )
        )
        return closing, item


class ReasoningItem:
    """A reasoning item while it is streamed."""

    def __init__(self, index: int, emit: Emit, model: str) -> None:
        self._id = new_id("rs")
        self._position: dict[str, Any] = {"output_index": index, "item_id": self._id}
        self._emit = emit
        self._model = model
        self._texts: list[str] = []
        self._signature: str | None = None
        self._encrypted: str | None = None
        self._detail: JsonObject | None = None

    def begin(self) -> bytes:
        """Return the encoded events before the first piece."""
        item: dict[str, Any] = {"type": "reasoning", "id": self._id, "summary": []}
        return self._emit(
            "response.output_item.added", output_index=self._position["output_index"], item=item
        )

    def add_delta(self, delta: Delta) -> bytes:
        """Append a piece and return its encoded events; empty if it has no text."""
        assert isinstance(delta, ReasoningDelta)  # noqa: S101 - items are chosen by the delta's type
        self._signature = delta.signature or self._signature
        self._encrypted = delta.encrypted or self._encrypted
        self._detail = delta.detail or self._detail
        if not delta.text:
            return b""
        position = {**self._position, "summary_index": 0}
        start = b""
        if not self._texts:
            part = {"type": "summary_text", "text": ""}
            start = self._emit("response.reasoning_summary_part.added", **position, part=part)
        self._texts.append(delta.text)
        return start + self._emit(
            "response.reasoning_summary_text.delta", **position, delta=delta.text
        )

    def is_complete(self) -> bool:
        """Return whether another item may begin; always true."""
        return True

    def end(self) -> tuple[bytes, JsonObject]:
        """Return the encoded closing events, and the complete item."""
        text = "".join(self._texts)
        thinking = Reasoning(
            text=text,
            signature=self._signature,
            encrypted=self._encrypted,
            detail={**(self._detail or {}), "id": self._id},
        )
        item = make_reasoning_item(self._id, thinking, self._model)
        position = {**self._position, "summary_index": 0}
        closing = b""
        if text:
            part = {"type": "summary_text", "text": text}
            closing = self._emit("response.reasoning_summary_text.done", **position, text=text)
            closing += self._emit("response.reasoning_summary_part.done", **position, part=part)
        index = self._position["output_index"]
        return closing + self._emit(
            "response.output_item.done", output_index=index, item=item
        ), item


class CallItem:
    """A call item while it is streamed; pieces of a free-form call wait until it is complete."""

    def __init__(self, index: int, emit: Emit, tools: dict[str, WireTool], first: Delta) -> None:
        assert isinstance(first, ToolCallDelta)  # noqa: S101 - items are chosen by the delta's type
        name = first.name or ""
        self._index = index
        self._emit = emit
        self._tool = tools.get(name) or WireTool(name=name)
        self._call_id = first.id or new_id("call")
        self._id = new_id("ctc" if self._tool.is_custom else "fc")
        self._arguments: list[str] = []

    def begin(self) -> bytes:
        """Return the encoded event before the first piece."""
        item = make_call_item(self._id, self._call_id, self._tool, "", "in_progress")
        return self._emit("response.output_item.added", output_index=self._index, item=item)

    def add_delta(self, delta: Delta) -> bytes:
        """Append a piece of the arguments and return its encoded event.

        Empty for a free-form call, and if the piece is empty.
        """
        assert isinstance(delta, ToolCallDelta)  # noqa: S101 - items are chosen by the delta's type
        self._arguments.append(delta.arguments)
        if not delta.arguments or self._tool.is_custom:
            return b""
        return self._emit(
            "response.function_call_arguments.delta",
            output_index=self._index, item_id=self._id, delta=delta.arguments,
        )  # fmt: skip

    def is_complete(self) -> bool:
        """Return whether the arguments are complete JSON."""
        try:
            orjson.loads("".join(self._arguments))
        except orjson.JSONDecodeError:
            return False
        return True

    def end(self) -> tuple[bytes, JsonObject]:
        """Return the encoded closing events, and the complete item."""
        item = make_call_item(self._id, self._call_id, self._tool, "".join(self._arguments) or "{}")
        position = {"output_index": self._index, "item_id": self._id}
        if self._tool.is_custom:
            kind = "response.custom_tool_call_input"
            arguments_events = self._emit(f"{kind}.delta", **position, delta=item["input"])
            arguments_events += self._emit(f"{kind}.done", **position, input=item["input"])
        else:
            arguments_events = self._emit(
                "response.function_call_arguments.done",
                **position, name=self._tool.name, arguments=item["arguments"],
            )  # fmt: skip
        closing = self._emit("response.output_item.done", output_index=self._index, item=item)
        return arguments_events + closing, item


OutputItem = MessageItem | ReasoningItem | CallItem
