"""What the gateway does beside answering: learn what its keys allow, and confirm open costs."""

from __future__ import annotations

import asyncio

import structlog
from devflow_analytics import Reconciler
from devflow_core.errors import DevFlowError
from devflow_gateway.wiring import AsyncGateway

CONFIRM_INTERVAL_S = 60.0
"""The provider knows a call's cost seconds to minutes after it; 15 minutes is our own limit."""


async def learn_limits(gateway: AsyncGateway) -> None:
    """Ask once what the keys allow; without a reply, refusals teach it."""
    try:
        await gateway.learn_limits()
    except DevFlowError as error:
        _log().info("limits_unknown", error=error.message)


async def confirm_costs(reconciler: Reconciler, *, interval_s: float = CONFIRM_INTERVAL_S) -> None:
    """Look estimated costs up at the provider, again and again, until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        try:
            settled = await reconciler.confirm_pending()
        except DevFlowError as error:
            _log().warning("costs_unconfirmed", error=error.message)
            continue
        if settled:
            _log().info("costs_confirmed", attempts=len(settled))


def _log() -> structlog.stdlib.BoundLogger:
    return structlog.get_logger("devflow.maintenance")
