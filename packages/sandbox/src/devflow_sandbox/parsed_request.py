"""A request for a reply, read out of any of the three dialects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import orjson

from devflow_sandbox.api_error import DialectName, invalid_request
from devflow_sandbox.document import Document, read_document
from devflow_sandbox.message import JsonObject

Ttl = Literal["5m", "1h"]

MEDIA_TOKENS = 258
"""What an image, a sound or a page of a file counts for here; there it depends on its size."""

MediaKind = Literal["image", "audio", "file"]


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of the prompt, in order: tools first, then system, then messages."""

    role: str
    text: str
    ttl: Ttl | None = None
    """The client marked the prompt up to here for the cache."""
    media: MediaKind | None = None
    document: Document | None = None
    """The PDF that this piece is."""

    @property
    def tokens(self) -> int:
        """About four characters a token; no tokenizer is shipped."""
        if self.media is None:
            return (len(self.text) + 3) // 4
        return MEDIA_TOKENS * (1 if self.document is None else self.document.pages)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A function that the reply may call."""

    name: str
    schema: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningRequest:
    """How much thinking is asked for, and whether it is shown."""

    is_enabled: bool
    is_hidden: bool = False
    effort: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """What is asked, whatever the dialect."""

    dialect: DialectName
    body: JsonObject
    models: tuple[str, ...]
    """The model and its fallbacks, in order."""
    blocks: tuple[Block, ...]
    stream: bool = False
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or `=name` for one tool."""
    schema: JsonObject | None = None
    """The JSON schema that the text of the reply has to fit."""
    wants_json: bool = False
    max_tokens: int | None = None
    reasoning: ReasoningRequest | None = None
    provider: JsonObject = field(default_factory=dict[str, Any])
    session_id: str | None = None
    user: str | None = None
    implicit_cache: bool = True

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt, with a few tokens of framing for each piece."""
        return sum(block.tokens for block in self.blocks) + 3 * len(self.blocks) + 4

    @property
    def audio_tokens(self) -> int:
        """Of the prompt, those of sound."""
        return sum(block.tokens for block in self.blocks if block.media == "audio")

    @property
    def turn(self) -> int:
        """How many replies the conversation holds already."""
        return sum(1 for block in self.blocks if block.role == "assistant")

    @property
    def last_block(self) -> Block | None:
        """The last piece of the prompt."""
        return self.blocks[-1] if self.blocks else None

    @property
    def question(self) -> str:
        """The last thing that a person said; what is in angle brackets was put in by tools."""
        fallback = ""
        for block in reversed(self.blocks):
            if block.role == "user" and block.media is None and block.text.strip():
                if not block.text.lstrip().startswith("<"):
                    return block.text
                fallback = fallback or block.text
        return fallback


_MEDIA_NAMES: dict[MediaKind, tuple[str, ...]] = {
    "image": ("image",),
    "audio": ("audio",),
    "file": ("file", "document"),
}


def parse_body(body: bytes) -> JsonObject:
    """A request body as an object.

    Raises:
        ApiError: 400.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid_request("Invalid JSON in request body") from error
    if not isinstance(value, dict):
        raise invalid_request("Invalid input: expected object at the top of the request body")
    return cast(JsonObject, value)


class BodyReader:
    """Takes fields of a body by type; what has another type is the client's error."""

    def __init__(self, body: JsonObject, path: str = "") -> None:
        self.body = body
        self._path = path

    def _invalid_field(self, name: str, expected: str) -> Exception:
        value = self.body.get(name)
        received = "null" if value is None else type(value).__name__
        return invalid_request(
            f"Invalid input: {self._path}{name}: expected {expected}, received {received}"
        )

    def text(self, name: str) -> str | None:
        """A string, or None."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise self._invalid_field(name, "string")
        return value

    def flag(self, name: str) -> bool:
        """A boolean; absent is false."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._invalid_field(name, "boolean")
        return bool(value)

    def count(self, name: str) -> int | None:
        """A whole number of at least 1, or None."""
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._invalid_field(name, "integer")
        if value < 1:
            raise invalid_request(
                f"Invalid input: {self._path}{name}: expected at least 1, received {value}"
            )
        return int(value)

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number within inclusive limits, or None."""
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._invalid_field(name, "number")
        if not low <= value <= high:
            raise invalid_request(
                f"Invalid input: {self._path}{name}: expected {low:g} to {high:g}, received {value}"
            )
        return float(value)

    def object(self, name: str) -> JsonObject:
        """An object; absent is empty."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._invalid_field(name, "object")
        return cast(JsonObject, value or {})

    def objects(self, name: str) -> list[JsonObject]:
        """A list of objects; absent is empty."""
        value = self.body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(
            isinstance(one, dict) for one in cast("list[object]", value)
        ):
            raise self._invalid_field(name, "array of objects")
        return cast("list[JsonObject]", value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; absent is empty."""
        value = self.body.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            isinstance(one, str) for one in cast("list[object]", value)
        ):
            raise self._invalid_field(name, "array of strings")
        return tuple(cast("list[str]", value))


def read_ttl(holder: JsonObject) -> Ttl | None:
    """How long the prompt up to this block is to be kept, where it is marked."""
    control = holder.get("cache_control") or holder.get("prompt_cache_breakpoint")
    if not isinstance(control, dict):
        return None
    return "1h" if cast(JsonObject, control).get("ttl") == "1h" else "5m"


def content_blocks(role: str, content: object, holder: JsonObject) -> Iterable[Block]:
    """A message's content, a string or a list of parts, as blocks."""
    if isinstance(content, str):
        yield Block(role, content, read_ttl(holder))
        return
    if content is None:
        return
    if not isinstance(content, list):
        raise invalid_request("Invalid input: messages.content: expected string or array")
    for part in cast("list[object]", content):
        if not isinstance(part, dict):
            raise invalid_request("Invalid input: messages.content: expected array of objects")
        yield to_block(role, cast(JsonObject, part))


def to_block(role: str, part: JsonObject) -> Block:
    """One part of a message's content."""
    text = part.get("text")
    if isinstance(text, str):
        return Block(role, text, read_ttl(part))
    kind = str(part.get("type", "")).removeprefix("input_")
    for media, names in _MEDIA_NAMES.items():
        if kind.startswith(names):
            document = read_document(part) if media == "file" else None
            return Block(role, "", read_ttl(part), media=media, document=document)
    return Block(role, orjson.dumps(part).decode(), read_ttl(part))


def mark_last_block(blocks: tuple[Block, ...], ttl: Ttl | None) -> tuple[Block, ...]:
    """With the last block marked, as a `cache_control` at the top of the body asks for."""
    if ttl is None or not blocks:
        return blocks
    return (*blocks[:-1], replace(blocks[-1], ttl=ttl))


def tool_blocks(tools: list[JsonObject]) -> Iterable[Block]:
    """Tool definitions as the head of the prompt."""
    for tool in tools:
        yield Block("tools", orjson.dumps(tool).decode(), read_ttl(tool))
