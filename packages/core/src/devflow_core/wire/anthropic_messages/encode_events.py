"""Encodes events as a streamed message of Anthropic's dialect, valid for any order of events."""

from __future__ import annotations

import re
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
from devflow_core.ids import new_id
from devflow_core.messages import JsonObject
from devflow_core.request import ChatRequest
from devflow_core.tokens import estimate_input_tokens
from devflow_core.usage import Usage
from devflow_core.wire import json_strict as strict
from devflow_core.wire import sse
from devflow_core.wire.anthropic_messages.block_writer import BlockWriter, seal_frame
from devflow_core.wire.anthropic_messages.encode_response import error_body, to_stop_reason
from devflow_core.wire.anthropic_messages.name import WIRE
from devflow_core.wire.anthropic_messages.resumable import ResumableFrames, name_fields
from devflow_core.wire.anthropic_messages.usage import encode_usage
from devflow_core.wire.body import dump
from devflow_core.wire.extra_fields import note_on_pictures
from devflow_core.wire.passthrough import Passthrough, is_usage
from devflow_core.wire.reasoning import vendor_of_model

_ZERO_INPUT_TOKENS = re.compile(rb'"input_tokens"\s*:\s*0(?![0-9])')
_CACHED_INPUT_TOKENS = re.compile(rb'"cache_(?:read|creation)_input_tokens"\s*:\s*[1-9]')
_MESSAGE_STOP = sse.encode(b'{"type":"message_stop"}', "message_stop")


class MessagesEncoder:
    """Encodes one streamed reply.

    Args:
        request: the request; its estimated size goes into `message_start`.
    """

    def __init__(self, request: ChatRequest) -> None:
        self._passthrough = Passthrough(WIRE, is_usage)
        self._request = request
        self._blocks: BlockWriter | None = None
        self._foreign_model: str | None = None
        self._name = request.origin.resumable_as if request.origin else None
        self._resumable = None if self._name is None else ResumableFrames(self._name)

    def annotate(self, annotations: JsonObject) -> None:
        """Set our own fields, which go into the event with the usage."""
        self._passthrough.annotations = annotations

    def encode(self, event: Event) -> bytes:
        """Return the bytes to send for an event; empty if there is nothing to send."""
        if (passed := self._passthrough.forward(event)) is not None:
            return self._forward(event, passed)
        if isinstance(event, Opaque):
            return b""
        if self._blocks is None:
            return self._start(event)
        match event:
            case ReasoningDelta() if self._name is not None:
                return b""  # of another dialect, so without a signature of Anthropic's
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                return self._blocks.add(event)
            case Finished():
                return self._finish(event, self._blocks)
            case _:  # a second start
                return b""

    def _forward(self, event: Event, frame: bytes) -> bytes:
        """Return a frame as the client needs it, nearly always unchanged.

        The first one may need our estimate of the input; reasoning of another vendor is sealed or,
        in a resumable reply, dropped.
        """
        if self._resumable is not None and frame:
            frame = self._resumable.rewrite(event, frame)
            return self._fill_usage(frame) if isinstance(event, Started) else frame
        if isinstance(event, Started):
            model = event.model or self._request.model
            vendor = vendor_of_model(model)
            self._foreign_model = None if vendor in {None, "anthropic"} else model
            return self._fill_usage(frame)
        if isinstance(event, ReasoningDelta) and self._foreign_model is not None:
            return seal_frame(event, self._foreign_model) or frame
        if isinstance(event, Finished) and event.frame is None:
            return _MESSAGE_STOP
        return frame

    def encode_error(self, error: DevFlowError, request_id: str) -> bytes:
        """Return the bytes of a failure in the middle of the stream, which end it."""
        return _encode_event("error", error_body(error, request_id))

    def _fill_usage(self, frame: bytes) -> bytes:
        """Return the first frame, with our estimate if the provider reports no input at all.

        Claude Code 2.1.50 records only this figure; routers send 0 for most models.
        """
        if (
            _ZERO_INPUT_TOKENS.search(frame) is None
            or _CACHED_INPUT_TOKENS.search(frame) is not None
        ):
            return frame
        estimate = b'"input_tokens":%d' % estimate_input_tokens(self._request)
        return _ZERO_INPUT_TOKENS.sub(estimate, frame, count=1)

    def _start(
        self, event: TextDelta | ReasoningDelta | ToolCallDelta | Finished | Started
    ) -> bytes:
        started = event if isinstance(event, Started) else Started()
        model = started.model or self._request.model
        self._blocks = BlockWriter(model)
        message: dict[str, Any] = {
            "id": started.generation_id or new_id("msg"),
            "type": "message",
            "role": "assistant",
            **({"model": model} if self._name is None else name_fields(self._name, model)),
            **strict.drop_none(provider=started.provider),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # some clients record only this figure, so it must not be zero
            "usage": encode_usage(self._estimate_usage(), None) | {"output_tokens": 1},
        }
        start = _encode_event("message_start", {"type": "message_start", "message": message})
        return start if isinstance(event, Started) else start + self.encode(event)

    def _finish(self, event: Finished, blocks: BlockWriter) -> bytes:
        note = note_on_pictures(event.raw_response, WIRE)
        remaining = (blocks.add(TextDelta(text=note)) if note else b"") + blocks.close()
        usage = event.usage or self._estimate_usage(blocks.output_tokens)
        body: dict[str, Any] = {
            "type": "message_delta",
            "delta": {
                "stop_reason": to_stop_reason(
                    event.finish_reason, event.native_finish_reason, blocks.has_calls
                ),
                "stop_sequence": None,
            },
            "usage": encode_usage(usage, event.cost),
        }
        if self._passthrough.annotations:
            body["devflow"] = self._passthrough.annotations
        return remaining + _encode_event("message_delta", body) + _MESSAGE_STOP

    def _estimate_usage(self, output_tokens: int = 0) -> Usage:
        return Usage(input_tokens=estimate_input_tokens(self._request), output_tokens=output_tokens)


def _encode_event(name: str, body: JsonObject) -> bytes:
    return sse.encode(dump(body), name)
