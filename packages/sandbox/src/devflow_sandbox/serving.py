"""Runs a sandbox until it is told to stop, for the command line."""

from __future__ import annotations

from collections.abc import Callable

from devflow_core.processes import wait_for_signal

from devflow_sandbox.sandbox import Sandbox


async def serve(sandbox: Sandbox, announce: Callable[[Sandbox], None]) -> None:
    """Open the sandbox's port, announce it once it listens, and answer until told to stop.

    It stops at a signal of `wait_for_signal`, or when the task is cancelled.
    """
    async with sandbox:
        announce(sandbox)
        await wait_for_signal()
