"""Runs the gateway's background jobs: renew the catalogue, learn limits, confirm costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from devflow_analytics import Reconciler
from devflow_core.errors import DevFlowError
from devflow_gateway.wiring import AsyncGateway
from devflow_store import Store

from devflow_server.operations.metrics import Metrics

Job = Callable[[], Coroutine[Any, Any, None]]
"""Work that runs alongside the requests, until it ends or is cancelled."""
RESTART_DELAY_S = 5.0
"""Seconds after which a failed job is started again."""
CONFIRM_INTERVAL_S = 60.0
"""Seconds between two look-ups of costs.

The provider knows a cost seconds to minutes after the call, and is asked for 15 minutes.
"""
SETTLE_INTERVAL_S = 600.0
"""Seconds between settling old rows: rarely, since only rows older than those 15 minutes are."""

FOLLOW_INTERVAL_S = 15.0
"""Seconds between two looks for a table that `devflow routing` has learned or undone."""
BUDGET_INTERVAL_S = 15.0
"""Seconds between reads of the budgets for `/metrics`: as often as Prometheus usually asks."""


async def keep_running(job: Job) -> None:
    """Run a job to its end, and start it again when it fails: no job may end the server."""
    while True:
        try:
            return await job()
        except Exception:  # noqa: BLE001 - whatever it is, requests are answered meanwhile
            _log().exception("job_failed", job=getattr(job, "__qualname__", repr(job)))
        await asyncio.sleep(RESTART_DELAY_S)


async def renew_catalogue(gateway: AsyncGateway) -> None:
    """Keep the live catalogue fresh, until cancelled."""

    def on_error(error: DevFlowError) -> None:
        _log().warning("catalogue_not_renewed", error=error.message)

    await gateway.keep_catalogue_fresh(on_error)


async def renew_evidence(gateway: AsyncGateway) -> None:
    """Keep the scores of models fresh, until cancelled; each cause of failure is logged once."""

    def on_error(error: DevFlowError) -> None:
        _log().warning("evidence_not_renewed", error=error.message)

    await gateway.keep_evidence_fresh(on_error)


async def learn_limits(gateway: AsyncGateway) -> None:
    """Ask the provider once for the keys' limits; if that fails, they are learned from refusals."""
    try:
        await gateway.learn_limits()
    except DevFlowError as error:
        _log().info("limits_unknown", error=error.message)


async def watch_budgets(
    store: Store, metrics: Metrics, *, interval_s: float = BUDGET_INTERVAL_S
) -> None:
    """Keep the budgets' shares in the metrics current, until cancelled."""
    while True:
        try:
            metrics.set_budgets(await asyncio.to_thread(store.budget_states))
        except DevFlowError as error:
            _log().info("budgets_unknown", error=error.message)
        await asyncio.sleep(interval_s)


async def confirm_costs(reconciler: Reconciler, *, interval_s: float = CONFIRM_INTERVAL_S) -> None:
    """Look estimated costs up at the provider, repeatedly until cancelled."""
    while True:
        # first, since the provider has not booked the calls of this moment yet
        await asyncio.sleep(interval_s)
        try:
            settled = await reconciler.confirm_pending()
        except DevFlowError as error:
            _log().warning("costs_unconfirmed", error=error.message)
            continue
        if settled:
            _log().info("costs_confirmed", attempts=len(settled))


async def settle_old_costs(
    reconciler: Reconciler, *, interval_s: float = SETTLE_INTERVAL_S
) -> None:
    """Settle old costs that no look-up has settled, by totals or as observed, until cancelled."""
    while True:
        # at once, since rows of an earlier run may be old enough already
        try:
            settled = await reconciler.settle_old()
        except DevFlowError as error:
            _log().warning("costs_unsettled", error=error.message)
        else:
            if settled:
                _log().info("costs_settled", **settled)
        await asyncio.sleep(interval_s)


def _log() -> structlog.stdlib.BoundLogger:
    return structlog.get_logger("devflow.maintenance")
