"""Decodes replies in Anthropic's dialect, streamed or whole, into events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from devflow_core.events import (
    Event,
    Finished,
    FinishReason,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.messages import JsonObject
from devflow_core.usage import ReportedCost, ReportedUsage
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.anthropic_messages.content_collector import ContentCollector
from devflow_core.wire.anthropic_messages.name import WIRE
from devflow_core.wire.anthropic_messages.usage import decode_iterations, sum_of_usage
from devflow_core.wire.decoding import FrameDecoder
from devflow_core.wire.errors import error_from_object
from devflow_core.wire.reasoning import ANTHROPIC_FORMAT, vendor_tag
from devflow_core.wire.usage import has_bad_cost, parse_cost

# a reason that is unknown counts as `stop`
_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_EVENTS_WITHOUT_CONTENT = frozenset({"ping", "content_block_stop"})


class MessagesDecoder(FrameDecoder):
    """Decodes replies in this dialect; every reply, streamed or whole, needs a new decoder."""

    wire = WIRE

    def __init__(self, model: str | None = None) -> None:
        super().__init__(model)
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._cost: ReportedCost | None = None
        self._has_bad_cost = False
        self._content = ContentCollector()
        self._calls: dict[int, int] = {}
        self._whole_inputs: dict[int, str] = {}
        self._vendor_tag: dict[str, Any] = {"format": ANTHROPIC_FORMAT}

    def decode_response(self, body: dict[str, Any], raw: bytes) -> list[Event]:
        """Return the events of a whole reply.

        Raises:
            DevFlowError: the body is a failure, or not a reply.
        """
        if body.get("type") == "error" or body.get("error"):
            raise error_from_object(body, model=self._model)
        blocks = body.get("content")
        if not isinstance(blocks, list):
            raise self._protocol_error("a reply without content", raw)
        # the counts of a whole reply are its final ones, so `Started` must not report them
        events: list[Event] = [replace(self._start(body, raw), reported=None)]
        for index, block in enumerate(lenient.as_objects(cast("list[Any]", blocks))):
            events.append(self._decode_block_start(block, index, is_complete=True))
        self._record_end(body, raw)
        return [*events, self._finish()]

    def _decode_events(self, body: dict[str, Any], data: bytes) -> list[Event]:
        event = self._decode_event(body, data)
        is_early_ping = not self._is_started and isinstance(event, Opaque) and event.kind == "ping"
        return [] if is_early_ping else [event]

    def _decode_end(self) -> Sequence[Event]:
        return (self._finish(),)

    def _decode_event(self, body: JsonObject, data: bytes) -> Event:
        kind = body.get("type")
        match kind:
            case "content_block_delta":
                return self._decode_delta(body)
            case "content_block_start":
                return self._decode_block_start(
                    lenient.as_object(body.get("content_block")), lenient.as_int(body.get("index"))
                )
            case "message_start":
                return self._start(lenient.as_object(body.get("message")), data)
            case "message_delta":
                self._record_end(
                    {**lenient.as_object(body.get("delta")), "usage": body.get("usage")}, data
                )
                if not body.get("usage"):
                    return Opaque(kind="finish", body=body)
                return Opaque(kind="usage", body=body, reported=self._reported())
            case "message_stop":
                return self._finish()
            case _:
                return self._decode_other(str(kind), body)

    def _decode_other(self, kind: str, body: JsonObject) -> Event:
        index = lenient.as_int(body.get("index"))
        if kind == "error" or "error" in body:
            known = {"id": self._generation_id} if self._generation_id else {}
            raise error_from_object({**known, **body}, model=self._model)
        if kind == "content_block_stop" and index in self._whole_inputs:
            return ToolCallDelta(index=self._calls[index], arguments=self._whole_inputs.pop(index))
        return Opaque(kind=kind, body=body, is_content=kind not in _EVENTS_WITHOUT_CONTENT)

    def _start(self, reply: JsonObject, data: bytes) -> Started:
        self._is_started = True
        self._generation_id = lenient.as_text(reply.get("id"))
        model = lenient.as_text(reply.get("model"))
        self._vendor_tag = vendor_tag(model, ANTHROPIC_FORMAT)
        self._record_usage(reply.get("usage"), data)
        return Started(
            generation_id=self._generation_id,
            model=model,
            provider=lenient.as_text(reply.get("provider")),
            reported=self._reported() if self._usage else None,
        )

    def _decode_block_start(
        self, block: JsonObject, index: int, is_complete: bool = False
    ) -> Event:
        self._content.add_block(index, block)
        match block.get("type"):
            case "tool_use":
                return self._decode_call(block, index, is_complete=is_complete)
            case "thinking":
                return ReasoningDelta(
                    text=lenient.as_text(block.get("thinking")) or "",
                    index=index,
                    signature=lenient.as_text(block.get("signature")),
                    detail={"type": "reasoning.text", **self._vendor_tag},
                )
            case "redacted_thinking":
                return ReasoningDelta(
                    index=index,
                    encrypted=lenient.as_text(block.get("data")),
                    detail={"type": "reasoning.encrypted", **self._vendor_tag},
                )
            case "text" if block.get("text"):
                return TextDelta(text=str(block["text"]))
            case _:
                is_content = lenient.as_text(block.get("type")) not in {"text", None}
                return Opaque(kind="content_block_start", body=block, is_content=is_content)

    def _decode_call(self, block: JsonObject, index: int, *, is_complete: bool) -> ToolCallDelta:
        """Decode the start of a call.

        Arguments in the start of a streamed call are held back, since later pieces may replace
        them.
        """
        call = self._calls.setdefault(index, len(self._calls))
        arguments = lenient.as_arguments(block.get("input"))
        if not is_complete:
            if arguments not in {"", "{}"}:
                self._whole_inputs[index] = arguments
            arguments = ""
        elif not arguments:
            arguments = "{}"
        return ToolCallDelta(
            index=call,
            id=lenient.as_text(block.get("id")),
            name=lenient.as_text(block.get("name")),
            arguments=arguments,
        )

    def _decode_delta(self, body: JsonObject) -> Event:
        delta = lenient.as_object(body.get("delta"))
        index = lenient.as_int(body.get("index"))
        self._content.add_delta(index, delta)
        match delta.get("type"):
            case "text_delta":
                return TextDelta(text=lenient.as_text(delta.get("text")) or "")
            case "input_json_delta" if index in self._calls:
                piece = lenient.as_arguments(delta.get("partial_json"))
                if piece:
                    self._whole_inputs.pop(index, None)
                return ToolCallDelta(index=self._calls[index], arguments=piece)
            case "thinking_delta":
                text = lenient.as_text(delta.get("thinking")) or ""
                return ReasoningDelta(text=text, index=index)
            case "signature_delta":
                return ReasoningDelta(
                    index=index, signature=lenient.as_text(delta.get("signature"))
                )
            case _:
                return Opaque(kind="content_block_delta", body=body, is_content=True)

    def _record_end(self, end: JsonObject, data: bytes) -> None:
        self._stop_reason = lenient.as_text(end.get("stop_reason")) or self._stop_reason
        self._content.add_fields(end)
        self._record_usage(end.get("usage"), data)

    def _record_usage(self, usage: object, data: bytes) -> None:
        """Record the usage: later figures replace earlier ones; those not repeated stay."""
        fields = lenient.as_object(usage)
        self._usage.update({key: value for key, value in fields.items() if value is not None})
        if "cost" in fields:
            self._cost = parse_cost(fields, data)
            self._has_bad_cost = has_bad_cost(fields, data)

    def _reported(self) -> ReportedUsage:
        iterations = decode_iterations(self._usage)
        return ReportedUsage(
            usage=sum_of_usage(iterations),
            iterations=iterations if len(iterations) > 1 else (),
            cost=self._cost,
            has_bad_cost=self._has_bad_cost,
        )

    def _finish(self) -> Finished:
        if self._stop_reason is None:
            raise self._incomplete("a stop reason")
        self.finished = True
        reported = self._reported()
        return Finished(
            finish_reason=_FINISH_REASONS.get(self._stop_reason, "stop"),
            native_finish_reason=self._stop_reason,
            usage=reported.usage,
            iterations=reported.iterations,
            cost=reported.cost,
            has_bad_cost=reported.has_bad_cost,
            raw_response=self._content.to_raw_response(self._usage),
        )
