"""Defines the events of a streamed reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devflow_core.messages import JsonObject, OpaquePart, WireName
from devflow_core.usage import Iteration, ReportedCost, ReportedUsage, Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]
"""The normalised reasons of chat completions; `native_finish_reason` keeps the provider's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event's bytes, as received or repaired, for a client that speaks the same dialect."""

    wire: WireName
    data: bytes
    """A whole SSE event with its closing blank line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The provider has begun; the reply itself begins with the first event that `has_content`."""

    generation_id: str | None = None
    model: str | None = None
    """The model that answers, by the provider's name for it."""
    provider: str | None = None
    reported: ReportedUsage | None = None
    """The counts that the provider reports at the start, usually those of the input."""
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """A piece of the answer."""

    text: str
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDelta:
    """A piece of reasoning; deltas of one `index` form one block, and a signature may come last."""

    text: str = ""
    index: int = 0
    signature: str | None = None
    encrypted: str | None = None
    detail: JsonObject | None = None
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call; `id` and `name` come with the first piece of an `index`."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque:
    """An event that the hub cannot express; only clients of the same dialect receive it."""

    kind: str
    """The event's name in its dialect (`ping`, `content_block_stop`, `annotations`…)."""
    body: JsonObject | None = None
    is_content: bool = False
    """Whether the event carries content (a picture, a search) rather than only framing."""
    reported: ReportedUsage | None = None
    """The counts and the cost so far, if this event reports them."""
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The end of a complete reply; always the last event, and sent once."""

    finish_reason: FinishReason
    native_finish_reason: str | None = None
    usage: Usage | None = None
    """The token counts; None if the provider reported none, so that the ledger estimates them."""
    iterations: tuple[Iteration, ...] = ()
    """The calls that `usage` is the sum of, if there were several."""
    cost: ReportedCost | None = None
    has_bad_cost: bool = False
    """Whether the provider reported an impossible cost; see `ReportedUsage.has_bad_cost`."""
    raw_response: OpaquePart | None = None
    """The parts of a whole reply that only its own dialect can express (citations, images…)."""
    frame: Frame | None = None


Event = Started | TextDelta | ReasoningDelta | ToolCallDelta | Opaque | Finished


def has_content(event: Event) -> bool:
    """Return whether an event carries content; the reply begins with the first that does."""
    match event:
        case TextDelta():
            return bool(event.text)
        case ReasoningDelta():
            return bool(event.text or event.signature or event.encrypted)
        case ToolCallDelta() | Finished():
            return True
        case Opaque():
            return event.is_content
        case _:
            return False
