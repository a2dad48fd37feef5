"""A turn of a conversation and the pieces it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
"""Tool results are parts of a user message, as in Anthropic's format; `developer` is `system`."""

WireName = str
"""The name of a dialect: each declares its own, `devflow_core.wire.table` holds them all."""
CacheTtl = Literal["5m", "1h"]
JsonObject = Mapping[str, Any]
"""A decoded JSON object that we carry and do not change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of text."""

    text: str
    cache_ttl: CacheTtl | None = None
    """The prompt up to and including this part is to be cached this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image, a file, sound or video: exactly one of `url` and `base64` is set."""

    kind: Literal["image", "file", "audio", "video"]
    media_type: str | None = None
    """As in `image/png`; None where the wire does not tell."""
    url: str | None = None
    base64: str | None = None
    name: str | None = None
    detail: str | None = None
    cache_ttl: CacheTtl | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The assistant asks for a tool."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it; it may be broken."""
    cache_ttl: CacheTtl | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaquePart:
    """A part of a kind that we have no word for; the wire that sent it gets it back."""

    wire: WireName
    body: JsonObject


ResultPart = Text | Media | OpaquePart


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool gave back for the call `call_id`."""

    call_id: str
    parts: tuple[ResultPart, ...]
    is_error: bool = False
    cache_ttl: CacheTtl | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """A model's thinking; with a signature or encrypted it must go back to that model unchanged."""

    text: str = ""
    signature: str | None = None
    encrypted: str | None = None
    detail: JsonObject | None = None
    """The block as the wire had it (`reasoning_details[i]`, a thinking block), kept whole."""


Part = Text | Media | ToolCall | ToolResult | Reasoning | OpaquePart


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn, or a piece of the system prompt. System messages may stand anywhere."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    extra: JsonObject = field(default_factory=dict[str, Any])
    """Fields of the wire's message that have no word here (`output_config`, `refusal`…)."""

    @property
    def text(self) -> str:
        """All text parts joined, nothing else."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))
