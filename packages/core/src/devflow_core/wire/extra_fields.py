"""Carries fields that the hub lacks from one dialect to another, and records what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devflow_core.messages import JsonObject, OpaquePart, WireName
from devflow_core.request import ChatRequest, Tool
from devflow_core.response import ChatResponse
from devflow_core.wire import json_lenient as lenient

_SHARED_FIELDS = frozenset(
    {
        "provider",
        "plugins",
        "models",
        "session_id",
        "trace",
        "top_k",
        "user",
        "safety_identifier",
        "cache_control",
    }
)
"""Fields with the same meaning in all three dialects (as of 2026-08)."""

_MAPPED_FIELDS = frozenset(
    {"thinking", "output_config", "output_format", "stream_options", "tools", "text", "reasoning"}
)
"""Fields that the hub can express too; `extra` keeps them for their own dialect only."""


class Omissions:
    """Collects what was left out: each omission once, in order."""

    def __init__(self) -> None:
        self._omissions: dict[str, None] = {}
        self.has_parts = False
        """Whether any part of a message was left out."""

    def add(self, omission: str) -> None:
        """Record that something was left out: the name of a field or kind, never its content."""
        self._omissions[omission] = None

    def add_part(self, part: OpaquePart) -> None:
        """Record that a part was left out because only another dialect can express it."""
        self.has_parts = True
        self.add(f"a part of type {part.body.get('type')}")

    def as_tuple(self) -> tuple[str, ...]:
        """Return all omissions, in the order in which they were added."""
        return tuple(self._omissions)


def is_native(request: ChatRequest, wire: WireName) -> bool:
    """Return whether a request came in this dialect, or was made in Python and so has none."""
    return request.origin is None or request.origin.wire == wire


def original_body(request: ChatRequest, wire: WireName) -> JsonObject | None:
    """Return the body as received; None if its messages changed or it is not in this dialect."""
    origin = request.origin
    return origin.body if origin is not None and origin.wire == wire else None


def raw_response_body(response: ChatResponse, wire: WireName) -> JsonObject:
    """Return a reply's content that only this dialect can express; empty for other replies."""
    raw = response.raw_response
    return raw.body if raw is not None and raw.wire == wire else {}


def note_on_pictures(raw: OpaquePart | None, wire: WireName) -> str:
    """Return a line on how many pictures of a reply `wire` cannot carry, with their links.

    Empty if the reply has none, or came in this dialect.
    """
    if raw is None or raw.wire == wire:
        return ""
    message = lenient.as_object(raw.body.get("message"))
    pictures = [
        *lenient.as_objects(message.get("images")),
        *(
            item
            for item in lenient.as_objects(raw.body.get("output"))
            if item.get("type") == "image_generation_call"
        ),
    ]
    if not pictures:
        return ""
    urls = [lenient.as_object(one.get("image_url")).get("url") for one in pictures]
    links = "".join(f" {url}" for url in urls if str(url).startswith(("http://", "https://")))
    count = "A picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
    return f"\n[{count} came with this reply and cannot be shown here.{links}]"


def encode_tools(
    request: ChatRequest, wire: WireName, encode: Callable[[Tool], JsonObject], omitted: Omissions
) -> list[JsonObject]:
    """Return a request's tools in this dialect, with `encode` applied to functions.

    Server tools are kept as they are; a vendor's own tool of another dialect goes to `omitted`.
    """
    tools: list[JsonObject] = []
    for tool in request.tools:
        if tool.native is None:
            tools.append(encode(tool))
        elif tool.is_server_tool or is_native(request, wire):
            tools.append(dict(tool.native))
        else:
            omitted.add(f"the provider's own tool {tool.name}")
    return tools


def filter_extra(request: ChatRequest, wire: WireName, omitted: Omissions) -> dict[str, Any]:
    """Return the fields that the hub lacks and that may be sent in this dialect.

    A request made in Python (without an origin) names exactly what to send; one from another
    dialect keeps only the fields that mean the same everywhere. The rest goes to `omitted`, unless
    the hub expresses it too.
    """
    if is_native(request, wire):
        return dict(request.extra)
    allowed: dict[str, Any] = {}
    for key, value in request.extra.items():
        if key in _SHARED_FIELDS:
            allowed[key] = value
        elif key not in _MAPPED_FIELDS:
            omitted.add(key)
    return allowed
