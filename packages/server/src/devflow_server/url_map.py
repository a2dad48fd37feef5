"""Maps the gateway's paths to handlers, with the policy of each route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version

from devflow_core.pipeline import Pipeline
from devflow_core.ports import ContextInjector
from devflow_core.settings import Settings
from devflow_core.wire import DIALECTS
from devflow_core.wire.anthropic_messages import ANTHROPIC_MESSAGES
from devflow_core.wire.openai_chat import OPENAI_CHAT
from devflow_core.wire.table import with_status_codes
from devflow_routing import LiveCatalogue, RoutingPolicy
from devflow_store import LedgerState

from devflow_server.app import App
from devflow_server.auth import Callers
from devflow_server.handlers import count_tokens, embeddings, system
from devflow_server.handlers.chat import ChatHandler
from devflow_server.handlers.count_tokens import TokenCounter
from devflow_server.handlers.embeddings import EmbeddingsHandler
from devflow_server.handlers.model_list import describe_model, list_models, list_rows
from devflow_server.handlers.openapi import OpenApiHandler
from devflow_server.handlers.system import HealthHandler, ModelsHandler, NodesHandler, StatusHandler
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.readiness import NotReady
from devflow_server.operations.shortages import DescriptorWatch
from devflow_server.operations.tracing import NoTracing, Tracing
from devflow_server.peers import Peers
from devflow_server.replies.idempotency import IdempotencyHandler
from devflow_server.replies.keep_alive import KeepAlive
from devflow_server.replies.kept_reasoning import ReasoningKeeper, ReasoningMemory
from devflow_server.replies.reply_source import ReplySource
from devflow_server.requests.nodes import NodeTable
from devflow_server.requests.reader import RequestReader
from devflow_server.requests.session_contexts import SessionContexts
from devflow_server.routes import Access, Face, HttpRoute, RouteTable


@dataclass(frozen=True, kw_only=True)
class Components:
    """The components that the application is built from."""

    settings: Settings
    reply_source: ReplySource
    idempotency: IdempotencyHandler
    embeddings: Pipeline
    """The pipeline for embeddings."""
    learn_price: Callable[[str], Awaitable[None]]
    """Makes the price of a model for embeddings known, if it can be; it never raises."""
    find_session: Callable[[str], ContextInjector]
    """Returns the Claude Code session of an id."""
    callers: Callers
    """Decides who sends a request."""
    nodes: NodeTable
    catalogue: LiveCatalogue
    has_server_key: Callable[[], bool]
    """Returns whether the gateway has a provider key of its own."""
    metrics: Metrics
    keep_alive: KeepAlive
    problem: Callable[[], NotReady | None]
    """Returns why no request can be taken; None if requests can be."""
    descriptors: DescriptorWatch = field(default_factory=DescriptorWatch)
    tracing: Tracing = field(default_factory=NoTracing)
    peers: Peers = field(default_factory=Peers)
    """The other workers of this server."""
    logs_requests: bool = True
    """Whether the access log gets a line for each request."""


def build_app(components: Components) -> App:
    """Build the application from its components.

    Raises:
        ConfigurationError: a route does not say who may use it, or is declared twice.
    """
    components.metrics.knows_model = lambda model: model in components.catalogue.current
    # filled after the handler is made, since the description lists its own routes, too
    described: list[HttpRoute] = []
    openapi = OpenApiHandler(lambda: described, version("devflow-gateway-server"))
    described += [*_chat_routes(components), *_system_routes(components), *_docs_routes(openapi)]
    return App(
        RouteTable(described),
        components.callers,
        components.metrics,
        components.tracing,
        logs_requests=components.logs_requests,
    )


def _docs_routes(docs: OpenApiHandler) -> list[HttpRoute]:
    return [
        HttpRoute(
            method="GET",
            path="/openapi.json",
            handler=docs.serve_json,
            access=Access.OPEN,
            summary="This description for programs",
        ),
        HttpRoute(
            method="GET",
            path="/docs",
            handler=docs.serve_docs,
            access=Access.OPEN,
            summary="This description to read",
        ),
    ]


def _chat_routes(components: Components) -> list[HttpRoute]:
    reader = RequestReader(components.nodes)
    max_body_bytes = components.settings.max_body_bytes
    chat = ChatHandler(
        reader,
        SessionContexts(components.find_session),
        ReasoningKeeper(components.reply_source, ReasoningMemory(peers=components.peers)),
        components.idempotency,
        components.keep_alive,
    )
    count = HttpRoute(
        method="POST",
        path=f"/v1{ANTHROPIC_MESSAGES.path}/count_tokens",
        handler=TokenCounter(reader, components.catalogue),
        access=Access.CLIENT,
        group="chat",
        max_body_bytes=max_body_bytes,
        dialect=ANTHROPIC_MESSAGES,
        summary="How many tokens a message would be; an estimate",
        body_schema=count_tokens.BODY_SCHEMA,
    )
    return [count, _embeddings_route(components)] + [
        HttpRoute(
            method="POST",
            path=f"{prefix}/v1{dialect.path}",
            handler=chat,
            access=Access.CLIENT,
            group="chat",
            max_body_bytes=max_body_bytes,
            dialect=spoken,
            summary=dialect.summary,
            body_schema=dialect.body_schema,
        )
        for dialect in DIALECTS.values()
        # the router's own SDKs add nothing to its /api/v1
        for prefix, spoken in (("", dialect), ("/api", with_status_codes(dialect)))
    ]


def _embeddings_route(components: Components) -> HttpRoute:
    return HttpRoute(
        method="POST",
        path="/v1/embeddings",
        handler=EmbeddingsHandler(components.embeddings, components.learn_price),
        access=Access.CLIENT,
        group="embeddings",
        max_body_bytes=components.settings.max_body_bytes,
        dialect=OPENAI_CHAT,
        summary="Vectors for texts",
        body_schema=embeddings.BODY_SCHEMA,
    )


def _find_problem(components: Components) -> NotReady | None:
    """Return why no request can be taken, or None: missing descriptors, or the ledger's state."""
    problem, shortage = components.problem(), components.descriptors.problem()
    if shortage is None:
        return problem
    # the cause comes first: without descriptors the ledger cannot be opened either
    state = problem.ledger if problem is not None else LedgerState.READY.value
    return NotReady(ledger=state, message=shortage)


def _node_routes(components: Components) -> tuple[HttpRoute, HttpRoute]:
    nodes = NodesHandler(components.nodes)
    return (
        HttpRoute(
            method="GET",
            path="/system/nodes",
            handler=nodes.list_nodes,
            access=Access.CLIENT,
            summary="Which model each named task uses",
        ),
        HttpRoute(
            method="PATCH",
            path="/system/nodes/{task_name}",
            handler=nodes.patch_node,
            access=Access.OPERATOR,
            summary="Change one of them",
            body_schema=system.NODE_SCHEMA,
        ),
    )


def _model_routes(components: Components) -> list[HttpRoute]:
    policy = RoutingPolicy(aliases=components.settings.aliases)
    models = ModelsHandler(
        lambda: list_models(components.catalogue.current),
        lambda: list_rows(components.catalogue.current),
        lambda name, scope: describe_model(components.catalogue.current, policy, name, scope),
    )
    as_router = with_status_codes(OPENAI_CHAT)
    pages = (
        ("/v1/models", models.list_models, None, "Every model"),
        ("/v1/models/{id}", models.get_model, None, "One model"),
        ("/api/v1/models", models.list_rows, as_router, "Every model, as the router lists it"),
    )
    return [
        HttpRoute(
            method="GET",
            path=path,
            handler=handler,
            access=Access.CLIENT,
            dialect=dialect,
            summary=summary,
        )
        for path, handler, dialect, summary in pages
    ]


def _system_routes(components: Components) -> list[HttpRoute]:
    health = HealthHandler(components.metrics, partial(_find_problem, components))
    status = StatusHandler(
        components.has_server_key,
        lambda: components.catalogue.age_s,
        lambda: len(components.catalogue.current),
    )
    client, operator, everybody = Access.CLIENT, Access.OPERATOR, Access.OPEN
    pages = (
        ("/openrouter/status", status, client, "Which key pays, how old the models are"),
        ("/metrics", health.serve_metrics, operator, "Counters for Prometheus"),
        ("/healthz", health.check_live, everybody, "The process answers"),
        ("/readyz", health.check_ready, everybody, "It takes requests"),
    )
    return [*_node_routes(components), *_model_routes(components)] + [
        HttpRoute(
            method="GET",
            path=path,
            handler=handler,
            access=access,
            face=Face.APPLICATION if handler is status else Face.API,
            # metrics are needed most during an outage
            serves_outages=path == "/metrics",
            summary=summary,
        )
        for path, handler, access, summary in pages
    ]
