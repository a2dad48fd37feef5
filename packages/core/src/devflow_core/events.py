"""The events of a reply as it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devflow_core.messages import JsonObject, OpaquePart, WireName
from devflow_core.usage import Iteration, ReportedCost, ReportedUsage, Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]
"""The normalised reasons of chat completions; the provider's own word is `native_finish_reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The bytes of one event as the wire had them, for a reader of the same wire."""

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
    """What the provider counts at the beginning already, mostly the input."""
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """A piece of the answer."""

    text: str
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDelta:
    """A piece of thinking. Deltas of one `index` are one block; a signature may come last."""

    text: str = ""
    index: int = 0
    signature: str | None = None
    encrypted: str | None = None
    detail: JsonObject | None = None
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call. `id` and `name` come with the first piece of an `index`."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque:
    """An event that the hub has no word for; a reader of the same wire gets it, others do not."""

    kind: str
    """What it was (`ping`, `content_block_stop`, `annotations`…)."""
    body: JsonObject | None = None
    is_content: bool = False
    """Whether it shows something of the reply (a picture, a search), not only its frame."""
    reported: ReportedUsage | None = None
    """The counts and the cost up to here, where this event tells them."""
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The reply is whole. Always the last event, once."""

    finish_reason: FinishReason
    native_finish_reason: str | None = None
    usage: Usage | None = None
    """None where the provider reported nothing; the ledger then estimates and says so."""
    iterations: tuple[Iteration, ...] = ()
    """The calls that `usage` is the sum of, where there were several."""
    cost: ReportedCost | None = None
    has_bad_cost: bool = False
    """Whether the provider reported a cost that cannot be; see `ReportedUsage.has_bad_cost`."""
    raw_response: OpaquePart | None = None
    """What a whole reply of this wire holds beside the hub's words (citations, images…)."""
    frame: Frame | None = None


Event = Started | TextDelta | ReasoningDelta | ToolCallDelta | Opaque | Finished


def has_content(event: Event) -> bool:
    """Whether an event shows something of the reply; before the first of them it has not begun."""
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
