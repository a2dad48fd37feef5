"""Offers DevFlow as a library: programs import from here alone; names are loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devflow_analytics import CostTracker, Report, UsageTracker
    from devflow_claude_code import (
        AssistantReply,
        ClaudeCodeSession,
        Handoff,
        HandoffTarget,
        SessionContext,
        WrittenSession,
        hand_off,
        list_sessions,
        write_back,
    )
    from devflow_core.attribution import Attribution
    from devflow_core.errors import (
        AllCandidatesFailed,
        BudgetExceeded,
        CircuitOpen,
        ConfigurationError,
        Conflict,
        ContextTooLong,
        DevFlowError,
        InvalidRequest,
        KeyRefused,
        KeysExhausted,
        LedgerCorrupt,
        NoCandidate,
        NotFound,
        Overloaded,
        PaymentRequired,
        PossiblyAccepted,
        ProviderUnavailable,
        QueueFull,
        RateLimited,
        Refused,
        RequestError,
        RoutingError,
        SessionError,
        StoreError,
        StructuredOutputInvalid,
        UnknownModel,
        UnknownPrice,
        UpstreamError,
        UpstreamTimeout,
    )
    from devflow_core.events import (
        Event,
        Finished,
        Opaque,
        ReasoningDelta,
        Started,
        TextDelta,
        ToolCallDelta,
    )
    from devflow_core.ledger import LedgerEntry, Tee
    from devflow_core.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
    from devflow_core.pipeline import Completion, Reply
    from devflow_core.ports import ContextInjector, Router
    from devflow_core.request import ChatRequest, ReasoningOptions, ResponseFormat, Tool, ToolChoice
    from devflow_core.response import ChatResponse
    from devflow_core.routing import Route, SelectionCriteria, Task
    from devflow_core.settings import Settings
    from devflow_core.usage import Price, Usage
    from devflow_core.verification import CheckedAnswer, Verification
    from devflow_openrouter import OpenRouterGateway
    from devflow_openrouter.inference import (
        get_llm_text_response,
        invoke_llm_for_raw_json,
        stream_llm_response,
    )
    from devflow_openrouter.service import (
        OpenRouterConfigError,
        OpenRouterPromptRefused,
        OpenRouterRateLimitError,
        OpenRouterRejectedError,
        OpenRouterSchemaError,
        OpenRouterService,
        OpenRouterServiceError,
        OpenRouterTimeoutError,
        OpenRouterUnavailableError,
        PromptGuard,
        ServiceAlert,
        ServiceOptions,
        SyncOpenRouterService,
    )
    from devflow_store.keyed_outcomes import KeyReused, OutcomeUnknown
    from devflow_upstream.embeddings import Embeddings
    from devflow_upstream.loop_thread import StillClosing

    from devflow_gateway.async_gateway import AsyncGateway
    from devflow_gateway.calls.batch import Batch
    from devflow_gateway.calls.batch_run import BatchResult
    from devflow_gateway.calls.blocking_batch import BlockingBatch
    from devflow_gateway.calls.function_tools import FunctionTool, tool
    from devflow_gateway.calls.parsing import ParsedCompletion
    from devflow_gateway.calls.tool_rounds import ToolRun
    from devflow_gateway.gateway import Gateway
    from devflow_gateway.handoff import HandedOff
    from devflow_gateway.streamed_reply import StreamedReply
    from devflow_gateway.wiring import open_gateway

__all__ = [
    "AllCandidatesFailed",
    "AssistantReply",
    "AsyncGateway",
    "Attribution",
    "Batch",
    "BatchResult",
    "BlockingBatch",
    "BudgetExceeded",
    "ChatRequest",
    "ChatResponse",
    "CheckedAnswer",
    "CircuitOpen",
    "ClaudeCodeSession",
    "Completion",
    "ConfigurationError",
    "Conflict",
    "ContextInjector",
    "ContextTooLong",
    "CostTracker",
    "DevFlowError",
    "Embeddings",
    "Event",
    "Finished",
    "FunctionTool",
    "Gateway",
    "HandedOff",
    "Handoff",
    "HandoffTarget",
    "InvalidRequest",
    "KeyRefused",
    "KeyReused",
    "KeysExhausted",
    "LedgerCorrupt",
    "LedgerEntry",
    "Media",
    "Message",
    "NoCandidate",
    "NotFound",
    "Opaque",
    "OpenRouterConfigError",
    "OpenRouterGateway",
    "OpenRouterPromptRefused",
    "OpenRouterRateLimitError",
    "OpenRouterRejectedError",
    "OpenRouterSchemaError",
    "OpenRouterService",
    "OpenRouterServiceError",
    "OpenRouterTimeoutError",
    "OpenRouterUnavailableError",
    "OutcomeUnknown",
    "Overloaded",
    "ParsedCompletion",
    "Part",
    "PaymentRequired",
    "PossiblyAccepted",
    "Price",
    "PromptGuard",
    "ProviderUnavailable",
    "QueueFull",
    "RateLimited",
    "Reasoning",
    "ReasoningDelta",
    "ReasoningOptions",
    "Refused",
    "Reply",
    "Report",
    "RequestError",
    "ResponseFormat",
    "Route",
    "Router",
    "RoutingError",
    "SelectionCriteria",
    "ServiceAlert",
    "ServiceOptions",
    "SessionContext",
    "SessionError",
    "Settings",
    "Started",
    "StillClosing",
    "StoreError",
    "StreamedReply",
    "StructuredOutputInvalid",
    "SyncOpenRouterService",
    "Task",
    "Tee",
    "Text",
    "TextDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "ToolResult",
    "ToolRun",
    "UnknownModel",
    "UnknownPrice",
    "UpstreamError",
    "UpstreamTimeout",
    "Usage",
    "UsageTracker",
    "Verification",
    "WrittenSession",
    "get_llm_text_response",
    "hand_off",
    "invoke_llm_for_raw_json",
    "list_sessions",
    "open_gateway",
    "stream_llm_response",
    "tool",
    "write_back",
]

_HOMES = {
    "devflow_analytics": "CostTracker Report UsageTracker",
    "devflow_claude_code": (
        "AssistantReply ClaudeCodeSession Handoff HandoffTarget SessionContext WrittenSession"
        " hand_off list_sessions write_back"
    ),
    "devflow_core.attribution": "Attribution",
    "devflow_core.errors": (
        "AllCandidatesFailed BudgetExceeded CircuitOpen ConfigurationError Conflict"
        " ContextTooLong DevFlowError InvalidRequest KeyRefused KeysExhausted LedgerCorrupt"
        " NoCandidate NotFound Overloaded PaymentRequired PossiblyAccepted ProviderUnavailable"
        " QueueFull RateLimited Refused RequestError RoutingError SessionError StoreError"
        " StructuredOutputInvalid UnknownModel UnknownPrice UpstreamError UpstreamTimeout"
    ),
    "devflow_core.events": "Event Finished Opaque ReasoningDelta Started TextDelta ToolCallDelta",
    "devflow_core.ledger": "LedgerEntry Tee",
    "devflow_core.messages": "Media Message Part Reasoning Text ToolCall ToolResult",
    "devflow_core.pipeline": "Completion Reply",
    "devflow_core.ports": "ContextInjector Router",
    "devflow_core.request": "ChatRequest ReasoningOptions ResponseFormat Tool ToolChoice",
    "devflow_core.response": "ChatResponse",
    "devflow_core.routing": "Route SelectionCriteria Task",
    "devflow_core.settings": "Settings",
    "devflow_core.usage": "Price Usage",
    "devflow_core.verification": "CheckedAnswer Verification",
    "devflow_gateway.async_gateway": "AsyncGateway",
    "devflow_gateway.calls.batch": "Batch",
    "devflow_gateway.calls.batch_run": "BatchResult",
    "devflow_gateway.calls.blocking_batch": "BlockingBatch",
    "devflow_gateway.calls.function_tools": "FunctionTool tool",
    "devflow_gateway.calls.parsing": "ParsedCompletion",
    "devflow_gateway.calls.tool_rounds": "ToolRun",
    "devflow_gateway.gateway": "Gateway",
    "devflow_gateway.streamed_reply": "StreamedReply",
    "devflow_gateway.handoff": "HandedOff",
    "devflow_gateway.wiring": "open_gateway",
    "devflow_openrouter": "OpenRouterGateway",
    "devflow_store.keyed_outcomes": "KeyReused OutcomeUnknown",
    "devflow_upstream.embeddings": "Embeddings",
    "devflow_upstream.loop_thread": "StillClosing",
    "devflow_openrouter.inference": (
        "get_llm_text_response invoke_llm_for_raw_json stream_llm_response"
    ),
    "devflow_openrouter.service": (
        "OpenRouterConfigError OpenRouterPromptRefused OpenRouterRateLimitError"
        " OpenRouterRejectedError OpenRouterSchemaError OpenRouterService OpenRouterServiceError"
        " OpenRouterTimeoutError OpenRouterUnavailableError PromptGuard ServiceAlert"
        " ServiceOptions SyncOpenRouterService"
    ),
}
"""Modules with the names that each of them holds."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for.

    Raises:
        AttributeError: there is no such name.
    """
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
