"""`devflow serve`: one process, or several over one socket with a parent that keeps them alive."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from devflow_core import log
from devflow_core.environment import shield_children
from devflow_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine

_RESTART_DELAY_S = 1.0
"""A worker that has died is replaced after this long, so that a broken one cannot spin."""
_DRAIN_TIMEOUT_S = 40.0
"""How long workers may take to drain before they are killed; above their own 28 + 5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a person has to know once the gateway takes requests."""

    url: str
    first_key: str | None = None
    """The client key made at the very first start; shown now and never again."""


Announce = Callable[[Announcement], None]


def serve(settings: Settings, *, announce: Announce = lambda _announcement: None) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: all of them; `workers` above 1 makes a parent with so many processes.
        announce: called once, when requests are taken.

    Raises:
        ConfigurationError: it must not or cannot start so.
        StoreError: the ledger cannot be opened.
    """
    if settings.workers == 1:
        run_loop(_serve_in_process(settings, announce))
    else:
        _serve_with_workers(settings, announce)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end, on uvloop where there is one."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)


async def _serve_in_process(
    settings: Settings,
    announce: Announce,
    bound: socket.socket | None = None,
    worker: int = 0,
) -> None:
    from devflow_server.serving import run_gateway, wait_for_signal

    async with run_gateway(settings, bound=bound, worker=worker) as gateway:
        announce(Announcement(url=gateway.url, first_key=gateway.first_key))
        await wait_for_signal()


def _serve_with_workers(settings: Settings, announce: Announce) -> None:
    from devflow_server.serving import bind_socket, prepare, url_of

    shield_children()
    bound = bind_socket(settings.host, settings.port)
    made: list[str | None] = []

    async def prepare_once() -> None:
        made.append(await prepare(settings))

    run_loop(prepare_once())
    supervisor = _Supervisor(settings, bound)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    supervisor.start()
    announce(Announcement(url=url_of(settings.host, bound), first_key=made[0]))
    supervisor.supervise()


class _Supervisor:
    """The parent: owns the socket and the workers."""

    def __init__(self, settings: Settings, bound: socket.socket) -> None:
        self._settings = settings
        self._bound = bound
        self._is_stopping = False
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, BaseProcess] = {}

    def start(self) -> None:
        for number in range(self._settings.workers):
            self._spawn(number)

    def stop(self, *_signal: object) -> None:
        self._is_stopping = True
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.terminate()

    def supervise(self) -> None:
        """Replace workers that die; return when all have ended after `stop`."""
        while not self._is_stopping:
            wait([worker.sentinel for worker in self._workers.values()], timeout=_RESTART_DELAY_S)
            for number, worker in tuple(self._workers.items()):
                if not worker.is_alive() and not self._is_stopping:
                    time.sleep(_RESTART_DELAY_S)
                    self._spawn(number)
        until_s = time.monotonic() + _DRAIN_TIMEOUT_S
        for worker in self._workers.values():
            worker.join(max(0.0, until_s - time.monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()
        self._bound.close()

    def _spawn(self, number: int) -> None:
        worker = self._context.Process(
            target=_run_worker, args=(self._settings, self._bound, number), name=f"devflow-{number}"
        )
        worker.start()
        self._workers[number] = worker


def _run_worker(settings: Settings, bound: socket.socket, number: int) -> None:
    """A worker's whole life."""
    log.configure(settings.log_level, settings.log_format)
    run_loop(_serve_in_process(settings, lambda _announcement: None, bound, number))
