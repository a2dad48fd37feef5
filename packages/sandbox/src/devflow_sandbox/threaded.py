"""Runs a sandbox in a separate thread, for programs and tests without an event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

from devflow_sandbox.sandbox import Sandbox

_START_TIMEOUT_S = 10.0
"""Seconds that the thread may take to listen; it needs far less unless the machine is busy."""


class ThreadedSandbox(Sandbox):
    """A sandbox as a plain context manager; takes the arguments of `Sandbox`.

    Entering it starts the thread. It raises `OSError` if the port is taken, and `TimeoutError` if
    the sandbox does not listen within ten seconds. It can be entered once.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._start_error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="devflow-sandbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT_S):
            raise TimeoutError(f"the sandbox did not listen within {_START_TIMEOUT_S:g} s")
        if self._start_error is not None:
            raise self._start_error
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self:
                self._ready.set()
                await self._stop.wait()
        except OSError as error:  # the port is taken
            self._start_error = error
            self._ready.set()
