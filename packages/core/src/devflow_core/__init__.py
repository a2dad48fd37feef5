"""Offers the values, errors, ports and pipeline that all packages share, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devflow_core.attribution import Attribution
    from devflow_core.errors import DevFlowError
    from devflow_core.events import (
        Event,
        Finished,
        Opaque,
        ReasoningDelta,
        Started,
        TextDelta,
        ToolCallDelta,
    )
    from devflow_core.ledger import Attempt, AttemptStart, Book, Ledger, LedgerEntry, Tee, replay
    from devflow_core.messages import Message, Text, ToolCall, ToolResult
    from devflow_core.pipeline import Completion, Pipeline, Reply
    from devflow_core.ports import (
        AttemptLog,
        Call,
        Check,
        Classifier,
        ContextInjector,
        EventStream,
        Executor,
        OpenAttempt,
        Panel,
        Router,
        Upstream,
        UpstreamKey,
    )
    from devflow_core.request import ChatRequest
    from devflow_core.response import ChatResponse, collect
    from devflow_core.routing import Candidate, Route, SelectionCriteria, Task
    from devflow_core.usage import Price, ReportedCost, Usage
    from devflow_core.wrapping import WrappedCall

__all__ = [
    "Attempt",
    "AttemptLog",
    "AttemptStart",
    "Attribution",
    "Book",
    "Call",
    "Candidate",
    "ChatRequest",
    "ChatResponse",
    "Check",
    "Classifier",
    "Completion",
    "ContextInjector",
    "DevFlowError",
    "Event",
    "EventStream",
    "Executor",
    "Finished",
    "Ledger",
    "LedgerEntry",
    "Message",
    "Opaque",
    "OpenAttempt",
    "Panel",
    "Pipeline",
    "Price",
    "ReasoningDelta",
    "Reply",
    "ReportedCost",
    "Route",
    "Router",
    "SelectionCriteria",
    "Started",
    "Task",
    "Tee",
    "Text",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "Upstream",
    "UpstreamKey",
    "Usage",
    "WrappedCall",
    "collect",
    "replay",
]

_NAMES = {
    "attribution": "Attribution",
    "errors": "DevFlowError",
    "events": "Event Finished Opaque ReasoningDelta Started TextDelta ToolCallDelta",
    "ledger": "Attempt AttemptStart Book Ledger LedgerEntry Tee replay",
    "messages": "Message Text ToolCall ToolResult",
    "pipeline": "Completion Pipeline Reply",
    "ports": "AttemptLog Call Check Classifier ContextInjector EventStream Executor OpenAttempt"
    " Panel Router Upstream UpstreamKey",
    "request": "ChatRequest",
    "response": "ChatResponse collect",
    "routing": "Candidate Route SelectionCriteria Task",
    "usage": "Price ReportedCost Usage",
    "wrapping": "WrappedCall",
}
"""Public names by module, imported lazily: reading settings must not load the pipeline."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
