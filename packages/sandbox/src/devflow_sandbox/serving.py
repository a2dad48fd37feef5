"""Runs a sandbox until a signal ends it, for the command line."""

from __future__ import annotations

from collections.abc import Callable

from devflow_core.processes import wait_for_signal

from devflow_sandbox.sandbox import Sandbox


async def serve(sandbox: Sandbox, announce: Callable[[Sandbox], None]) -> None:
    """Open the sandbox's port, announce it once it listens, and answer until a signal comes.

    The signals are those of `wait_for_signal`. The port is closed then, and also if the task is
    cancelled.
    """
    async with sandbox:
        announce(sandbox)
        await wait_for_signal()
