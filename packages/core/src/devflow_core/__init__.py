"""The values, errors and protocols that every DevFlow package shares."""

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
from devflow_core.ledger import Attempt, LedgerEntry, Tee, replay
from devflow_core.messages import Message, Text, ToolCall, ToolResult
from devflow_core.pipeline import Completion, Pipeline, Reply
from devflow_core.request import ChatRequest
from devflow_core.response import ChatResponse, collect
from devflow_core.routing import Candidate, Route, SelectionCriteria, Task
from devflow_core.usage import Price, ReportedCost, Usage

__all__ = [
    "Attempt",
    "Attribution",
    "Candidate",
    "ChatRequest",
    "ChatResponse",
    "Completion",
    "DevFlowError",
    "Event",
    "Finished",
    "LedgerEntry",
    "Message",
    "Opaque",
    "Pipeline",
    "Price",
    "ReasoningDelta",
    "Reply",
    "ReportedCost",
    "Route",
    "SelectionCriteria",
    "Started",
    "Task",
    "Tee",
    "Text",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "Usage",
    "collect",
    "replay",
]
