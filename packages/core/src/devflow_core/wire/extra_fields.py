"""What goes from one dialect to another beside the hub's words, and a record of what does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devflow_core.messages import JsonObject, OpaquePart, WireName
from devflow_core.request import ChatRequest, Tool
from devflow_core.response import ChatResponse
from devflow_core.wire import json_lenient as lenient

_SHARED_FIELDS = frozenset(
    {"provider", "plugins", "models", "session_id", "trace", "top_k", "user", "safety_identifier"}
)
"""Fields with one meaning in all three dialects (as of 2026-08)."""

_MAPPED_FIELDS = frozenset(
    {"thinking", "output_config", "output_format", "stream_options", "tools", "text", "reasoning"}
)
"""Fields whose meaning is in the hub's words too; kept in `extra` for their own wire only."""


class Omissions:
    """Collects what was left out: each omission once, in order."""

    def __init__(self) -> None:
        self._omissions: dict[str, None] = {}
        self.has_parts = False
        """Whether parts of messages are among them."""

    def add(self, omission: str) -> None:
        """Record that something was left out: the name of a field or kind, never its content."""
        self._omissions[omission] = None

    def add_part(self, part: OpaquePart) -> None:
        """Record that a part of a kind which only another wire knows was left out."""
        self.has_parts = True
        self.add(f"a part of type {part.body.get('type')}")

    def as_tuple(self) -> tuple[str, ...]:
        """All omissions."""
        return tuple(self._omissions)


def is_native(request: ChatRequest, wire: WireName) -> bool:
    """Whether a request speaks this wire: it came in by it, or was made in Python for it."""
    return request.origin is None or request.origin.wire == wire


def original_body(request: ChatRequest, wire: WireName) -> JsonObject | None:
    """The body as it came, where it came by this wire and still says what the request says."""
    origin = request.origin
    return origin.body if origin is not None and origin.wire == wire else None


def raw_response_body(response: ChatResponse, wire: WireName) -> JsonObject:
    """What a reply of this wire holds beside the hub's words; empty for one of another wire."""
    raw = response.raw_response
    return raw.body if raw is not None and raw.wire == wire else {}


def note_on_pictures(raw: OpaquePart | None, wire: WireName) -> str:
    """A line on the pictures of a reply, for a reader whose wire has no place for them."""
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
    """The tools of a request, each by `encode`; a vendor's own one goes to its own wire only."""
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
    """The fields without a word of ours that may be sent by this wire.

    A request made in Python (without an origin) says what it wants sent; one that came by another
    wire keeps only the fields that mean the same everywhere.
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
