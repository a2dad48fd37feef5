"""Writes content blocks of a streamed message: one at a time, each started and stopped once."""

from __future__ import annotations

from typing import Any

import orjson

from devflow_core.events import ReasoningDelta, TextDelta, ToolCallDelta
from devflow_core.ids import new_id
from devflow_core.messages import Reasoning
from devflow_core.tokens import TextCounter, family_of
from devflow_core.wire import sse
from devflow_core.wire.anthropic_messages.encode_parts import clean_tool_id
from devflow_core.wire.body import dump
from devflow_core.wire.reasoning import seal, signature_for_anthropic

Delta = TextDelta | ReasoningDelta | ToolCallDelta
_Key = tuple[str, int]


class BlockWriter:
    """Orders deltas into blocks.

    Providers send the pieces of parallel calls in any order, but this dialect allows only one open
    block. A call stays open until its arguments are complete JSON; pieces of other blocks wait
    until then.

    Args:
        model: the model that answers; reasoning is sealed with its name.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._count = 0
        self._text_count = 0
        self._open: _OpenBlock | None = None
        self._waiting: dict[_Key, list[Delta]] = {}
        self._closed: set[_Key] = set()
        self._last: _Key | None = None
        self._written = TextCounter()
        self.has_calls = False
        """Whether a tool call has been written."""

    @property
    def output_tokens(self) -> int:
        """An estimate of the tokens written so far; at least 1."""
        return max(1, self._written.size.estimate_tokens(family_of(self._model)))

    def add(self, delta: Delta) -> bytes:
        """Return the bytes that can be sent now, which may be those of deltas that waited before.

        The delta itself waits while another call is incomplete, and is dropped if its block is
        closed.
        """
        key = self._key(delta)
        if key in self._closed:
            return b""  # cannot be reopened: blanks after complete arguments, or a late signature
        self._last = key
        drained = b"" if self._is_open(key) else self._drain()
        if self._is_open(key):
            return drained + self._write(delta)
        if self._open is not None and not self._open.is_complete():
            self._waiting.setdefault(key, []).append(delta)
            return drained
        return drained + self._open_block(key, delta) + self._write(delta)

    def close(self) -> bytes:
        """Return the remaining bytes: everything that waits, and the end of the last block."""
        written = b""
        while self._waiting:
            written += self._write_next()
        return written + self._close_block()

    def _is_open(self, key: _Key) -> bool:
        return self._open is not None and self._open.key == key

    def _drain(self) -> bytes:
        """Write everything that waits, as long as the block before it is complete."""
        written = b""
        while self._waiting and (self._open is None or self._open.is_complete()):
            written += self._write_next()
        return written

    def _write_next(self) -> bytes:
        key = next(iter(self._waiting))
        deltas = self._waiting.pop(key)
        return self._open_block(key, deltas[0]) + b"".join(self._write(one) for one in deltas)

    def _key(self, delta: Delta) -> _Key:
        if isinstance(delta, ToolCallDelta):
            return ("tool_use", delta.index)
        if isinstance(delta, ReasoningDelta):
            return ("thinking", delta.index)
        if self._last is None or self._last[0] != "text":
            self._text_count += 1
        return ("text", self._text_count)

    def _open_block(self, key: _Key, first: Delta) -> bytes:
        stopped = self._close_block()
        self._open = _OpenBlock(key, self._count)
        self._count += 1
        return stopped + _encode_start(self._open.index, _make_block(first))

    def _write(self, delta: Delta) -> bytes:
        assert self._open is not None  # noqa: S101 - every caller has just opened it
        body = self._open.add_delta(delta)
        if isinstance(delta, ToolCallDelta):
            self.has_calls = True
            self._written.add(delta.arguments)
        else:
            self._written.add(delta.text)
        return _encode_delta(self._open.index, body) if body is not None else b""

    def _close_block(self) -> bytes:
        if self._open is None:
            return b""
        block, self._open = self._open, None
        self._closed.add(block.key)
        end = sse.encode(
            b'{"type":"content_block_stop","index":%d}' % block.index, "content_block_stop"
        )
        if block.key[0] != "thinking":
            return end
        signature = signature_for_anthropic(block.reasoning(), self._model)
        return _encode_delta(block.index, {"type": "signature_delta", "signature": signature}) + end


class _OpenBlock:
    """The block that is being written."""

    def __init__(self, key: _Key, index: int) -> None:
        self.key = key
        self.index = index
        self._arguments: list[str] = []
        self._signature: str | None = None
        self._encrypted: str | None = None
        self._detail: dict[str, Any] | None = None

    def add_delta(self, delta: Delta) -> dict[str, Any] | None:
        """Return the delta's body; None if there is nothing to send."""
        match delta:
            case TextDelta():
                return {"type": "text_delta", "text": delta.text} if delta.text else None
            case ToolCallDelta():
                self._arguments.append(delta.arguments)
                if not delta.arguments:
                    return None
                return {"type": "input_json_delta", "partial_json": delta.arguments}
            case _:
                self._signature = self._signature or delta.signature
                self._encrypted = self._encrypted or delta.encrypted
                self._detail = dict(delta.detail) if delta.detail else self._detail
                return {"type": "thinking_delta", "thinking": delta.text} if delta.text else None

    def is_complete(self) -> bool:
        """Return whether another block may begin: always, unless a call's JSON is incomplete."""
        if self.key[0] != "tool_use":
            return True
        try:
            orjson.loads("".join(self._arguments))
        except orjson.JSONDecodeError:
            return False
        return True

    def reasoning(self) -> Reasoning:
        """Return the reasoning of this block, without its text."""
        return Reasoning(signature=self._signature, encrypted=self._encrypted, detail=self._detail)


def _make_block(first: Delta) -> dict[str, Any]:
    match first:
        case TextDelta():
            return {"type": "text", "text": ""}
        case ReasoningDelta():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case _:
            return {
                "type": "tool_use",
                "id": clean_tool_id(first.id or new_id("toolu")),
                "name": first.name or "",
                "input": {},
            }


def seal_frame(event: ReasoningDelta, model: str) -> bytes | None:
    """Return the frame of signed reasoning with its signature sealed, so that its vendor is known.

    None for an event without a signature or encrypted content.
    """
    if event.signature is not None:
        sealed = seal(Reasoning(signature=event.signature), model)
        if event.detail is None:
            return _encode_delta(event.index, {"type": "signature_delta", "signature": sealed})
        return _encode_start(
            event.index, {"type": "thinking", "thinking": event.text, "signature": sealed}
        )
    if event.encrypted is not None:
        sealed = seal(Reasoning(encrypted=event.encrypted), model)
        return _encode_start(event.index, {"type": "redacted_thinking", "data": sealed})
    return None


def _encode_start(index: int, block: dict[str, Any]) -> bytes:
    body = {"type": "content_block_start", "index": index, "content_block": block}
    return sse.encode(dump(body), "content_block_start")


def _encode_delta(index: int, body: dict[str, Any]) -> bytes:
    return sse.encode(
        dump({"type": "content_block_delta", "index": index, "delta": body}), "content_block_delta"
    )
