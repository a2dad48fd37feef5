"""Encodes events as a streamed reply in the responses dialect."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from devflow_core.errors import DevFlowError
from devflow_core.events import (
    Event,
    Finished,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.messages import JsonObject
from devflow_core.request import ChatRequest
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire import sse
from devflow_core.wire.body import dump, load_event
from devflow_core.wire.extra_fields import note_on_pictures
from devflow_core.wire.openai_error import DescribeError, error_fields
from devflow_core.wire.openai_responses.encode_response import (
    encode_usage,
    end_response_object,
    make_response_object,
)
from devflow_core.wire.openai_responses.name import WIRE
from devflow_core.wire.openai_responses.output_items import (
    CallItem,
    Delta,
    MessageItem,
    OutputItem,
    ReasoningItem,
)
from devflow_core.wire.openai_responses.tool_names import index_wire_tools
from devflow_core.wire.passthrough import Passthrough
from devflow_core.wire.sse import SseReader

_Key = tuple[str, int]
_NUMBER = "sequence_number"
_QUOTED_NUMBER = b'"sequence_number"'


class _PassedOn:
    """What the frames of a stream that is passed on say of it, read only when it fails."""

    __slots__ = ("_first", "_numbered")

    def __init__(self) -> None:
        self._first = self._numbered = b""

    def add(self, frame: bytes) -> None:
        if not self._first and b'"response"' in frame:
            self._first = frame
        if _QUOTED_NUMBER in frame:
            self._numbered = frame

    def response(self) -> JsonObject:
        """Return the response object with which the stream began; empty if there is none."""
        for one in _bodies_of(self._first):
            if begun := lenient.as_object(one.get("response")):
                return begun
        return {}

    def next_number(self) -> int:
        """Return the sequence number of a further event."""
        numbers = [lenient.as_int(one.get(_NUMBER)) for one in _bodies_of(self._numbered)]
        return max(numbers, default=-1) + 1


def _bodies_of(frame: bytes) -> list[JsonObject]:
    """Return the events in what was passed on at once: what precedes the reply comes with it."""
    return [load_event(one.data) for one in SseReader().feed(frame) if one.data]


class ResponsesEncoder:
    """Encodes one streamed reply.

    Args:
        request: the request; its tools decide the form of calls.
        clock: Unix time in seconds.
        describe_error: returns the `error` object of a failure.
    """

    def __init__(
        self,
        request: ChatRequest,
        clock: Callable[[], float] = time.time,
        *,
        describe_error: DescribeError = error_fields,
    ) -> None:
        self._describe_error = describe_error
        self._passthrough = Passthrough(WIRE, lambda event: isinstance(event, Finished))
        self._request = request
        self._clock = clock
        self._passed_on = _PassedOn()
        self._sequence_number = 0
        self._reply: dict[str, Any] | None = None
        self._open: dict[_Key, OutputItem] = {}
        self._output: list[JsonObject] = []
        self._count = 0
        self._closed: set[_Key] = set()
        self._text_count = 0
        self._last: _Key | None = None

    def annotate(self, annotations: JsonObject) -> None:
        """Set our own fields, which go into the event with the usage."""
        self._passthrough.annotations = annotations

    def encode(self, event: Event) -> bytes:
        """Return the bytes to send for an event; empty if there is nothing to send."""
        if (passed := self._passthrough.forward(event)) is not None:
            self._passed_on.add(passed)
            return passed
        if isinstance(event, Opaque):
            return b""
        start = b"" if self._reply is not None else self._start(event)
        match event:
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                return start + self._encode_delta(event)
            case Finished():
                return start + self._finish(event)
            case _:
                return start

    def encode_error(self, error: DevFlowError, request_id: str) -> bytes:
        """Return the bytes of a failure, which end the stream: begun here, if it has not begun."""
        fault = self._describe_error(error, request_id)
        start = b""
        if self._reply is None:
            # the client goes by the id and the numbers that it has seen
            self._sequence_number = self._passed_on.next_number()
            if begun := self._passed_on.response():
                ours = make_response_object(self._request, Started(), self._clock())
                self._reply = {**ours, **begun}
            else:
                start = self._start(Started())
        failed = {**(self._reply or {}), "status": "failed", "output": self._output}
        failed["error"] = {"code": error.code, "message": error.message}
        # one SDK reads the error next to the response, other clients inside it
        return start + self._emit("response.failed", response=failed, error=fault)

    def _start(self, event: Event) -> bytes:
        started = event if isinstance(event, Started) else Started()
        self._reply = make_response_object(self._request, started, self._clock())
        return self._emit("response.created", response=self._reply) + self._emit(
            "response.in_progress", response=self._reply
        )

    def _encode_delta(self, delta: Delta) -> bytes:
        if isinstance(delta, TextDelta) and not delta.text:
            return b""
        key = self._key(delta)
        if key in self._closed:
            return b""
        self._last = key
        if key in self._open:
            return self._open[key].add_delta(delta)
        closed = self._close_complete()
        item = self._make_item(delta)
        self._open[key] = item
        return closed + item.begin() + item.add_delta(delta)

    def _key(self, delta: Delta) -> _Key:
        if isinstance(delta, ToolCallDelta):
            return ("call", delta.index)
        if isinstance(delta, ReasoningDelta):
            return ("reasoning", delta.index)
        if self._last is None or self._last[0] != "text":
            self._text_count += 1
        return ("text", self._text_count)

    def _make_item(self, delta: Delta) -> OutputItem:
        index = self._count
        self._count += 1
        match delta:
            case TextDelta():
                return MessageItem(index, self._emit)
            case ReasoningDelta():
                model = (self._reply or {}).get("model") or self._request.model
                return ReasoningItem(index, self._emit, model)
            case _:
                return CallItem(index, self._emit, index_wire_tools(self._request), delta)

    def _close_complete(self) -> bytes:
        """Close complete items in order, so that items end in the order they began."""
        closed = b""
        for key, item in list(self._open.items()):
            if not item.is_complete():
                break
            closed += self._close(key)
        return closed

    def _close(self, key: _Key) -> bytes:
        written, item = self._open.pop(key).end()
        self._closed.add(key)
        self._output.append(item)
        return written

    def _finish(self, event: Finished) -> bytes:
        note = note_on_pictures(event.raw_response, WIRE)
        closing = self._encode_delta(TextDelta(text=note))
        closing += b"".join(self._close(key) for key in list(self._open))
        reply = {**(self._reply or {}), "output": self._output}
        end_response_object(reply, event.finish_reason, self._clock())
        if event.usage is not None:
            reply["usage"] = encode_usage(event.usage, event.cost)
        annotations = (
            {"devflow": self._passthrough.annotations} if self._passthrough.annotations else {}
        )
        return closing + self._emit(f"response.{reply['status']}", response=reply, **annotations)

    def _emit(self, kind: str, **fields: Any) -> bytes:
        body = {"type": kind, _NUMBER: self._sequence_number, **fields}
        self._sequence_number += 1
        return sse.encode(dump(body), kind)
