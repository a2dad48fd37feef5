"""Calls the alert hook of a service when OpenRouter refuses a request."""

from __future__ import annotations

import asyncio
import inspect

import structlog

from devflow_openrouter.service.errors import OpenRouterServiceError
from devflow_openrouter.service.options import AlertCallback, ServiceAlert

MAX_ALERT_S = 5.0
"""Seconds after which a hook that awaits is cancelled: the caller waits for its error."""
_NOT_ALERTED = frozenset({408, 429})
"""Statuses that time heals, without a person."""
_log = structlog.get_logger("devflow.service")


async def raise_alert(error: OpenRouterServiceError, hook: AlertCallback | None) -> None:
    """Call the hook if the error is a refusal of OpenRouter's that a person should see.

    Whatever the hook raises is logged by its class, and hides the error from nobody.
    """
    status = error.status
    if hook is None or status is None or not 400 <= status < 500 or status in _NOT_ALERTED:
        return
    alert = ServiceAlert(status=status, code=error.code, message=error.message, model=error.model)
    try:
        async with asyncio.timeout(MAX_ALERT_S):
            pending = hook(alert)
            if inspect.isawaitable(pending):
                await pending
    except Exception as failure:  # noqa: BLE001 - the program's own code
        _log.warning("service.alert_failed", error=type(failure).__name__, status=status)
