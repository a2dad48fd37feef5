"""Asks the gateway for release notes; knows neither models nor prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from devflow_core import Attribution
from devflow_gateway import ChatRequest, OpenRouterGateway, SelectionCriteria

_SYSTEM = "You write release notes for users: short, in groups, without commit hashes."


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Release notes, and what they cost."""

    text: str
    model: str
    cost_usd: Decimal


async def write_notes(
    gateway: OpenRouterGateway, subjects: Sequence[str], *, max_cost_usd: Decimal = Decimal("0.05")
) -> Notes:
    """Write release notes for commits.

    Args:
        gateway: open; its owner closes it.
        subjects: the first lines of the commits, oldest first.
        max_cost_usd: a model whose worst case is above this is not asked.

    Raises:
        DevFlowError: nobody could answer, or not for this money.
    """
    request = replace(
        ChatRequest.from_text("\n".join(subjects), system=_SYSTEM),
        criteria=SelectionCriteria(cost_priority=0.8),
        max_cost_usd=max_cost_usd,
        attribution=Attribution(project="release-notes"),
    )
    reply = await gateway.complete(request)
    return Notes(text=reply.text, model=reply.model, cost_usd=reply.cost_usd)
