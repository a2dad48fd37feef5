"""Keeps replies in a form that the client can later send to Anthropic, whichever model answered.

Claude Code writes replies into its session and sends them on resumption, to whatever API it is
pointed at then. Anthropic refuses thinking that it has not signed, models that it does not have,
and call ids with characters that its own never have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import orjson

from devflow_core.events import Event, ReasoningDelta, Started, ToolCallDelta
from devflow_core.messages import JsonObject, Message, Part, Reasoning, ToolCall
from devflow_core.request import ChatRequest
from devflow_core.wire import json_lenient as lenient
from devflow_core.wire import sse
from devflow_core.wire.anthropic_messages.encode_parts import clean_tool_id
from devflow_core.wire.body import dump
from devflow_core.wire.reasoning import seal, unseal, vendor_of, vendor_of_model

HOME_MODEL = "claude-sonnet-4-0"
"""The model's name in replies to a client that asked for another vendor's model.

Claude Code 2.1.197 and later continues with the model that the last reply names, if it knows the
name and Anthropic still has the model; 2.1.332 otherwise continues with the requested model, unless
it knows the name as retired. This one is known and retired, so every version returns to its user's
own model, and sends the thinking of that model unchanged.
"""

_T = TypeVar("_T")
_THINKING = frozenset({"thinking", "redacted_thinking"})
_ANTHROPIC_NAME = re.compile(r"claude-[a-z0-9-]+")
_INDEX = re.compile(rb'"index"\s*:\s*(\d+)')
Find = Callable[[str], Sequence[Reasoning]]
"""Returns the reasoning that came before the call of this id; empty if none is kept."""


def name_at_anthropic(asked: str) -> str:
    """Return the model that a resumable reply names.

    It is the requested model as Anthropic spells it, or `HOME_MODEL` if that is not Anthropic's.
    """
    bare = asked.removesuffix("[1m]").rpartition("anthropic/")[2].replace(".", "-")
    return bare if _ANTHROPIC_NAME.fullmatch(bare) else HOME_MODEL


def name_fields(name: str, model: object) -> dict[str, Any]:
    """Return the fields of a message that name its model.

    If the real model is known and has another name, it goes into `devflow`, which clients keep.
    """
    return (
        {"model": name} if model in {name, None} else {"model": name, "devflow": {"model": model}}
    )


def is_signed_by_anthropic(model: str | None) -> bool:
    """Return whether the reasoning of this model has Anthropic's signature."""
    return model is not None and vendor_of_model(model) == "anthropic"


class ResumableFrames:
    """Rewrites the frames of one streamed reply that is passed through.

    Args:
        name: the model that the reply names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_foreign = True
        self._dropped: set[int] = set()

    def rewrite(self, event: Event, frame: bytes) -> bytes:
        """Return the frame to send; empty for reasoning that Anthropic has not signed."""
        if isinstance(event, Started):
            self._is_foreign = not is_signed_by_anthropic(event.model)
            return frame if event.model == self._name else _change(frame, self._rename)
        if isinstance(event, ToolCallDelta) and event.id and clean_tool_id(event.id) != event.id:
            frame = _change(frame, _clean_id)
        if not self._is_foreign:
            return frame
        if isinstance(event, ReasoningDelta):
            self._dropped.add(event.index)
            return b""
        return self._renumber(event, frame) if self._dropped else frame

    def _rename(self, body: dict[str, Any]) -> None:
        message = lenient.as_object(body.get("message"))
        body["message"] = {**message, **name_fields(self._name, message.get("model"))}

    def _renumber(self, event: Event, frame: bytes) -> bytes:
        """Close the gap that dropped blocks leave, since clients identify blocks by their index."""
        found = _INDEX.findall(frame)
        if not found:
            return frame
        if len(found) > 1:  # some content has such a key of its own
            return _change(frame, self._set_index)
        index = int(found[0])
        if index in self._dropped:  # the end of a dropped block
            return b""
        return _INDEX.sub(b'"index":%d' % self._shifted(index), frame, count=1)

    def _set_index(self, body: dict[str, Any]) -> None:
        body["index"] = self._shifted(lenient.as_int(body.get("index")))

    def _shifted(self, index: int) -> int:
        return index - sum(one < index for one in self._dropped)


def _change(frame: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a frame whose JSON object was changed in place."""
    event = sse.SseReader().feed(frame)[0]
    body: dict[str, Any] = orjson.loads(event.data or b"{}")
    change(body)
    return sse.encode(dump(body), event.event)


def _clean_id(body: dict[str, Any]) -> None:
    block = body.get("content_block")
    if isinstance(block, dict):
        block["id"] = clean_tool_id(str(cast("dict[str, Any]", block).get("id")))


def filter_parts(parts: Sequence[Part], model: str | None) -> tuple[Part, ...]:
    """Return the parts of a whole reply without reasoning that Anthropic has not signed."""
    is_own = is_signed_by_anthropic(model)
    return tuple(
        one for one in parts if not isinstance(one, Reasoning) or (is_own and _is_signed(one))
    )


def _is_signed(part: Reasoning) -> bool:
    return vendor_of(part) == "anthropic" and bool(part.signature or part.encrypted)


def filter_blocks(blocks: Sequence[JsonObject], model: str | None) -> list[JsonObject]:
    """Return a reply's blocks with clean call ids; thinking stays if the model is Anthropic's."""
    is_own = is_signed_by_anthropic(model)
    return [
        {**one, "id": clean_tool_id(str(one.get("id")))} if one.get("type") == "tool_use" else one
        for one in blocks
        if is_own or one.get("type") not in _THINKING
    ]


def reasoning_by_call(parts: Sequence[Part], model: str) -> dict[str, tuple[Reasoning, ...]]:
    """Return a reply's reasoning, which its client was not given, by the id of the next call.

    Each piece is marked with its model, so that other vendors' models do not get it. Reasoning that
    no call follows is left out.
    """
    found: dict[str, tuple[Reasoning, ...]] = {}
    waiting: list[Reasoning] = []
    for part in parts:
        if isinstance(part, Reasoning):
            waiting.append(unseal(part.text, seal(part, model)) or part)
        elif isinstance(part, ToolCall) and part.id and waiting:
            found[clean_tool_id(part.id)] = tuple(waiting)
            waiting = []
    return found


def restore_reasoning(request: ChatRequest, find: Find) -> ChatRequest:
    """Return the request with kept reasoning put back before its calls; unchanged if none is kept.

    In the body it is sealed, as it would be if the client had been given it and sent it back.
    """
    messages = tuple(_restore_message(one, find) for one in request.messages)
    if all(new is old for new, old in zip(messages, request.messages, strict=True)):
        return request
    origin = request.origin
    if origin is not None and origin.body is not None:
        body = {**origin.body, "messages": _restore_bodies(origin.body["messages"], find)}
        origin = replace(origin, body=body)
    return replace(request, messages=messages, origin=origin)


def _restore_message(message: Message, find: Find) -> Message:
    if message.role != "assistant":
        return message
    parts = _insert(message.parts, lambda one: one.id if isinstance(one, ToolCall) else None, find)
    return message if parts is None else replace(message, parts=tuple(parts))


def _restore_bodies(messages: Sequence[JsonObject], find: Find) -> list[JsonObject]:
    return [_restore_body(one, find) for one in messages]


def _restore_body(message: JsonObject, find: Find) -> JsonObject:
    blocks = message.get("content")
    if message.get("role") != "assistant" or not isinstance(blocks, list):
        return message
    found = cast("list[JsonObject]", blocks)
    content = _insert(
        found,
        lambda one: one.get("id") if one.get("type") == "tool_use" else None,
        lambda call_id: [_sealed_block(one) for one in find(call_id)],
    )
    return message if content is None else {**message, "content": content}


def _insert(
    items: Sequence[_T], id_of: Callable[[_T], str | None], find: Callable[[str], Sequence[_T]]
) -> list[_T] | None:
    """Insert the reasoning kept for each call after the call before it; None if none is kept."""
    result: list[_T] = []
    behind_last_call, is_changed = 0, False
    for item in items:
        call_id = id_of(item)
        if call_id is not None and (kept := find(call_id)):
            result[behind_last_call:behind_last_call] = kept
            is_changed = True
        result.append(item)
        if call_id is not None:
            behind_last_call = len(result)
    return result if is_changed else None


def _sealed_block(part: Reasoning) -> JsonObject:
    if part.encrypted is not None:
        return {"type": "redacted_thinking", "data": seal(part, None)}
    return {"type": "thinking", "thinking": part.text, "signature": seal(part, None)}
