"""Rebuilds the content of a streamed message as the provider would have sent it whole."""

from __future__ import annotations

from typing import Any

import orjson

from devflow_core.messages import JsonObject, OpaquePart
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.anthropic_messages.name import WIRE

_KNOWN_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_MESSAGE_FIELDS = frozenset(
    {"id", "type", "role", "model", "provider", "content", "stop_reason", "usage"}
)
_TEXT_KEYS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}


class ContentCollector:
    """Collects blocks; they are kept only if the hub cannot express one of them."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._has_more = False
        self._message: dict[str, Any] = {}

    def add_block(self, index: int, block: JsonObject) -> None:
        """Record a block that begins, or that came whole."""
        self._blocks[index] = dict(block)
        self._has_more |= lenient.as_text(block.get("type")) not in _KNOWN_BLOCKS
        self._has_more |= bool(block.get("citations"))

    def add_delta(self, index: int, delta: JsonObject) -> None:
        """Record a piece of a block; a piece of an unknown type is dropped."""
        kind = lenient.as_text(delta.get("type")) or ""
        if kind in _TEXT_KEYS:
            piece = lenient.as_text(delta.get(_TEXT_KEYS[kind])) or ""
            self._pieces.setdefault(index, []).append(piece)
        elif kind == "signature_delta" and index in self._blocks:
            self._blocks[index]["signature"] = delta.get("signature")
        elif kind == "citations_delta" and index in self._blocks:
            known: list[Any] = self._blocks[index].get("citations") or []
            self._blocks[index]["citations"] = [*known, delta.get("citation")]
            self._has_more = True

    def add_fields(self, fields: JsonObject) -> None:
        """Record fields of the message that the hub cannot express."""
        for key, value in fields.items():
            if key not in _MESSAGE_FIELDS and value is not None:
                self._message[key] = value

    def to_raw_response(self, usage: JsonObject) -> OpaquePart | None:
        """Return what the hub cannot express, with the usage as received; None if there is none."""
        body: dict[str, Any] = {}
        if self._has_more:
            body["content"] = [self._join_block(index) for index in sorted(self._blocks)]
        if self._message:
            body["message"] = self._message
        if usage:
            body["usage"] = dict(usage)
        return OpaquePart(wire=WIRE, body=body) if body else None

    def _join_block(self, index: int) -> dict[str, Any]:
        block = self._blocks[index]
        text = "".join(self._pieces.get(index, ()))
        if not text:
            return block
        key = lenient.as_text(block.get("type"))
        if key in {"text", "thinking"}:
            return {**block, key: (lenient.as_text(block.get(key)) or "") + text}
        try:
            return {**block, "input": orjson.loads(text)}
        except orjson.JSONDecodeError:
            return block
