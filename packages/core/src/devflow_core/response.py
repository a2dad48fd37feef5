"""Collects the events of a reply into a whole reply."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from devflow_core.events import (
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.messages import OpaquePart, Part, Reasoning, Text, ToolCall
from devflow_core.usage import ReportedCost, Usage

_Delta = TypeVar("_Delta", ReasoningDelta, ToolCallDelta)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResponse:
    """A whole reply, collected from its events."""

    generation_id: str | None
    model: str | None
    provider: str | None
    parts: tuple[Part, ...]
    """Reasoning, text and tool calls in the order they began."""
    finish_reason: FinishReason
    native_finish_reason: str | None
    usage: Usage | None
    """The token counts; None, like `cost`, if the provider reported none."""
    cost: ReportedCost | None
    raw_response: OpaquePart | None = None
    """Content of the provider's reply that the hub cannot express; see `Finished.raw_response`."""

    @property
    def text(self) -> str:
        """The text of the answer, without reasoning."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


class Collector:
    """Collects events into a `ChatResponse`: `add` each, then call `to_response()` at the end."""

    def __init__(self) -> None:
        self._started = Started()
        self._finished: Finished | None = None
        self._blocks: list[Sequence[TextDelta | ReasoningDelta | ToolCallDelta]] = []
        self._text: list[TextDelta] | None = None
        self._reasoning: dict[int, list[ReasoningDelta]] = {}
        self._calls: dict[int, list[ToolCallDelta]] = {}

    @property
    def finished(self) -> Finished | None:
        """The terminal event; None until it has come."""
        return self._finished

    def add(self, event: Event) -> None:
        """Record the next event; an `Opaque` one adds nothing to the reply."""
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
            case _:  # an Opaque: the hub cannot express it
                pass

    def to_response(self) -> ChatResponse:
        """Return the whole reply.

        Raises:
            ValueError: no `Finished` has come; a reply that was cut off is an error, not a reply.
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
            raw_response=self._finished.raw_response,
        )

    def parts(self) -> tuple[Part, ...]:
        """Return the parts so far, even of a reply that was cut off."""
        return tuple(_build_part(block) for block in self._blocks)

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
        self._text = None  # text after another block starts a separate part


def _build_part(block: Sequence[TextDelta | ReasoningDelta | ToolCallDelta]) -> Part:
    first = block[0]
    if isinstance(first, TextDelta):
        return Text(text="".join(delta.text for delta in block if isinstance(delta, TextDelta)))
    if isinstance(first, ToolCallDelta):
        return _build_tool_call([delta for delta in block if isinstance(delta, ToolCallDelta)])
    return _build_reasoning([delta for delta in block if isinstance(delta, ReasoningDelta)])


def _build_tool_call(deltas: list[ToolCallDelta]) -> ToolCall:
    return ToolCall(
        id=next((delta.id for delta in deltas if delta.id), ""),
        name=next((delta.name for delta in deltas if delta.name), ""),
        arguments="".join(delta.arguments for delta in deltas),
    )


def _build_reasoning(deltas: list[ReasoningDelta]) -> Reasoning:
    return Reasoning(
        text="".join(delta.text for delta in deltas),
        signature=next((delta.signature for delta in deltas if delta.signature), None),
        encrypted=next((delta.encrypted for delta in deltas if delta.encrypted), None),
        detail=next((delta.detail for delta in reversed(deltas) if delta.detail), None),
    )


async def collect(events: AsyncIterator[Event]) -> ChatResponse:
    """Collect all events into the whole reply.

    Raises:
        ValueError: the events end without `Finished`.
        DevFlowError: any error that the events raise.
    """
    collector = Collector()
    async for event in events:
        collector.add(event)
    return collector.to_response()
