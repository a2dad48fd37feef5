"""Counts cache markers, so that a translation can name those that it lost."""

from __future__ import annotations

from typing import Any, cast

from devflow_core.messages import JsonObject, OpaquePart, Part, Reasoning, ToolResult
from devflow_core.request import ChatRequest
from devflow_core.wire.extra_fields import Omissions

_MARKER = "cache_control"
_LISTS = ("system", "tools", "messages", "input")
"""The fields of a body, in any dialect, whose objects may be marked."""
_INNER_LISTS = ("content", "output", "tool_calls")


def add_lost_markers(request: ChatRequest, body: JsonObject, omitted: Omissions) -> None:
    """Name the markers that were lost, with their number if there are several.

    Args:
        request: the request as received.
        body: the translated body.
        omitted: collects what was left out.
    """
    lost = _count_sent(request) - count_markers(body)
    if lost > 0:
        omitted.add(_MARKER if lost == 1 else f"{_MARKER} ({lost} times)")


def count_markers(body: JsonObject) -> int:
    """Return how many parts of a body, in any dialect, are marked to be cached."""
    return _is_marked(body) + sum(_count_in_list(body.get(name)) for name in _LISTS)


def _count_sent(request: ChatRequest) -> int:
    if request.origin is not None and request.origin.body is not None:
        return count_markers(request.origin.body)
    count = _is_marked(request.extra)
    for tool in request.tools:
        count += tool.cache_ttl is not None or _is_marked(tool.native or {})
    for message in request.messages:
        count += _is_marked(message.extra) + sum(map(_count_in_part, message.parts))
    return count


def _count_in_part(part: Part) -> int:
    match part:
        case Reasoning():
            return 0
        case OpaquePart():
            return _count_in_list([part.body])
        case ToolResult():
            return (part.cache_ttl is not None) + sum(map(_count_in_part, part.parts))
        case _:
            return part.cache_ttl is not None


def _count_in_list(value: object) -> int:
    count = 0
    for one in cast("list[Any]", value) if isinstance(value, list) else ():
        if isinstance(one, dict):
            marked = cast("JsonObject", one)
            count += _is_marked(marked)
            count += sum(_count_in_list(marked.get(name)) for name in _INNER_LISTS)
    return count


def _is_marked(owner: JsonObject) -> bool:
    return isinstance(owner.get(_MARKER), dict)
