"""Applies the guard to a request, so that what it found is kept with the ledger's entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from devflow_core.ports import ContextInjector
from devflow_core.request import ChatRequest

from devflow_openrouter.service.errors import OpenRouterPromptRefused
from devflow_openrouter.service.guard import PromptGuard

GUARD_TAG = "guard"
"""The tag of a ledger entry that names what the guard found, separated by commas."""
_MAX_TAG_CHARS = 128
"""The longest value that any tag may have."""
_log = structlog.get_logger("devflow.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedRequest:
    """A request that the guard has seen."""

    request: ChatRequest
    """The request, labelled with what was found."""
    refusal: ContextInjector | None = None
    """Refuses the request once it has its entry; None: it may be sent."""


async def guard_request(
    request: ChatRequest, messages: Sequence[Mapping[str, Any]], guard: PromptGuard | None
) -> GuardedRequest:
    """Return the request with what the guard found in its messages; without a guard, as it is."""
    finding = await guard.inspect(messages) if guard is not None else None
    if finding is None:
        return GuardedRequest(request=request)
    _log.warning("guard.found", rules=list(finding.names), refused=finding.is_refused)
    labels = request.attribution
    tags = {**labels.tags, GUARD_TAG: ",".join(finding.names)[:_MAX_TAG_CHARS]}
    labelled = replace(request, attribution=replace(labels, tags=tags))
    return GuardedRequest(
        request=labelled, refusal=_Refusing(finding.names) if finding.is_refused else None
    )


class _Refusing:
    """A `ContextInjector` that ends a request after its journal was opened, and before any call."""

    def __init__(self, findings: tuple[str, ...]) -> None:
        self._findings = findings

    async def inject(self, request: ChatRequest, /) -> ChatRequest:
        raise OpenRouterPromptRefused(self._findings)
