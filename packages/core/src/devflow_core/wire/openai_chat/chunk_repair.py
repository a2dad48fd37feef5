"""Repairs the chunks that OpenAI's clients would misread, before they are passed on.

Clients append every string of a delta to the same field of their message, and find a tool call by
its number (`accumulate_delta` of openai-python 3.3.0, `merge_dicts` of langchain-core 1.7). So a
repeated string is doubled, and calls with the same number become one. Providers send a role with
every chunk, the finish reason twice, and other numbers or new ids with the pieces of a call.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, cast

from devflow_core.messages import JsonObject
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire.body import dump, encode_repaired
from devflow_core.wire.sse import SseFrame

_ROLE = b'"role":"assistant"'
_ROLE_BYTES = len(_ROLE)
_COMMA = ord(",")
_CONTAINERS = frozenset({dict, list})


class ChunkRepair:
    """Repairs the chunks of one stream; a chunk with nothing to repair keeps its bytes.

    Each choice has its role in its first delta and its finish reason once; later ones are left out.
    """

    __slots__ = ("_finished", "_with_role", "has_begun")

    def __init__(self) -> None:
        self.has_begun = False
        """Whether the first delta of choice 0 has come, and its role with it."""
        self._with_role: set[int] = set()
        """The choices whose first delta has come."""
        self._finished: set[int] = set()

    def repair_text(self, chunk: JsonObject, frame: SseFrame) -> bytes:
        """Return what `repair` would, but faster, for a chunk that only adds text to choice 0."""
        raw = _cut_role(frame.raw) if self.has_begun else None
        return self.repair(chunk, frame) if raw is None else raw

    def repair(self, chunk: JsonObject, frame: SseFrame, *, has_changed: bool = False) -> bytes:
        """Return the bytes of a chunk for a client.

        Args:
            chunk: the decoded chunk, which is changed in place if something has to be repaired.
            frame: the frame that it was decoded from.
            has_changed: whether the chunk differs from the frame already.
        """
        raw = None if has_changed else frame.raw
        for choice in lenient.as_objects(chunk.get("choices")):
            raw = self._repair_role(choice, raw)
            if choice.get("finish_reason"):
                raw = self._repair_finish(cast("dict[str, Any]", choice), raw)
        return encode_repaired(chunk, frame) if raw is None else raw

    def _repair_role(self, choice: JsonObject, raw: bytes | None) -> bytes | None:
        """Give the delta the role it should have; return its bytes, or None to encode it anew."""
        delta: Any = choice.get("delta")
        if not isinstance(delta, dict):
            return raw
        index, role = lenient.as_int(choice.get("index")), cast("JsonObject", delta).get("role")
        if index in self._with_role:
            if not role:
                return raw
            del delta["role"]
            return raw and _cut_role(raw)
        self._with_role.add(index)
        self.has_begun = 0 in self._with_role
        if role:
            return raw
        delta["role"] = "assistant"
        return None

    def _repair_finish(self, choice: dict[str, Any], raw: bytes | None) -> bytes | None:
        index = lenient.as_int(choice.get("index"))
        if index not in self._finished:
            self._finished.add(index)
            return raw
        for name in ("finish_reason", "native_finish_reason"):
            if value := choice.get(name):
                choice[name] = None
                raw = raw and _blank(raw, name.encode(), value)
        return raw


def repair_call(call: JsonObject, index: int, known_id: str | None, known_name: str | None) -> bool:
    """Give a piece of a call its number, and drop what an earlier piece has already sent.

    Args:
        call: the piece, which is changed in place.
        index: the number of the call that it belongs to.
        known_id: the id that the call has already; None before it has come.
        known_name: the name that the call has already; None before it has come.

    Returns:
        Whether the piece was changed.
    """
    piece = cast("MutableMapping[str, Any]", call)
    before = len(piece)
    if known_id is not None and piece.get("id"):
        del piece["id"]
    is_changed = len(piece) != before
    if piece.get("index") != index:
        piece["index"] = index
        is_changed = True
    function = piece.get("function")
    if not isinstance(function, dict):
        return is_changed
    return _repair_function(cast("dict[str, Any]", function), known_name) or is_changed


def _repair_function(function: dict[str, Any], known_name: str | None) -> bool:
    is_changed = False
    if known_name is not None and function.get("name") == known_name:
        del function["name"]
        is_changed = True
    arguments = function.get("arguments")
    if type(arguments) in _CONTAINERS:
        function["arguments"] = lenient.as_arguments(arguments)
        is_changed = True
    return is_changed


def _cut_role(raw: bytes) -> bytes | None:
    """Return a frame without its role; None if the bytes of the role cannot be told apart."""
    # inside a string the quotes are escaped, so these are a key's or a whole value's
    start = raw.find(_ROLE)
    if start < 0 or raw.count(b'"role"') != 1:
        return None
    end = start + _ROLE_BYTES
    if raw[start - 1] == _COMMA:  # in the middle or at the end of the delta
        return raw[: start - 1] + raw[end:]
    return raw[:start] + raw[end + 1 :] if raw[end] == _COMMA else None


def _blank(raw: bytes, name: bytes, value: Any) -> bytes | None:
    """Return a frame with null in place of a field; None if its bytes cannot be told apart."""
    key = b'"%b"' % name
    field = b"%b:%b" % (key, dump(value))
    if raw.count(key) != 1 or field not in raw:
        return None
    return raw.replace(field, key + b":null")
