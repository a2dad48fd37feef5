"""The values, errors and protocols that every DevFlow package shares."""

from devflow_core.chat import (
    ChatRequest,
    ChatResponse,
    Event,
    Finished,
    Message,
    Opaque,
    ReasoningDelta,
    Started,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    collect,
)
from devflow_core.errors import DevFlowError
from devflow_core.ledger import Attempt, Attribution, LedgerEntry, Tee, replay
from devflow_core.pipeline import Completion, Pipeline, Reply
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
