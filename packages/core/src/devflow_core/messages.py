"""Defines the messages of a conversation and the parts they consist of."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from devflow_core.media_files import (
    MediaKind,
    MediaSource,
    check_media,
    kind_of_url,
    read_media,
)

Role = Literal["system", "user", "assistant"]
"""The author of a message; tool results are the user's, and `developer` is `system`."""

WireName = str
"""The name of a dialect; each declares its own, and `devflow_core.wire.table` lists them all."""
CacheTtl = Literal["5m", "1h"]
JsonObject = Mapping[str, Any]
"""A decoded JSON object that is passed on unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of text."""

    text: str
    cache_ttl: CacheTtl | None = None
    """How long the prompt up to and including this part should be cached; None: not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image, a file, sound or video: exactly one of `url` and `base64` is set."""

    kind: MediaKind
    media_type: str | None = None
    """The MIME type, as in `image/png`; None if the dialect does not report it."""
    url: str | None = None
    base64: str | None = None
    name: str | None = None
    detail: str | None = None
    cache_ttl: CacheTtl | None = None

    @classmethod
    def from_path(cls, path: str | Path, *, media_type: str | None = None) -> Self:
        """Read an image, a PDF, sound or video from a file of at most 20 MB.

        Args:
            path: of the file; `~` is the home.
            media_type: its MIME type; None: found from its first bytes.

        Raises:
            InvalidRequest: the file is missing, unreadable, empty, too large or of an unknown type.
        """
        return cls._from_source(read_media(path, media_type), Path(path).name)

    @classmethod
    def from_bytes(
        cls, content: bytes, *, media_type: str | None = None, name: str | None = None
    ) -> Self:
        """Make media from at most 20 MB of bytes.

        Args:
            content: the whole file.
            media_type: its MIME type; None: found from its first bytes.
            name: the file's name; errors quote it, and the model sees that of a document.

        Raises:
            InvalidRequest: there are no bytes, too many, or of an unknown type.
        """
        return cls._from_source(check_media(content, media_type, name=name or "media"), name)

    @classmethod
    def from_url(cls, url: str, *, kind: MediaKind | None = None) -> Self:
        """Make media that the provider fetches from the web; nothing is fetched here.

        Args:
            url: begins with `https://` or `http://`.
            kind: what is there; None: found from the ending of the URL.

        Raises:
            InvalidRequest: it is not such a URL, or its ending does not say what is there.
        """
        guessed = kind_of_url(url, kind)
        return cls(kind=guessed, url=url)

    @classmethod
    def _from_source(cls, source: MediaSource, name: str | None) -> Self:
        encoded = b64encode(source.content).decode()
        shown = name if source.kind == "file" else None
        return cls(kind=source.kind, media_type=source.media_type, base64=encoded, name=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool that the assistant requests."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it; it may be malformed."""
    cache_ttl: CacheTtl | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaquePart:
    """A part that the hub cannot express; it is sent back only to the dialect it came from."""

    wire: WireName
    body: JsonObject


ResultPart = Text | Media | OpaquePart


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The content that a tool returned for the call `call_id`."""

    call_id: str
    parts: tuple[ResultPart, ...]
    is_error: bool = False
    cache_ttl: CacheTtl | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """A model's reasoning; signed or encrypted, it must go back to that model unchanged."""

    text: str = ""
    signature: str | None = None
    encrypted: str | None = None
    detail: JsonObject | None = None
    """The whole block as received (`reasoning_details[i]`, a thinking block)."""


Part = Text | Media | ToolCall | ToolResult | Reasoning | OpaquePart


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn, or a piece of the system prompt; system messages may appear anywhere."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    extra: JsonObject = field(default_factory=dict[str, Any])
    """Fields of the message that the hub lacks (`output_config`, `refusal`…)."""

    @property
    def text(self) -> str:
        """All text parts joined, without any others."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))
