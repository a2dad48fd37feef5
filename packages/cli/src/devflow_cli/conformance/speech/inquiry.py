"""Defines questions and replies in a form that is the same for every dialect."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

from devflow_cli.conformance.recording import JsonObject, TimedEvent
from devflow_cli.conformance.terms import MAX_OUTPUT_TOKENS, Group

Ending = Literal["end", "length", "stop", "calls", "other"]
_PICTURE_PIXELS = 256
"""Width and height of the picture: enough for 85 tokens at every maker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One request, independent of any dialect."""

    question: str
    stream: bool = False
    system: str | None = None
    late_system: str | None = None
    """The text of a system or developer message inside the conversation."""
    tools: Sequence[str] = ()
    """Names of the tools on offer; a tool's input is the end of its name: `left` of `read_left`."""
    results: Sequence[tuple[str, str]] = ()
    """The id of a call that was made, and its result, for each tool in order."""
    max_tokens: int = MAX_OUTPUT_TOKENS
    stop: str | None = None
    """The text at which the reply has to stop; for `messages` only."""
    schema: JsonObject | None = None
    has_picture: bool = False
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of the body, as the dialect calls them; they replace others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardCall:
    """A tool call in a reply."""

    id: str
    name: str
    arguments: str
    """The arguments as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """The content of a reply; a streamed reply is put together leniently."""

    text: str
    calls: tuple[HeardCall, ...]
    ending: Ending
    input_tokens: int
    """The tokens of the whole prompt, with those read from a cache or written to one."""
    output_tokens: int
    cached_tokens: int
    total_tokens: int | None
    """Prompt and reply together, as the reply states it, else 0; None: the dialect has no field."""
    reply: JsonObject
    """The whole reply, in the dialect's own shape."""


class Speech(Protocol):
    """One dialect, as a client speaks it."""

    group: Group
    path: str
    """The path and query of the requests, below the gateway's URL."""
    headers: Mapping[str, str]

    def write(self, inquiry: Inquiry, model: str) -> JsonObject:
        """Return the body of a request."""
        ...

    def read(self, reply: JsonObject) -> Utterance:
        """Return what a whole reply says.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: the reply is not shaped as the
                dialect says.
        """
        ...

    def assemble(self, events: Sequence[TimedEvent]) -> JsonObject:
        """Return the whole reply that the events of a stream add up to, even if out of order.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: an event is not shaped as the
                dialect says.
        """
        ...

    def find_text(self, event: TimedEvent) -> str:
        """Return the text that an event adds to the reply; '' if it adds none."""
        ...

    def invalid_body(self, model: str) -> JsonObject:
        """Return a body that every gateway has to refuse."""
        ...

    def find_error(self, body: JsonObject) -> str | None:
        """Return the kind of the error in a body or event; None if it has none in this dialect."""
        ...


@lru_cache(maxsize=1)
def make_picture() -> str:
    """Return a red square as a PNG in base64."""
    size = _PICTURE_PIXELS
    # PNG: each row begins with its filter, 0 for none
    rows = (b"\x00" + b"\xd0\x10\x10" * size) * size
    # PNG: 8 bits a sample, colour type 2 (RGB)
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    made = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + made).decode()


def tool_schema(name: str) -> JsonObject:
    """Return the schema of a tool's input: the word in its name, and nothing else."""
    side = name.rpartition("_")[2]
    return {
        "type": "object",
        "properties": {"side": {"type": "string", "enum": [side]}},
        "required": ["side"],
        "additionalProperties": False,
    }


def count_of(usage: Mapping[str, Any], *names: str) -> int:
    """Return the sum of the named counts of a usage; missing ones and nulls count as 0."""
    return sum(int(usage.get(name) or 0) for name in names)
