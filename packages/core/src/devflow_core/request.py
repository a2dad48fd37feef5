"""Defines the hub's request, which every dialect is decoded into and encoded from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, Self

from devflow_core.attribution import Attribution
from devflow_core.messages import (
    CacheTtl,
    JsonObject,
    Media,
    Message,
    Text,
    WireName,
)
from devflow_core.routing import SelectionCriteria
from devflow_core.verification import Verification

SERVER_TOOL_PREFIX = "openrouter:"
"""The prefix of types of tools that the upstream runs, in every dialect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function the model may call, or (with `native`) a tool of another type."""

    name: str
    description: str = ""
    schema: JsonObject = field(default_factory=dict[str, Any])
    strict: bool | None = None
    cache_ttl: CacheTtl | None = None
    native: JsonObject | None = None
    """The whole definition of a tool that is not a function (`openrouter:web_search`…)."""

    @property
    def is_server_tool(self) -> bool:
        """Whether the upstream runs the tool, whatever dialect it is declared in."""
        return self.name.startswith(SERVER_TOOL_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """The rule for which tool must, may or must not be called."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    """The tool's name; set if `mode` is `tool`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """Structured output: any JSON object, or one that fits a schema."""

    kind: Literal["json_object", "json_schema"]
    schema: JsonObject = field(default_factory=dict[str, Any])
    name: str = "reply"
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningOptions:
    """The options for how much the model should reason; None keeps the model's default."""

    effort: str | None = None
    """`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`."""
    max_tokens: int | None = None
    enabled: bool | None = None
    exclude: bool | None = None
    """Whether the reasoning is left out of the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The unchanged body in which a request arrived, and its dialect."""

    wire: WireName
    body: JsonObject | None
    """The decoded body; `Dialect.encode_request` says what is changed when it is sent.

    None if the request's messages were changed, so that it is encoded from its parts.
    """
    headers: tuple[tuple[str, str], ...] = ()
    """Request headers that belong to the dialect and are passed on (`anthropic-beta`…)."""
    resumable_as: str | None = None
    """The model that replies name for a client that may later send them to Anthropic.

    Such replies hold no reasoning that Anthropic has not signed. None: replies name the real model,
    and hold all of its reasoning.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPiece:
    """One piece of injected context, with the place it was taken from."""

    kind: str
    """`goal`, `summary`, `decision`, `note`, `command`, `file`, `failure`, `todo`, `question` or
    `exchange`."""
    text: str
    source_path: str
    source_line: int
    """The line in the transcript, from 1."""
    tokens: int
    """The estimated number of its tokens."""

    def as_json(self) -> dict[str, Any]:
        """Return the piece as JSON values; `source` holds path and line in the transcript."""
        return {
            "kind": self.kind,
            "text": self.text,
            "tokens": self.tokens,
            "source": {"path": self.source_path, "line": self.source_line},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request to a model; immutable: `with_…` returns a changed copy that shares the messages."""

    model: str = "auto"
    """A model id, an alias, `auto`, `auto:cheap`, `auto:fast`, `auto:best`, `auto:verified`."""
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
    """Whether the caller wants a stream; the provider is always asked for one."""
    extra: JsonObject = field(default_factory=dict[str, Any])
    """Fields of the body that the hub has no field for (`provider`, `plugins`, `metadata`…)."""
    attribution: Attribution = field(default_factory=Attribution)
    criteria: SelectionCriteria | None = None
    """The caller's preferences; None: the weights of the settings."""
    max_cost_usd: Decimal | None = None
    """A ceiling on the worst case of this request, in USD."""
    verification: Verification | None = None
    """The checks that an answer has to pass; None: none, but for the mode `auto:verified`."""
    user_key: str | None = field(default=None, repr=False)
    """The caller's own provider key for this request; the only one used then, and never stored."""
    allowed_models: tuple[str, ...] | None = None
    """Patterns of the ids of models that may answer, as for file names; None: all."""
    context: tuple[ContextPiece, ...] = ()
    """The pieces of context that an injector has added, for display."""
    origin: Origin | None = None

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        model: str = "auto",
        system: str | None = None,
        media: Sequence[Media] = (),
    ) -> Self:
        """Make a request with one user message and, if given, a system prompt before it.

        Args:
            text: what the user says.
            model: a model id, an alias, or `auto` and its modes.
            system: the system prompt; None: none.
            media: images and files that the text is about, put before it.
        """
        messages: list[Message] = []
        if system is not None:
            messages.append(Message(role="system", parts=(Text(text=system),)))
        messages.append(Message(role="user", parts=(*media, Text(text=text))))
        return cls(model=model, messages=tuple(messages))

    def with_messages(self, messages: tuple[Message, ...]) -> Self:
        """Return a copy with other messages; the origin's body no longer matches and is dropped."""
        origin = self.origin and replace(self.origin, body=None)
        return replace(self, messages=messages, origin=origin)

    def with_context(self, pieces: tuple[ContextPiece, ...], attribution: Attribution) -> Self:
        """Return a copy with the injected pieces, and the labels the request now has."""
        return replace(self, context=pieces, attribution=attribution)
