"""Starts a gateway from settings, with its checks, socket and components, and ends it in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from devflow_claude_code import ClaudeCodeSession
from devflow_core.attribution import Attribution
from devflow_core.errors import ConfigurationError, Conflict
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_gateway.wiring import AsyncGateway
from devflow_routing import Router
from devflow_store import Store

from devflow_server.auth import check_bind, make_authenticator
from devflow_server.http import Limits, Listener
from devflow_server.http.limits import MIN_HELD_BODIES
from devflow_server.operations import maintenance
from devflow_server.operations.maintenance import Job
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.readiness import Readiness
from devflow_server.operations.shortages import DescriptorWatch, connections_within
from devflow_server.operations.tracing import open_tracing
from devflow_server.peers import Peers, PeerSockets
from devflow_server.replies.idempotency import IdempotencyHandler
from devflow_server.replies.keep_alive import KeepAlive
from devflow_server.replies.reply_source import PipelineReplies
from devflow_server.replies.response_cache import ResponseCache
from devflow_server.replies.shared_calls import SharedCalls
from devflow_server.requests.nodes import NodeTable
from devflow_server.url_map import Components, build_app

RECORD_TIMEOUT_S = 2.0
"""Seconds before the end of the drain at which keyed calls are cancelled.

So the client of such a call gets the same answer as one that sends the key again.
"""
_REFUSED = "refused"
"""What the workers tell each other of questions that were refused."""
FIRST_KEY_SCOPES = {"routes": ["chat", "embeddings", "read", "operate"]}
"""The scopes of the first key: everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningGateway:
    """A gateway that takes requests."""

    url: str
    """The URL under which clients on this machine reach it."""
    port: int
    first_key: str | None = None
    """A client key created just now because there was none; to be shown once."""


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a bound, listening socket, which the caller closes.

    Raises:
        ConfigurationError: the address is in use, not this machine's, or not permitted.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # as for `Listener.listen`: a burst of connections must not be dropped
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"The gateway cannot listen on {host} port {port}: {error.strerror}."
        ) from error


def url_of(host: str, bound: socket.socket) -> str:
    """Return the URL under which clients on this machine reach a bound socket."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{bound.getsockname()[1]}"


@asynccontextmanager
async def run_gateway(
    settings: Settings,
    *,
    bound: socket.socket | None = None,
    local_key: str | None = None,
    worker: int = 0,
    peers: PeerSockets | None = None,
    label: Callable[[Attribution], Attribution] | None = None,
) -> AsyncGenerator[RunningGateway]:
    """Run a gateway in this process and loop, and yield it when it takes requests; drain on exit.

    Args:
        settings: the gateway's settings.
        bound: a socket to listen on, closed on exit; None binds the settings' host and port.
        local_key: a client key that only this process accepts, for a client that it started.
        worker: number of this worker, from 0.
        peers: the way to the other workers; None: there are none.
        label: completes the labels of each request; None leaves them to the clients.

    Raises:
        ConfigurationError: the settings are wrong, the address cannot be used, or others could
            reach the gateway without a key.
        StoreError: the ledger cannot be opened.
    """
    metrics, keep_alive = Metrics(worker), KeepAlive()
    # the store is entered first and left last, since everything else writes to it
    async with wiring.make_store(settings, metrics.count_alert) as store, AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(
            open_tracing(settings.otel_endpoint, allow_http=settings.otel_allow_http)
        )
        first_key = await _ensure_first_key(settings, store, has_own=local_key is not None)
        gateway = wiring.build_gateway(store, settings, metrics, label=label)
        async with (
            gateway,
            SharedCalls(gateway.pipeline) as calls,
            IdempotencyHandler(store.idempotency, gateway.pipeline) as idempotency,
        ):
            nodes = NodeTable(store.nodes, settings.nodes)
            await nodes.refresh()
            readiness = _watch_ledger(store, nodes, metrics)
            components = Components(
                settings=settings,
                reply_source=_open_replies(gateway, calls, store, metrics),
                idempotency=idempotency,
                embeddings=gateway.embeddings,
                learn_price=gateway.learn_price,
                find_session=partial(ClaudeCodeSession.find, config_dir=settings.claude_dir),
                callers=make_authenticator(settings, store.keys, local_key=local_key),
                nodes=nodes,
                catalogue=gateway.catalogue,
                has_server_key=lambda: bool(settings.server_keys()),
                metrics=metrics,
                keep_alive=keep_alive,
                descriptors=DescriptorWatch(metrics.count_descriptor_shortage),
                problem=readiness.problem,
                tracing=tracing,
                peers=_share(gateway, peers),
            )
            tasks = _maintenance_tasks(store, gateway, metrics, worker)
            jobs = _run_in_background(readiness.run, *tasks)
            with components.peers.receiving():
                async with _listen(components, bound) as listening, jobs:
                    yield replace(listening, first_key=first_key)


async def prepare(settings: Settings) -> str | None:
    """Do once what several workers must not each do: the checks at the start, and the first key.

    Returns:
        The client key created just now because there was none, to be shown once; otherwise None.

    Raises:
        ConfigurationError: the settings are wrong, or others could reach the gateway without a key.
        StoreError: the ledger cannot be opened.
    """
    async with wiring.make_store(settings) as store:
        return await _ensure_first_key(settings, store, has_own=False)


async def _ensure_first_key(settings: Settings, store: Store, *, has_own: bool) -> str | None:
    """Check that the address may be listened on; create a key if one is needed and missing.

    Return the new key, which is shown once; None if none was made.

    Raises:
        ConfigurationError: others could reach the gateway, and there is no client key.
    """
    has_keys = has_own or bool(await store.keys.list())
    check_bind(
        settings.host,
        require_key=settings.require_key,
        has_keys=has_keys,
        allowed_hosts=settings.allowed_hosts,
    )
    if has_keys or not settings.require_key:
        return None
    with suppress(Conflict):  # another worker was first, and shows its key
        _key, secret = await store.keys.create("first", FIRST_KEY_SCOPES)
        return secret
    return None


def _open_replies(
    gateway: AsyncGateway, calls: SharedCalls, store: Store, metrics: Metrics
) -> PipelineReplies:
    settings = gateway.settings
    cache = ResponseCache(ttl_s=settings.cache_ttl_s) if settings.cache else None
    return PipelineReplies(gateway.pipeline, calls=calls, cache=cache, book=store, ledger=metrics)


def _share(gateway: AsyncGateway, sockets: PeerSockets | None) -> Peers:
    """Let the router share with the other workers which questions it has refused."""
    peers = Peers(sockets)
    if isinstance(gateway.router, Router):
        refused = gateway.router.refused
        refused.on_record = partial(peers.tell, _REFUSED)
        peers.listen(_REFUSED, refused.add)
    return peers


def _watch_ledger(store: Store, nodes: NodeTable, metrics: Metrics) -> Readiness:
    """Check the ledger constantly from now on, and return the readiness that reports it."""
    store.watch.is_constant = True
    metrics.watch_ledger(store)
    return Readiness(store.health, nodes.refresh, store.keys.refresh)


def _maintenance_tasks(
    store: Store, gateway: AsyncGateway, metrics: Metrics, worker: int
) -> Iterator[Job]:
    """Yield the background jobs; costs are confirmed by the first worker for all."""
    yield partial(maintenance.watch_budgets, store, metrics)
    yield partial(maintenance.renew_catalogue, gateway)
    yield partial(gateway.follow_learned, maintenance.FOLLOW_INTERVAL_S)
    yield partial(maintenance.renew_evidence, gateway)
    has_keys = bool(gateway.settings.server_keys())
    if has_keys:
        yield partial(maintenance.learn_limits, gateway)
    if worker == 0:
        reconciler = wiring.make_reconciler(store, gateway)
        if has_keys:
            yield partial(maintenance.confirm_costs, reconciler)
        yield partial(maintenance.settle_old_costs, reconciler)


@asynccontextmanager
async def _run_in_background(*work: Job) -> AsyncGenerator[None]:
    """Run jobs during the block, and cancel them at its end."""
    running = [asyncio.create_task(maintenance.keep_running(one)) for one in work]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def _listen(
    components: Components, bound: socket.socket | None
) -> AsyncGenerator[RunningGateway]:
    settings = components.settings
    metrics, app = components.metrics, build_app(components)

    def on_sweep(now_s: float) -> None:
        components.descriptors.look()
        components.keep_alive.send_pings(now_s)
        metrics.set_load(
            in_flight=listener.in_flight,
            connections=len(listener.connections),
            held_bytes=listener.held.total,
        )

    listener = Listener(
        app,
        admit=app.admit,
        limits=_limits_of(settings),
        on_sweep=on_sweep,
        on_rejected=metrics.count_rejected,
    )
    async with listener:
        listening_socket = bound or bind_socket(settings.host, settings.port)
        port = int(listening_socket.getsockname()[1])
        await listener.listen(listening_socket)
        try:
            yield RunningGateway(url=url_of(settings.host, listening_socket), port=port)
        finally:
            timeout_s = settings.drain_timeout_s
            await asyncio.gather(
                components.idempotency.drain(max(0.0, timeout_s - RECORD_TIMEOUT_S)),
                listener.drain(timeout_s),
            )


def _limits_of(settings: Settings) -> Limits:
    """Return the limits of one process.

    Each worker gets its share of the memory for requests, but always enough to receive requests
    of the largest size.
    """
    share = settings.max_held_bytes // settings.workers
    return Limits(
        max_connections=connections_within(Limits().max_connections),
        max_body_bytes=settings.max_body_bytes,
        max_held_bytes=max(share, MIN_HELD_BODIES * settings.max_body_bytes),
    )
