"""Asks OpenRouter for a sign of life, from an event loop or from anywhere else."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from devflow_core.errors import DevFlowError
from devflow_core.settings import Settings

from devflow_openrouter.client.api_client import ApiClient
from devflow_openrouter.service.transports import (
    HttpClient,
    has_pooled_connections,
    make_transport,
)

MAX_HEALTH_S = 5.0
"""The longest time that a probe waits for the answer, in seconds."""


async def ping(settings: Settings, client: HttpClient | None, timeout_s: float) -> bool:
    """Return whether OpenRouter answers a request for models with a JSON object.

    It waits for the shorter of `timeout_s` and `MAX_HEALTH_S`. Without a client, it opens
    connections of its own, and closes them.
    """
    within_s = min(MAX_HEALTH_S, timeout_s)
    transport = make_transport(settings, client, within_s)
    try:
        async with asyncio.timeout(within_s):
            await ApiClient(transport, timeout_s=within_s).get("/models", {"limit": "1"})
    except (DevFlowError, TimeoutError):
        return False
    except Exception:  # noqa: BLE001 - what the program's own client raises
        return False
    finally:
        await transport.aclose()
    return True


def ping_apart(settings: Settings, client: HttpClient | None, timeout_s: float) -> bool:
    """Return what `ping` returns, from a thread with a loop of its own: it works in a running loop.

    A client whose connections belong to another loop is not used; our own connections are. False
    also if the thread has no answer a second after `MAX_HEALTH_S`.
    """
    outcome: list[bool] = []
    usable = None if has_pooled_connections(client) else client

    def run() -> None:
        with contextlib.suppress(Exception):
            outcome.append(asyncio.run(ping(settings, usable, timeout_s)))

    thread = threading.Thread(target=run, name="devflow-health", daemon=True)
    thread.start()
    thread.join(MAX_HEALTH_S + 1.0)
    return outcome == [True]
