"""From settings to a running gateway: checks, sockets, parts, and a good end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from devflow_core.errors import ConfigurationError, StoreError
from devflow_core.settings import Settings
from devflow_openrouter import OpenRouterGateway
from devflow_openrouter.gateway import router_for
from devflow_openrouter.models import CatalogueRefresh

from devflow_server import wiring
from devflow_server.auth import check_bind
from devflow_server.desk import PipelineDesk
from devflow_server.flights import Flights
from devflow_server.http import Limits, Listener
from devflow_server.memo import Memo
from devflow_server.metrics import Metrics
from devflow_server.nodes import NodeTable
from devflow_server.provisional import MemoryNodes, NoKeys
from devflow_server.pulse import Pulse
from devflow_server.site import Parts, build

DRAIN_S = 28.0
"""How long running replies may take once the end was asked for; orchestrators kill after 30."""
_NODES_S = 2.0
"""How late a worker sees what another has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway that takes requests."""

    url: str
    port: int


def bind(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        ConfigurationError: the address is taken or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"The gateway cannot listen on {host} port {port}: {error.strerror}."
        ) from error


def url_of(host: str, bound: socket.socket) -> str:
    """How clients on this machine reach a bound socket."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{bound.getsockname()[1]}"


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    bound: socket.socket | None = None,
    local_key: str | None = None,
    worker: int = 0,
) -> AsyncGenerator[Running]:
    """A gateway in this process and loop; left, it drains first.

    Args:
        settings: all of them.
        bound: a socket to listen on; None binds the settings' host and port.
        local_key: a client key that only this process accepts, for a client it has started.
        worker: number of this worker, from 0.

    Raises:
        ConfigurationError: it must not or cannot start so.
        StoreError: the ledger cannot be opened.
    """
    check_bind(settings.host, require_key=settings.require_key, has_keys=local_key is not None)
    metrics, pulse = Metrics(worker), Pulse()
    async with wiring.store(settings) as store:
        router = router_for(settings)
        gateway = OpenRouterGateway(settings, book=store, ledger=metrics, router=router)
        async with gateway, Flights(gateway.pipeline) as flights:
            refresh = CatalogueRefresh(
                gateway.api.models, overrides=settings.models, use=router.use
            )
            nodes = NodeTable(MemoryNodes(), settings.nodes)
            await nodes.refresh()
            memo = Memo(ttl_s=settings.cache_ttl_s) if settings.cache else None
            parts = Parts(
                settings=settings,
                desk=PipelineDesk(
                    gateway.pipeline, flights=flights, memo=memo, book=store, ledger=metrics
                ),
                keys=NoKeys(),
                nodes=nodes,
                catalogue=lambda: refresh.current,
                catalogue_age_s=lambda: refresh.age_s,
                has_server_key=lambda: bool(settings.server_keys()),
                metrics=metrics,
                pulse=pulse,
                is_ready=lambda: True,
                local_key=local_key,
            )
            async with _listening(parts, bound) as running, asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(refresh.run()),
                    tasks.create_task(_keep_nodes_fresh(nodes)),
                ]
                yield running
                for task in background:
                    task.cancel()


@asynccontextmanager
async def _listening(parts: Parts, bound: socket.socket | None) -> AsyncGenerator[Running]:
    settings = parts.settings
    limits = Limits(max_body_bytes=settings.max_body_bytes)
    metrics = parts.metrics
    listener = Listener(
        build(parts), limits=limits, on_sweep=parts.pulse.beat, on_refused=metrics.note_refused
    )
    async with listener:
        place = bound or bind(settings.host, settings.port)
        port = int(place.getsockname()[1])
        await listener.listen(place)
        try:
            yield Running(url=url_of(settings.host, place), port=port)
        finally:
            await listener.drain(DRAIN_S)


async def _keep_nodes_fresh(nodes: NodeTable) -> None:
    while True:
        await asyncio.sleep(_NODES_S)
        with suppress(StoreError):
            await nodes.refresh()


async def until_told() -> None:
    """Return at SIGTERM or SIGINT; a second one ends the process at once."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
