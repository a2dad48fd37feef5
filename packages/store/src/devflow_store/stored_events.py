"""Encodes the events of a reply and its entry for the store, and gives them out again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any

import orjson
from devflow_core import errors
from devflow_core.errors import DevFlowError, PossiblyAccepted
from devflow_core.events import (
    Event,
    Finished,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from devflow_core.journal import Journal
from devflow_core.ledger import LedgerEntry
from devflow_core.memory import MemoryBook
from devflow_core.pipeline import Reply
from devflow_core.request import ChatRequest
from devflow_core.routing import Candidate, Route, Task
from pydantic import TypeAdapter

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (Started, TextDelta, ReasoningDelta, ToolCallDelta, Opaque, Finished)
}
_REASON = "it answered under this idempotency key before"


class StoredReply(Reply):
    """A reply that was stored under an idempotency key; its route names only the model.

    Its `entry` is that of the call that was made, and its `journal` the closed one of that call.
    """

    def __init__(self, request: ChatRequest, entry: LedgerEntry, events: Sequence[Event]) -> None:
        route = Route(
            candidates=(Candidate(model=entry.model, reason=_REASON),),
            task=_adapter(Task).validate_python(
                {"type": entry.task_type, "complexity": entry.complexity, "confidence": 1.0}
            ),
            requested=entry.requested_model,
        )
        # a book of its own, since nothing more may be written of a call that has ended
        journal = Journal(request, book=MemoryBook(), deadline_s=0.0, entry_id=entry.entry_id)
        journal.set_route(route)
        journal.ended, journal.entry, journal.served = list(entry.attempts), entry, entry.model
        super().__init__(request, route, journal)
        self.attach(_iterate(events))


def encode_reply(events: Iterable[Event], entry: LedgerEntry) -> bytes:
    """Return a whole reply as JSON; frames, the bytes as they were received, are left out."""
    rows = [[type(one).__name__, replace(one, frame=None)] for one in events]
    return orjson.dumps({"events": rows, "entry": entry}, default=_decimal_text)


def encode_failure(failure: DevFlowError) -> bytes:
    """Return the failure of a call as JSON."""
    return orjson.dumps({"failure": [type(failure).__name__, failure.message]})


def decode_reply(payload: bytes, request: ChatRequest) -> StoredReply:
    """Return the reply that `encode_reply` stored.

    Raises:
        DevFlowError: `encode_failure` stored a failure instead: the same class with its message
            alone, or `PossiblyAccepted` if that is not enough to make it.
    """
    stored: dict[str, Any] = orjson.loads(payload)
    if "failure" in stored:
        raise _failure(*stored["failure"])
    events = [_adapter(_KINDS[name]).validate_python(value) for name, value in stored["events"]]
    return StoredReply(request, _adapter(LedgerEntry).validate_python(stored["entry"]), events)


def _failure(name: str, message: str) -> DevFlowError:
    kind = getattr(errors, name, PossiblyAccepted)
    try:
        return kind(message)
    except TypeError:  # it holds more than its message, which is not kept
        return PossiblyAccepted(message)


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


async def _iterate(events: Sequence[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event


def _decimal_text(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a stored reply cannot hold {type(value).__name__}")
