"""A thread with a loop ends when it is told to, or says that it does not."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from devflow_upstream.loop_thread import LoopThread, StillClosing

NAME = "held-up"


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == NAME]


def test_what_does_not_end_is_told_and_ends_later() -> None:
    release: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @asynccontextmanager
    async def life() -> AsyncGenerator[None]:
        yield
        held = asyncio.Event()
        release.append((asyncio.get_running_loop(), held))
        await held.wait()

    thread = LoopThread(life(), name=NAME, instead="", max_stop_s=0.2)
    thread.start()
    with pytest.raises(StillClosing, match=r"within 0\.2 s"):
        thread.stop()
    (running,) = threads()
    ((loop, held),) = release
    loop.call_soon_threadsafe(held.set)
    running.join(30)
    thread.stop()
    assert not threads()


def test_an_interrupt_while_it_opens_ends_the_thread() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def life() -> AsyncGenerator[None]:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.2)  # the interrupt comes while the other thread waits
        yield
        left.append("context")

    with pytest.raises(KeyboardInterrupt):
        LoopThread(life(), name=NAME, instead="").start()
    for thread in threads():
        thread.join(30)
    assert left == ["context"]
