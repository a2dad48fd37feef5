"""Encodes events as a streamed reply in the chat completions dialect."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from devflow_core.errors import DevFlowError
from devflow_core.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.ids import new_id
from devflow_core.messages import JsonObject, Reasoning
from devflow_core.request import ChatRequest
from devflow_core.wire import json_strict as strict
from devflow_core.wire import sse
from devflow_core.wire.body import dump
from devflow_core.wire.extra_fields import note_on_pictures
from devflow_core.wire.openai_chat.name import WIRE
from devflow_core.wire.openai_error import DescribeError, error_fields
from devflow_core.wire.openai_usage import encode_usage
from devflow_core.wire.passthrough import Passthrough, is_usage
from devflow_core.wire.reasoning import detail_of

_DONE = b"data: [DONE]\n\n"


class ChatEncoder:
    """Encodes one streamed reply.

    Args:
        request: the request; decides whether the usage is sent in a separate chunk.
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
        self._passthrough = Passthrough(WIRE, is_usage)
        self._head: dict[str, Any] = {
            "id": "",
            "object": "chat.completion.chunk",
            "created": int(clock()),
            "model": request.model,
        }
        self._is_usage_separate = _wants_separate_usage(request)

    def annotate(self, annotations: JsonObject) -> None:
        """Set our own fields, which go into the event with the usage."""
        self._passthrough.annotations = annotations

    def encode(self, event: Event) -> bytes:
        """Return the bytes to send for an event; empty if there is nothing to send."""
        if (passed := self._passthrough.forward(event)) is not None:
            return passed or (_DONE if isinstance(event, Finished) and event.frame is None else b"")
        match event:
            case TextDelta():
                return self._encode_delta({"content": event.text})
            case ReasoningDelta():
                return self._encode_delta(_encode_reasoning_delta(event))
            case ToolCallDelta():
                return self._encode_delta(
                    {"content": None, "tool_calls": [_encode_call_delta(event)]}
                )
            case Started():
                return self._start(event)
            case Finished():
                return self._finish(event)
            case _:
                return b""

    def encode_error(self, error: DevFlowError, request_id: str) -> bytes:
        """Return the bytes of a failure in the middle of the stream, which end it."""
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return sse.encode(
            dump(
                {
                    **self._ensure_id(),
                    "error": self._describe_error(error, request_id),
                    "choices": [choice],
                }
            )
        )

    def _start(self, event: Started) -> bytes:
        self._head["id"] = event.generation_id or new_id("chatcmpl")
        if event.model is not None:
            self._head["model"] = event.model
        if event.provider is not None:
            self._head["provider"] = event.provider
        return self._encode_delta({"role": "assistant", "content": ""})

    def _encode_delta(self, delta: JsonObject) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return sse.encode(dump({**self._ensure_id(), "choices": [choice]}))

    def _finish(self, event: Finished) -> bytes:
        choice: dict[str, Any] = {
            "index": 0,
            "delta": {},
            "finish_reason": event.finish_reason,
            "native_finish_reason": event.native_finish_reason,
        }
        note = note_on_pictures(event.raw_response, WIRE)
        body = {**self._ensure_id(), "choices": [choice]}
        ended: dict[str, Any] = {
            "index": 0,
            "delta": {},
            "finish_reason": None,
        }  # the reason is sent once
        last: dict[str, Any] = {**body, "choices": [] if self._is_usage_separate else [ended]}
        if event.usage is not None:
            last["usage"] = encode_usage(event.usage, event.cost)
        if self._passthrough.annotations:
            last["devflow"] = self._passthrough.annotations
        has_last = event.usage is not None or bool(self._passthrough.annotations)
        noted = self._encode_delta({"content": note}) if note else b""
        ends = sse.encode(dump(body)) + (sse.encode(dump(last)) if has_last else b"")
        return noted + ends + _DONE

    def _ensure_id(self) -> dict[str, Any]:
        if not self._head["id"]:
            self._head["id"] = new_id("chatcmpl")
        return self._head


def _encode_reasoning_delta(event: ReasoningDelta) -> dict[str, Any]:
    reasoning = Reasoning(
        text=event.text,
        signature=event.signature,
        encrypted=event.encrypted,
        detail=event.detail,
    )
    detail = {**detail_of(reasoning), "index": event.index}
    return {"content": None, **({"reasoning": event.text} if event.text else {}),
            "reasoning_details": [detail]}  # fmt: skip


def _encode_call_delta(event: ToolCallDelta) -> dict[str, Any]:
    function = strict.drop_none(name=event.name, arguments=event.arguments)
    if event.id is None:
        return {"index": event.index, "function": function}
    return {"index": event.index, "id": event.id, "type": "function", "function": function}


def _wants_separate_usage(request: ChatRequest) -> bool:
    """Return whether the client asked for OpenAI's usage chunk, which has no choices."""
    options = request.extra.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]
