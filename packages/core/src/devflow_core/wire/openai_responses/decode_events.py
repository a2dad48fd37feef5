"""Decodes replies in the responses dialect, streamed or whole, into events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from devflow_core.events import (
    Event,
    Finished,
    FinishReason,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
)
from devflow_core.messages import JsonObject, OpaquePart
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.decoding import FrameDecoder
from devflow_core.wire.errors import error_from_object
from devflow_core.wire.openai_responses.name import WIRE
from devflow_core.wire.openai_responses.tool_names import join_name, wrap_input
from devflow_core.wire.openai_usage import usage_from_openai
from devflow_core.wire.reasoning import vendor_tag
from devflow_core.wire.tool_calls import CallPieces
from devflow_core.wire.usage import has_bad_cost, parse_cost

_FRAME_EVENTS = frozenset(
    {"response.created", "response.queued", "response.in_progress", "response.content_part.added",
     "response.reasoning_summary_part.added", "ping", "keepalive"}
)  # fmt: skip
"""Events that carry no content; the reply has not begun while only these have come."""


class ResponsesDecoder(FrameDecoder):
    """Decodes replies in this dialect; every reply, streamed or whole, needs a new decoder.

    A streamed reply is complete only with its terminal event.
    """

    wire = WIRE

    def __init__(self, model: str | None = None) -> None:
        super().__init__(model)
        self._calls = CallPieces()
        self._streamed: set[int] = set()
        self._reasoning: dict[tuple[int, str], int] = {}
        self._vendor_tag: dict[str, Any] = {}

    def decode_response(self, body: dict[str, Any], raw: bytes) -> list[Event]:
        """Return the events of a whole reply.

        Raises:
            DevFlowError: the body is a failure, or not a reply.
        """
        output = body.get("output")
        if body.get("error") or not isinstance(output, list):
            if body.get("error"):
                raise error_from_object(body, model=self._model)
            raise self._protocol_error("a reply without output", raw)
        events: list[Event] = [self._start(body, raw)]
        for index, item in enumerate(lenient.as_objects(cast("list[Any]", output))):
            events.extend(self._decode_item(item, index))
        return [*events, *self._calls.flush(), self._finish(body, raw)]

    def _decode_end(self) -> Sequence[Event]:
        raise self._incomplete("its terminal event")

    def _decode_events(self, body: dict[str, Any], data: bytes) -> list[Event]:
        kind = str(body.get("type"))
        index = lenient.as_int(body.get("output_index"))
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                self._streamed.add(index)
                return [TextDelta(text=lenient.as_text(body.get("delta")) or "")]
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                self._streamed.add(index)
                text = lenient.as_text(body.get("delta")) or ""
                return [ReasoningDelta(text=text, index=self._reasoning_index(index, kind))]
            case "response.function_call_arguments.delta" if self._calls.has(index):
                self._streamed.add(index)
                piece = lenient.as_arguments(body.get("delta"))
                return self._add_piece(index, piece) or [_make_opaque(kind, body)]
            case "response.output_item.added":
                return self._decode_item_added(lenient.as_object(body.get("item")), index) or [
                    _make_opaque(kind, body)
                ]
            case "response.output_item.done":
                return self._decode_item_done(lenient.as_object(body.get("item")), index) or [
                    _make_opaque(kind, body)
                ]
            case "response.created" if not self._is_started:
                return [self._start(lenient.as_object(body.get("response")), data)]
            case "response.completed" | "response.incomplete":
                reply = lenient.as_object(body.get("response"))
                return [*self._calls.flush(), self._finish(reply, data)]
            case _:
                return [self._decode_other(kind, body)]

    def _decode_other(self, kind: str, body: JsonObject) -> Event:
        if kind in {"response.failed", "error"} or body.get("error"):
            reply = lenient.as_object(body.get("response"))
            fault = body.get("error") or reply.get("error") or body
            known = {"id": reply.get("id") or self._generation_id, "error": fault}
            error_type = body.get("error_type") or reply.get("error_type")
            raise error_from_object({**known, "error_type": error_type}, model=self._model)
        return _make_opaque(kind, body)

    def _start(self, reply: JsonObject, data: bytes) -> Started:
        self._is_started = True
        self._generation_id = lenient.as_text(reply.get("id"))
        model = lenient.as_text(reply.get("model"))
        self._vendor_tag = vendor_tag(model, "openai-responses-v1") if model else {}
        provider = lenient.as_text(reply.get("provider"))
        return Started(generation_id=self._generation_id, model=model, provider=provider)

    def _decode_item_added(self, item: JsonObject, index: int) -> list[Event]:
        return self._add_piece(index, "", item) if _is_call(item) else []

    def _add_piece(self, index: int, arguments: str, item: JsonObject | None = None) -> list[Event]:
        item = item or {}
        name = lenient.as_text(item.get("name"))
        piece = self._calls.add(
            index,
            lenient.as_text(item.get("call_id")),
            name and join_name(lenient.as_text(item.get("namespace")), name),
            arguments,
        )
        return [piece] if piece is not None else []

    def _decode_item_done(self, item: JsonObject, index: int) -> list[Event]:
        """Return the events for what an item holds beyond its deltas."""
        match item.get("type"):
            case "reasoning":
                return self._decode_reasoning_done(item, index)
            case "message" if index not in self._streamed:
                return [TextDelta(text=_join_text(item.get("content")))]
            case "function_call":
                is_streamed = index in self._streamed
                arguments = "" if is_streamed else lenient.as_arguments(item.get("arguments"))
                return self._add_piece(index, arguments, item)
            case "custom_tool_call":
                arguments = wrap_input(lenient.as_arguments(item.get("input")))
                return self._add_piece(index, arguments, item)
            case _:
                return []

    def _decode_reasoning_done(self, item: JsonObject, index: int) -> list[Event]:
        text = ""
        if index not in self._streamed:
            text = _join_text(item.get("summary")) + _join_text(item.get("content"))
        encrypted = lenient.as_text(item.get("encrypted_content"))
        if not text and encrypted is None:
            return []
        known = [one for (item_index, _), one in self._reasoning.items() if item_index == index]
        return [
            ReasoningDelta(
                text=text,
                index=known[0] if known else self._reasoning_index(index, "item"),
                encrypted=encrypted,
                detail={"type": "reasoning.encrypted", **self._vendor_tag, "id": item.get("id")},
            )
        ]

    def _reasoning_index(self, index: int, kind: str) -> int:
        return self._reasoning.setdefault((index, kind), len(self._reasoning))

    def _decode_item(self, item: JsonObject, index: int) -> list[Event]:
        return self._decode_item_added(item, index) + self._decode_item_done(item, index)

    def _finish(self, reply: JsonObject, data: bytes) -> Finished:
        self.finished = True
        status = lenient.as_text(reply.get("status")) or "completed"
        why = lenient.as_text(lenient.as_object(reply.get("incomplete_details")).get("reason"))
        usage = lenient.as_object(reply.get("usage"))
        return Finished(
            finish_reason=self._finish_reason(status, why),
            native_finish_reason=why or status,
            usage=usage_from_openai(usage),
            cost=parse_cost(usage, data),
            has_bad_cost=has_bad_cost(usage, data),
            raw_response=OpaquePart(wire=WIRE, body=reply) if reply.get("output") else None,
        )

    def _finish_reason(self, status: str, why: str | None) -> FinishReason:
        if status == "incomplete":
            return "content_filter" if why == "content_filter" else "length"
        return "tool_calls" if self._calls.count else "stop"


def _make_opaque(kind: str, body: JsonObject) -> Opaque:
    item = lenient.as_object(body.get("item"))
    is_frame = kind in _FRAME_EVENTS or lenient.as_text(item.get("type")) in {
        "message",
        "reasoning",
    }
    return Opaque(kind=kind, body=body, is_content=not is_frame)


def _is_call(item: JsonObject) -> bool:
    return lenient.as_text(item.get("type")) in {"function_call", "custom_tool_call"}


def _join_text(parts: object) -> str:
    pieces = lenient.as_objects(parts)
    return "".join(
        lenient.as_text(part.get("text")) or lenient.as_text(part.get("refusal")) or ""
        for part in pieces
    )
