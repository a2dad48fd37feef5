"""What is asked and what comes back, in our own words: the hub between all wire formats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, Self, TypeVar

from devflow_core.events import (
    Event,
    Finished,
    FinishReason,
    Frame,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.ledger import Attribution
from devflow_core.parts import (
    CacheTtl,
    JsonObject,
    Media,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    WireName,
)
from devflow_core.routing import SelectionCriteria
from devflow_core.usage import ReportedCost, Usage

__all__ = [
    "CacheTtl",
    "ChatRequest",
    "ChatResponse",
    "Collector",
    "ContextPiece",
    "Event",
    "FinishReason",
    "Finished",
    "Frame",
    "JsonObject",
    "Media",
    "Message",
    "Opaque",
    "Origin",
    "Part",
    "Reasoning",
    "ReasoningDelta",
    "ReasoningOptions",
    "ResponseFormat",
    "Role",
    "Started",
    "Text",
    "TextDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "ToolResult",
    "Unknown",
    "WireName",
    "collect",
]  # fmt: skip - the parts are public here too, so that one import serves


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


_Delta = TypeVar("_Delta", ReasoningDelta, ToolCallDelta)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResponse:
    """The fold of the events of one whole reply."""

    generation_id: str | None
    model: str | None
    provider: str | None
    parts: tuple[Part, ...]
    """Reasoning, text and tool calls in the order they began."""
    finish_reason: FinishReason
    native_finish_reason: str | None
    usage: Usage | None
    cost: ReportedCost | None
    whole: Unknown | None = None
    """As `Finished.whole`."""

    @property
    def text(self) -> str:
        """All text of the answer, without reasoning."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


class Collector:
    """Folds events into a `ChatResponse`; `add` each, then `response()` after `Finished`."""

    def __init__(self) -> None:
        self._started = Started()
        self._finished: Finished | None = None
        self._blocks: list[Sequence[TextDelta | ReasoningDelta | ToolCallDelta]] = []
        self._text: list[TextDelta] | None = None
        self._reasoning: dict[int, list[ReasoningDelta]] = {}
        self._calls: dict[int, list[ToolCallDelta]] = {}

    @property
    def finished(self) -> Finished | None:
        """The terminal event, when it has come."""
        return self._finished

    def add(self, event: Event) -> None:
        """Take the next event in."""
        match event:
            case TextDelta():
                self._add_text(event)
            case ToolCallDelta():
                self._add_indexed(event, self._calls)
            case ReasoningDelta():
                self._add_indexed(event, self._reasoning)
            case Started():
                self._started = event
            case Finished():
                self._finished = event
            case _:  # an Opaque: nothing the hub has a word for
                pass

    def response(self) -> ChatResponse:
        """The whole reply.

        Raises:
            ValueError: when no `Finished` has come; a reply that is cut is an error, not a reply.
        """
        if self._finished is None:
            raise ValueError("the reply is not finished")
        return ChatResponse(
            generation_id=self._started.generation_id,
            model=self._started.model,
            provider=self._started.provider,
            parts=self.parts(),
            finish_reason=self._finished.finish_reason,
            native_finish_reason=self._finished.native_finish_reason,
            usage=self._finished.usage,
            cost=self._finished.cost,
            whole=self._finished.whole,
        )

    def parts(self) -> tuple[Part, ...]:
        """What has come so far, also of a reply that was cut."""
        return tuple(_part(block) for block in self._blocks)

    def _add_text(self, event: TextDelta) -> None:
        if not event.text:
            return
        if self._text is None:
            self._text = [event]
            self._blocks.append(self._text)
        else:
            self._text.append(event)

    def _add_indexed(self, event: _Delta, into: dict[int, list[_Delta]]) -> None:
        block = into.get(event.index)
        if block is not None:
            block.append(event)
            return
        into[event.index] = block = [event]
        self._blocks.append(block)
        self._text = None  # text after another block is a part of its own


def _part(block: Sequence[TextDelta | ReasoningDelta | ToolCallDelta]) -> Part:
    first = block[0]
    if isinstance(first, TextDelta):
        return Text(text="".join(delta.text for delta in block if isinstance(delta, TextDelta)))
    if isinstance(first, ToolCallDelta):
        return _tool_call([delta for delta in block if isinstance(delta, ToolCallDelta)])
    return _reasoning([delta for delta in block if isinstance(delta, ReasoningDelta)])


def _tool_call(deltas: list[ToolCallDelta]) -> ToolCall:
    return ToolCall(
        id=next((delta.id for delta in deltas if delta.id), ""),
        name=next((delta.name for delta in deltas if delta.name), ""),
        arguments="".join(delta.arguments for delta in deltas),
    )


def _reasoning(deltas: list[ReasoningDelta]) -> Reasoning:
    return Reasoning(
        text="".join(delta.text for delta in deltas),
        signature=next((delta.signature for delta in deltas if delta.signature), None),
        encrypted=next((delta.encrypted for delta in deltas if delta.encrypted), None),
        detail=next((delta.detail for delta in reversed(deltas) if delta.detail), None),
    )


async def collect(events: AsyncIterator[Event]) -> ChatResponse:
    """The whole reply: the fold of all events.

    Raises:
        ValueError: when the events end without `Finished`.
        DevFlowError: whatever the events raise.
    """
    collector = Collector()
    async for event in events:
        collector.add(event)
    return collector.response()
