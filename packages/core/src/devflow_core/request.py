"""What is asked, in our own words: the hub between all wire formats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, Self

from devflow_core.attribution import Attribution
from devflow_core.messages import (
    CacheTtl,
    JsonObject,
    Message,
    Text,
    WireName,
)
from devflow_core.routing import SelectionCriteria

SERVER_TOOL_PREFIX = "openrouter:"
"""What the types of tools begin with that the upstream runs, in every dialect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function the model may call, or (with `native`) a tool the provider runs itself."""

    name: str
    description: str = ""
    schema: JsonObject = field(default_factory=dict[str, Any])
    strict: bool | None = None
    cache_ttl: CacheTtl | None = None
    native: JsonObject | None = None
    """The whole wire object of a tool that is not a function (`openrouter:web_search`…)."""

    @property
    def is_server_tool(self) -> bool:
        """Whether the upstream runs it, in whichever dialect it is declared."""
        return self.name.startswith(SERVER_TOOL_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """Which tool must, may or must not be called."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    """Set when mode is `tool`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """Structured output: any JSON object, or one that fits a schema."""

    kind: Literal["json_object", "json_schema"]
    schema: JsonObject = field(default_factory=dict[str, Any])
    name: str = "reply"
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningOptions:
    """How much the model shall think; everything None is the model's default."""

    effort: str | None = None
    """`none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`."""
    max_tokens: int | None = None
    enabled: bool | None = None
    exclude: bool | None = None
    """Think, but do not send the thinking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The untouched wire body a request came in."""

    wire: WireName
    body: JsonObject | None
    """Decoded, never changed; its wire replaces only the model. None: the messages are others."""
    headers: tuple[tuple[str, str], ...] = ()
    """Request headers that belong to the dialect and go on with it (`anthropic-beta`…)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPiece:
    """One piece of injected context, with the place it was taken from."""

    kind: str
    """`goal`, `todo`, `decision`, `file`, `failure`, `question`, `exchange`, `summary`."""
    text: str
    source_path: str
    source_line: int
    """Line in the transcript, from 1."""
    tokens: int
    """Estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What is asked. Immutable; `with_…` returns a changed copy that shares the messages."""

    model: str = "auto"
    """A model id, an alias, `auto`, `auto:cheap`, `auto:fast` or `auto:best`."""
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    response_format: ResponseFormat | None = None
    reasoning: ReasoningOptions | None = None
    is_stream: bool = True
    """How the caller wants the reply; upstream it is always asked for as a stream."""
    extra: JsonObject = field(default_factory=dict[str, Any])
    """Fields of the wire that have no word here (`provider`, `plugins`, `metadata`…)."""
    attribution: Attribution = field(default_factory=Attribution)
    criteria: SelectionCriteria | None = None
    """None: the settings' weights."""
    max_cost_usd: Decimal | None = None
    """A ceiling on the worst case of this request."""
    user_key: str | None = field(default=None, repr=False)
    """The caller's own provider key for this request; used before the gateway's, never stored."""
    allowed_models: tuple[str, ...] | None = None
    """Patterns of model ids that may answer, as of file names; None is all."""
    context: tuple[ContextPiece, ...] = ()
    """What an injector has put in, for those who want to see it."""
    origin: Origin | None = None

    @classmethod
    def from_text(cls, text: str, *, model: str = "auto", system: str | None = None) -> Self:
        """A request with one user message and, if given, a system prompt before it."""
        messages: list[Message] = []
        if system is not None:
            messages.append(Message(role="system", parts=(Text(text=system),)))
        messages.append(Message(role="user", parts=(Text(text=text),)))
        return cls(model=model, messages=tuple(messages))

    def with_messages(self, messages: tuple[Message, ...]) -> Self:
        """Other messages; the origin's body is dropped, since it no longer says the same."""
        origin = self.origin and replace(self.origin, body=None)
        return replace(self, messages=messages, origin=origin)

    def with_context(self, pieces: tuple[ContextPiece, ...], attribution: Attribution) -> Self:
        """The pieces that were injected, and whom the request now belongs to."""
        return replace(self, context=pieces, attribution=attribution)
