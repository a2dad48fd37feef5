"""Puts a note in the place of media that a model cannot take."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from devflow_core.messages import Media, Part, ResultPart, Text, ToolResult
from devflow_core.request import ChatRequest

_NAMES = {"file": "document", "audio": "sound"}
_DESCRIPTIONS = {"image": "images", "file": "documents", "audio": "sound", "video": "videos"}


def media_note(kind: str, media_type: str | None) -> str:
    """Return the text that stands in the place of media, for the model and its user to see.

    Args:
        kind: `image`, `file`, `audio` or `video`.
        media_type: the MIME type; None if it is unknown.
    """
    return f"[{_NAMES.get(kind, kind)} left out: {media_type or 'unknown type'}]"


def describe_omission(kind: str) -> str:
    """Return how media of a kind are named among what was left out of a request."""
    return f"{_DESCRIPTIONS[kind]} that the model cannot take"


def replace_media(request: ChatRequest, kinds: Container[str]) -> ChatRequest:
    """Return the request with a note in the place of all media of some kinds.

    A note keeps the cache marker of what it replaces. The body as received no longer matches, so
    the request is encoded from its parts.
    """
    messages = tuple(
        replace(message, parts=tuple(_replace_part(one, kinds) for one in message.parts))
        for message in request.messages
    )
    return request.with_messages(messages)


def _replace_part(part: Part, kinds: Container[str]) -> Part:
    if isinstance(part, ToolResult):
        inner = tuple(_replace_one(one, kinds) for one in part.parts)
        return replace(part, parts=inner)
    return _replace_one(part, kinds) if isinstance(part, Media) else part


def _replace_one(part: ResultPart, kinds: Container[str]) -> ResultPart:
    if not isinstance(part, Media) or part.kind not in kinds:
        return part
    return Text(text=media_note(part.kind, part.media_type), cache_ttl=part.cache_ttl)
