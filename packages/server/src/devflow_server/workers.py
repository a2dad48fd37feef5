"""Runs `devflow serve`: as one process, or as workers under a supervisor."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from devflow_core import log
from devflow_core.environment import copy_environment, replace_environment, shield_children
from devflow_core.errors import DevFlowError
from devflow_core.processes import end_when, wait_for_signal
from devflow_core.settings import Settings

from devflow_server.operations.shortages import raise_descriptor_limit
from devflow_server.peers import PeerSockets

if TYPE_CHECKING:
    from collections.abc import Coroutine


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """The facts that the user has to know once the gateway takes requests."""

    url: str
    first_key: str | None = None
    """The client key created now because there was none; to be shown once. None otherwise."""


Announce = Callable[[Announcement], None]
"""Called once; see `serve`."""


def serve(settings: Settings, *, announce: Announce = lambda _announcement: None) -> None:
    """Serve until a signal of `wait_for_signal`, then drain.

    Args:
        settings: with `workers` above 1, a supervisor starts that many processes.
        announce: called once: when requests are accepted or, with several workers, when those have
            been started.

    Raises:
        ConfigurationError: the settings are wrong, the address cannot be used, or others could
            reach the gateway without a key.
        StoreError: the ledger cannot be opened.
        WorkersFailed: no worker has ever taken requests, after several tries.
    """
    raise_descriptor_limit()  # workers inherit it
    if settings.workers == 1:
        run_loop(_serve_in_process(settings, announce))
    else:
        _serve_with_workers(settings, announce)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, on uvloop except on Windows."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)


async def _serve_in_process(
    settings: Settings,
    announce: Announce,
    bound: socket.socket | None = None,
    worker: int | None = None,
    peers: PeerSockets | None = None,
) -> None:
    from devflow_server.serving import run_gateway

    async with run_gateway(settings, bound=bound, worker=worker or 0, peers=peers) as gateway:
        announce(Announcement(url=gateway.url, first_key=gateway.first_key))
        await wait_for_signal(is_supervised=worker is not None)


def _serve_with_workers(settings: Settings, announce: Announce) -> None:
    from devflow_server.serving import bind_socket, prepare, url_of
    from devflow_server.supervisor import Supervisor

    replace_environment(copy_environment())  # workers get the settings, and no secret beside them
    shield_children()
    bound = bind_socket(settings.host, settings.port)
    url = url_of(settings.host, bound)
    made: list[str | None] = []

    async def prepare_once() -> None:
        made.append(await prepare(settings))

    run_loop(prepare_once())
    supervisor = Supervisor(settings, bound, run_worker)
    supervisor.start()
    announce(Announcement(url=url, first_key=made[0]))
    supervisor.supervise()


def run_worker(
    settings: Settings,
    bound: socket.socket,
    number: int,
    supervisor: Connection,
    peers: PeerSockets | None,
) -> None:
    """Run a worker from start to end; it also ends if its supervisor is killed.

    Args:
        settings: the gateway's settings.
        bound: the socket that the workers share.
        number: the worker's number, from 0.
        supervisor: gets an empty text when the worker takes requests, or the reason why it cannot;
            closed after that.
        peers: the way to the other workers; None where the system has none.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - only spawned processes call this
    # first, so that no worker outlives its supervisor, whatever happens next
    end_when(parent.join)
    log.configure(settings.log_level, settings.log_format)

    def say(words: str) -> None:
        supervisor.send(words)
        supervisor.close()

    try:
        run_loop(_serve_in_process(settings, lambda _announcement: say(""), bound, number, peers))
    except DevFlowError as error:
        if supervisor.closed:
            raise
        say(error.message)
        sys.exit(1)
