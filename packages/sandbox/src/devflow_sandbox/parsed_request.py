"""Represents a request for a reply, parsed from any of the three dialects."""

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
"""The tokens of an image, audio clip or page; with OpenRouter they depend on its size."""

_SYSTEM_ROLES = ("system", "developer")

MediaKind = Literal["image", "audio", "file"]


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of the prompt. The order is: tools, system, messages."""

    role: str
    """`tools`, `system`, `developer`, `user`, `assistant`, `call` or `tool`."""
    text: str
    """The text; empty for media."""
    ttl: Ttl | None = None
    """The cache lifetime, if the client marked the prompt up to here."""
    media: MediaKind | None = None
    document: Document | None = None
    """The PDF, if the piece is one."""

    @property
    def is_added(self) -> bool:
        """Whether the client wrote the block, not a person.

        This holds for system and developer texts, and for user texts that begin with `<`.
        """
        if self.role in _SYSTEM_ROLES:
            return True
        return self.role == "user" and self.text.lstrip().startswith("<")

    @property
    def tokens(self) -> int:
        """The estimated tokens: four characters each, as no tokenizer is shipped."""
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
    """The amount of reasoning that is requested, and whether it is shown."""

    is_enabled: bool
    is_hidden: bool = False
    """Whether it is left out of the reply; the stand-in then writes and bills none."""
    effort: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """A request for a reply, in any dialect."""

    dialect: DialectName
    body: JsonObject
    models: tuple[str, ...]
    """The requested model and its fallbacks, in order."""
    blocks: tuple[Block, ...]
    stream: bool = False
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or `=name` for one tool."""
    schema: JsonObject | None = None
    """The JSON schema that the reply's text has to match."""
    wants_json: bool = False
    """Whether the text has to be JSON, of any form."""
    max_tokens: int | None = None
    """The longest reply; None: the model's own limit."""
    reasoning: ReasoningRequest | None = None
    """The requested reasoning; None if the request does not mention it."""
    provider: JsonObject = field(default_factory=dict[str, Any])
    """The `provider` object: preferences for the routing."""
    session_id: str | None = None
    """The conversation, which stays with its provider."""
    user: str | None = None
    implicit_cache: bool = True
    """Whether a provider may cache without being told; False: only marked prompts are cached."""

    @property
    def prompt_tokens(self) -> int:
        """The tokens of the whole prompt, with a few tokens of framing for each piece."""
        # the framing, about as OpenAI's: 3 tokens a piece, and a few for the start of the reply
        return sum(block.tokens for block in self.blocks) + 3 * len(self.blocks) + 4

    @property
    def audio_tokens(self) -> int:
        """The audio part of the prompt's tokens."""
        return sum(block.tokens for block in self.blocks if block.media == "audio")

    @property
    def turn(self) -> int:
        """The number of replies already in the conversation."""
        return sum(1 for block in self.blocks if block.role == "assistant")

    @property
    def last_block(self) -> Block | None:
        """The last piece of the conversation that is not a system text; None if there is none."""
        said = (one for one in reversed(self.blocks) if one.role not in _SYSTEM_ROLES)
        return next(said, None)

    @property
    def is_after_tool(self) -> bool:
        """Whether the prompt ends with a tool result, apart from what the client wrote after it.

        Claude Code adds reminders: as user texts or (2.1.332) as a system message.
        """
        last = next((one for one in reversed(self.blocks) if not one.is_added), None)
        return last is not None and last.role == "tool"

    @property
    def question(self) -> str:
        """The last user text that does not begin with `<`, as the client's own texts do.

        If all of them do, the last user text; '' if there is none.
        """
        fallback = ""
        for block in reversed(self.blocks):
            if block.role == "user" and block.media is None and block.text.strip():
                if not block.is_added:
                    return block.text
                fallback = fallback or block.text
        return fallback


_MEDIA_NAMES: dict[MediaKind, tuple[str, ...]] = {
    "image": ("image",),
    "audio": ("audio",),
    "file": ("file", "document"),
}


def parse_body(body: bytes) -> JsonObject:
    """Parse a request body as an object.

    Raises:
        ApiError: 400, if it is not a JSON object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid_request("Invalid JSON in request body") from error
    if not isinstance(value, dict):
        raise invalid_request("Invalid input: expected object at the top of the request body")
    return cast(JsonObject, value)


class BodyReader:
    """Reads fields of a body by type; a field of another type raises `ApiError` (400), naming it.

    Args:
        body: the object to read from.
        path: what stands before a field's name in an error, such as `tools.`.
    """

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
        """Read a string; None if absent."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise self._invalid_field(name, "string")
        return value

    def flag(self, name: str) -> bool:
        """Read a boolean; False if absent."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._invalid_field(name, "boolean")
        return bool(value)

    def count(self, name: str) -> int | None:
        """Read an integer of at least 1; None if absent."""
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
        """Read a number within inclusive limits; None if absent."""
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
        """Read an object; empty if absent."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._invalid_field(name, "object")
        return cast(JsonObject, value or {})

    def objects(self, name: str) -> list[JsonObject]:
        """Read a list of objects; empty if absent."""
        value = self.body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(
            isinstance(one, dict) for one in cast("list[object]", value)
        ):
            raise self._invalid_field(name, "array of objects")
        return cast("list[JsonObject]", value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of strings; empty if absent."""
        value = self.body.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            isinstance(one, str) for one in cast("list[object]", value)
        ):
            raise self._invalid_field(name, "array of strings")
        return tuple(cast("list[str]", value))


def read_ttl(holder: JsonObject) -> Ttl | None:
    """Return how long to cache the prompt up to this block; None if it is not marked."""
    control = holder.get("cache_control") or holder.get("prompt_cache_breakpoint")
    if not isinstance(control, dict):
        return None
    return "1h" if cast(JsonObject, control).get("ttl") == "1h" else "5m"


def content_blocks(role: str, content: object, holder: JsonObject) -> Iterable[Block]:
    """Yield the blocks of a message's content, a string or a list of parts; none for None.

    Args:
        role: the role of all blocks.
        content: the message's content.
        holder: the message, which may mark a string to be cached.

    Raises:
        ApiError: 400, if the content has another type.
    """
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
    """Return one part of a message's content as a block; a part of unknown kind as its JSON."""
    text = part.get("text")
    if isinstance(text, str):
        return Block(role, text, read_ttl(part))
    kind = str(part.get("type", "")).removeprefix("input_")
    for media, names in _MEDIA_NAMES.items():
        if kind.startswith(names):
            document = read_document(part) if media == "file" else None
            return Block(role, "", read_ttl(part), media=media, document=document)
    # unknown parts count by their JSON, so that nothing is free
    return Block(role, orjson.dumps(part).decode(), read_ttl(part))


def mark_last_block(blocks: tuple[Block, ...], ttl: Ttl | None) -> tuple[Block, ...]:
    """Mark the last block, which is what `cache_control` at the top of the body means.

    For None, the blocks are returned as they are.
    """
    if ttl is None or not blocks:
        return blocks
    return (*blocks[:-1], replace(blocks[-1], ttl=ttl))


def tool_blocks(tools: list[JsonObject]) -> Iterable[Block]:
    """Yield tool definitions as blocks, the head of the prompt."""
    for tool in tools:
        yield Block("tools", orjson.dumps(tool).decode(), read_ttl(tool))
