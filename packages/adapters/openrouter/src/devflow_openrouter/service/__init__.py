"""Puts OpenRouter behind one small object, for programs with a web framework of their own."""

from devflow_openrouter.service.errors import (
    OpenRouterConfigError,
    OpenRouterPromptRefused,
    OpenRouterRateLimitError,
    OpenRouterRejectedError,
    OpenRouterSchemaError,
    OpenRouterServiceError,
    OpenRouterTimeoutError,
    OpenRouterUnavailableError,
)
from devflow_openrouter.service.guard import GUARD_RULES, GuardFinding, PromptGuard
from devflow_openrouter.service.options import ServiceAlert, ServiceOptions
from devflow_openrouter.service.service import OpenRouterService
from devflow_openrouter.service.sync import SyncOpenRouterService

__all__ = [
    "GUARD_RULES",
    "GuardFinding",
    "OpenRouterConfigError",
    "OpenRouterPromptRefused",
    "OpenRouterRateLimitError",
    "OpenRouterRejectedError",
    "OpenRouterSchemaError",
    "OpenRouterService",
    "OpenRouterServiceError",
    "OpenRouterTimeoutError",
    "OpenRouterUnavailableError",
    "PromptGuard",
    "ServiceAlert",
    "ServiceOptions",
    "SyncOpenRouterService",
]
