"""Run a sandbox until it is told to stop: what the command line calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from devflow_sandbox.sandbox import Sandbox


async def serve(sandbox: Sandbox, announce: Callable[[Sandbox], None]) -> None:
    """Open the sandbox's port, announce it once it listens, and answer until cancelled."""
    async with sandbox:
        announce(sandbox)
        await asyncio.get_running_loop().create_future()
