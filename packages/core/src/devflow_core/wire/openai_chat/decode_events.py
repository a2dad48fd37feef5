"""Decodes replies in the chat completions dialect, streamed or whole, into events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devflow_core.events import (
    Event,
    Finished,
    FinishReason,
    Frame,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    has_content,
)
from devflow_core.messages import JsonObject
from devflow_core.usage import ReportedCost, ReportedUsage, Usage
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.decoding import FrameDecoder
from devflow_core.wire.errors import error_from_object
from devflow_core.wire.openai_chat.chunk_repair import ChunkRepair, repair_call
from devflow_core.wire.openai_chat.name import WIRE
from devflow_core.wire.openai_chat.raw_response import Extras
from devflow_core.wire.openai_usage import usage_from_openai
from devflow_core.wire.sse import SseFrame
from devflow_core.wire.tool_calls import CallPieces
from devflow_core.wire.usage import has_bad_cost, parse_cost

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}
_FRAME_FIELDS = frozenset({"role", "content"})
"""Fields that a delta may hold without content."""


class ChatDecoder(FrameDecoder):
    """Decodes replies in this dialect; every reply, streamed or whole, needs a new decoder."""

    wire = WIRE

    def __init__(self, model: str | None = None) -> None:
        super().__init__(model)
        self._finish_reason: FinishReason | None = None
        self._native_finish_reason: str | None = None
        self._wire_finish_reason: str | None = None
        self._usage: Usage | None = None
        self._cost: ReportedCost | None = None
        self._has_bad_cost = False
        self._has_text = False
        self._has_refusal = False
        self._calls = CallPieces()
        self._repair = ChunkRepair()
        self._has_repaired_call = False
        self._reasoning = _ReasoningIndex()
        self._extras = Extras()

    def decode_response(self, body: dict[str, Any], raw: bytes) -> list[Event]:
        """Return the events of a whole reply, with its message as one large delta.

        Raises:
            DevFlowError: the body is a failure, or not a reply.
        """
        choices = body.get("choices")
        if "error" not in body and not (isinstance(choices, list) and choices):
            raise self._protocol_error("a reply without choices", raw)
        return [*self._decode_events(body, raw, "message"), *self._finish(None)]

    def _decode_body(self, body: dict[str, Any], data: bytes, frame: SseFrame) -> Sequence[Event]:
        # nearly every chunk is one more piece of text, and takes a shortcut
        delta = _parse_plain_delta(body)
        if delta is not None and self._is_started:
            self._has_text = True
            text, raw = delta["content"], frame.raw
            if len(delta) > 1 or not self._repair.has_begun:
                raw = self._repair.repair_text(body, frame)
            return (TextDelta(text=text, frame=Frame(wire=WIRE, data=raw)),)
        return super()._decode_body(body, data, frame)

    def _decode_events(self, body: dict[str, Any], data: bytes, key: str = "delta") -> list[Event]:
        chunk = body
        if chunk.get("error"):
            raise error_from_object(chunk, model=self._model)
        events: list[Event] = []
        if not self._is_started:
            events.append(self._start(chunk, data))
        choice = _first_choice(chunk)
        delta = lenient.as_object(choice.get(key))
        self._decode_delta(delta, events)
        self._record_finish(choice)
        self._extras.add_chunk(chunk, choice, delta)
        reported = self._record_usage(lenient.as_object(chunk.get("usage")), data)
        is_content = any(delta[key] for key in delta if key not in _FRAME_FIELDS)
        is_unsaid = not events or (is_content and not any(map(has_content, events)))
        if is_unsaid or reported is not None:
            kind = self._opaque_kind(chunk, choice)
            is_content = is_content and is_unsaid
            events.append(Opaque(kind=kind, body=chunk, is_content=is_content, reported=reported))
        return events

    def _record_usage(self, usage: JsonObject, data: bytes) -> ReportedUsage | None:
        """Record the usage and return it with its cost; None if the chunk has none.

        Some providers send it several times; the last report counts.
        """
        if not usage:
            return None
        self._usage = usage_from_openai(usage) or self._usage
        self._cost = parse_cost(usage, data) or self._cost
        self._has_bad_cost = has_bad_cost(usage, data)
        return ReportedUsage(usage=self._usage, cost=self._cost, has_bad_cost=self._has_bad_cost)

    def _start(self, reply: JsonObject, data: bytes) -> Started:
        self._is_started = True
        self._generation_id = lenient.as_text(reply.get("id"))
        return Started(
            generation_id=self._generation_id,
            model=lenient.as_text(reply.get("model")),
            provider=lenient.as_text(reply.get("provider")),
        )

    def _decode_delta(self, delta: JsonObject, events: list[Event]) -> None:
        self._reasoning.read(delta, events)
        content = delta.get("content")
        if isinstance(content, str) and content:
            self._has_text = True
            events.append(TextDelta(text=content))
        elif not self._has_text:
            self._decode_substitute(delta, events)
        for call in lenient.as_objects(delta.get("tool_calls")):
            self._decode_call(call, events)

    def _decode_substitute(self, delta: JsonObject, events: list[Event]) -> None:
        """Decode content that replaces the text: a refusal, or the transcript of spoken audio."""
        refusal = lenient.as_text(delta.get("refusal"))
        self._has_refusal = self._has_refusal or refusal is not None
        spoken = lenient.as_text(lenient.as_object(delta.get("audio")).get("transcript"))
        if text := refusal or spoken:
            events.append(TextDelta(text=text))

    def _passed_bytes(self, body: dict[str, Any], frame: SseFrame) -> bytes:
        has_changed, self._has_repaired_call = self._has_repaired_call, False
        return self._repair.repair(body, frame, has_changed=has_changed)

    def _decode_call(self, call: JsonObject, events: list[Event]) -> None:
        function = lenient.as_object(call.get("function"))
        call_id, name = lenient.as_text(call.get("id")), lenient.as_text(function.get("name"))
        known = self._calls.find(call.get("index"), call_id, name)
        if repair_call(call, known.index, known.id, known.name):
            self._has_repaired_call = True
        arguments = lenient.as_arguments(function.get("arguments"))
        piece = self._calls.add_to(known, call_id, name, arguments)
        if piece is not None:
            events.append(piece)

    def _record_finish(self, choice: JsonObject) -> None:
        reason = choice.get("finish_reason")
        # the first one counts, as for clients of this dialect, unless the reply fails after it
        is_first = self._finish_reason is None or reason == "error"
        if isinstance(reason, str) and reason and is_first:
            self._finish_reason = _FINISH_REASONS.get(reason, "stop")
            self._wire_finish_reason = reason
            self._native_finish_reason = (
                lenient.as_text(choice.get("native_finish_reason")) or reason
            )

    def _opaque_kind(self, chunk: JsonObject, choice: JsonObject) -> str:
        if lenient.as_object(chunk.get("usage")):
            return "usage"
        return "finish" if choice.get("finish_reason") else "chunk"

    def _decode_done(self, frame: SseFrame) -> Sequence[Event]:
        return self._finish(Frame(wire=WIRE, data=frame.raw))

    def _decode_end(self) -> Sequence[Event]:
        return self._finish(None)

    def _finish(self, frame: Frame | None) -> Sequence[Event]:
        if self._finish_reason is None:
            raise self._incomplete("a finish reason")
        if self._finish_reason == "error":
            raise error_from_object(
                {"id": self._generation_id, "error": {"message": "the reply ended in an error"}},
                model=self._model,
            )
        self.finished = True
        is_refused = self._has_refusal and self._finish_reason == "stop"
        reason = "content_filter" if is_refused else self._finish_reason
        if self._wire_finish_reason in _FINISH_REASONS and self._wire_finish_reason != reason:
            self._extras.set_finish_reason(self._wire_finish_reason)
        return (
            *self._calls.flush(),
            Finished(
                finish_reason=reason,
                native_finish_reason=self._native_finish_reason,
                usage=self._usage,
                cost=self._cost,
                has_bad_cost=self._has_bad_cost,
                raw_response=self._extras.to_raw_response(),
                frame=frame,
            ),
        )


class _ReasoningIndex:
    """Numbers blocks of reasoning: fragments with the same (index, type) form one block."""

    def __init__(self) -> None:
        self._by_wire_index: dict[tuple[object, str], int] = {}
        self._details: dict[int, dict[str, Any]] = {}

    def read(self, delta: JsonObject, events: list[Event]) -> None:
        deltas = [
            self._decode_fragment(one) for one in lenient.as_objects(delta.get("reasoning_details"))
        ]
        plain = lenient.as_text(delta.get("reasoning")) or lenient.as_text(
            delta.get("reasoning_content")
        )
        if plain and not any(one.text for one in deltas):
            # the details hold only encrypted content, or there are none
            events.append(
                ReasoningDelta(text=plain, index=self._assign_index("plain", "reasoning.text"))
            )
        events.extend(deltas)

    def _decode_fragment(self, fragment: JsonObject) -> ReasoningDelta:
        index = self._assign_index(lenient.as_int(fragment.get("index")), str(fragment.get("type")))
        known = self._details.get(index)
        # the fields of the block besides its text, kept so that it can be sent back whole
        detail = {
            key: value
            for key, value in fragment.items()
            if key not in {"text", "summary", "data", "signature"} and value is not None
        }
        is_new = known is None or not detail.items() <= known.items()
        if is_new:
            detail = self._details[index] = {**(known or {}), **detail}
        return ReasoningDelta(
            text=lenient.as_text(fragment.get("text"))
            or lenient.as_text(fragment.get("summary"))
            or "",
            index=index,
            signature=lenient.as_text(fragment.get("signature")),
            encrypted=lenient.as_text(fragment.get("data")),
            detail=detail if is_new else None,
        )

    def _assign_index(self, wire_index: object, kind: str) -> int:
        return self._by_wire_index.setdefault((wire_index, kind), len(self._by_wire_index))


def _parse_plain_delta(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """Return the delta of a chunk that holds only text, as nearly all do; None for any other."""
    try:
        (choice,) = chunk["choices"]
        if choice.get("finish_reason") is not None or "usage" in chunk or "error" in chunk:
            return None
        delta = choice["delta"]
        content = delta["content"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not content or type(content) is not str or len(delta) > 2 or "index" not in choice:
        return None
    if (len(delta) == 2 and "role" not in delta) or choice.get("logprobs") is not None:
        return None
    return delta if choice["index"] == 0 else None


def _first_choice(chunk: JsonObject) -> JsonObject:
    """Return the choice with index 0; the gateway never asks for more."""
    for choice in lenient.as_objects(chunk.get("choices")):
        if not choice.get("index"):
            return choice
    return {}
