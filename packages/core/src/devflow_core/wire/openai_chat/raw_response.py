"""Collects what the hub lacks of a chat completion: citations, images, audio, logprobs."""

from __future__ import annotations

from typing import Any, cast

from devflow_core.messages import JsonObject, OpaquePart
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.openai_chat.name import WIRE

_MESSAGE_FIELDS = frozenset(
    {"role", "content", "reasoning", "reasoning_content", "reasoning_details", "tool_calls"}
)
_REPLY_FIELDS = frozenset({"id", "object", "created", "model", "provider", "choices", "usage"})


class Extras:
    """Collects the extra fields of a reply's chunks, for clients of the same dialect."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._choice: dict[str, Any] = {}
        self._reply: dict[str, Any] = {}
        self._usage: JsonObject = {}

    def add_chunk(self, chunk: JsonObject, choice: JsonObject, delta: JsonObject) -> None:
        """Record the extra fields of one chunk."""
        _merge(self._message, delta, _MESSAGE_FIELDS)
        if logprobs := lenient.as_object(choice.get("logprobs")):
            _merge(self._choice, {"logprobs": logprobs}, frozenset())
        for key, value in chunk.items():
            if key not in _REPLY_FIELDS and value is not None:
                self._reply[key] = value
        self._usage = lenient.as_object(chunk.get("usage")) or self._usage

    def set_finish_reason(self, reason: str) -> None:
        """Record this dialect's own finish reason, if the hub has a different one."""
        self._choice["finish_reason"] = reason

    def to_raw_response(self) -> OpaquePart | None:
        """Return the collected fields, by the object they belong to; None if there are none."""
        gathered = {"message": self._message, "choice": self._choice, "reply": self._reply}
        body: dict[str, Any] = {key: value for key, value in gathered.items() if value}
        if self._usage:
            body["usage"] = self._usage
        return OpaquePart(wire=WIRE, body=body) if body else None


def _merge(into: dict[str, Any], more: JsonObject, but: frozenset[str]) -> None:
    """Merge pieces: text and arrays grow, objects are merged, other values are replaced."""
    for key, value in more.items():
        if key in but or value is None:
            continue
        known = into.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(cast("dict[str, Any]", known), cast("JsonObject", value), frozenset())
        elif isinstance(known, list) and isinstance(value, list):
            into[key] = [*cast("list[Any]", known), *cast("list[Any]", value)]
        elif isinstance(known, str) and isinstance(value, str):
            into[key] = known + value
        elif isinstance(value, dict):
            # a copy, since later pieces are merged into it
            into[key] = {}
            _merge(into[key], cast("JsonObject", value), frozenset())
        else:
            into[key] = value
