"""The routes of the gateway with their policies, and what they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version

from devflow_core.messages import WireName
from devflow_core.pipeline import Pipeline
from devflow_core.ports import ContextInjector
from devflow_core.settings import Settings
from devflow_core.wire.translators import TRANSLATORS
from devflow_routing import Catalogue

from devflow_server.app import App
from devflow_server.auth import Door, Keys
from devflow_server.handlers.chat import ChatHandler, Desk
from devflow_server.handlers.count_tokens import TokenCounter
from devflow_server.handlers.embeddings import EmbeddingsHandler
from devflow_server.handlers.model_list import listed
from devflow_server.handlers.openapi import Description
from devflow_server.handlers.system import HealthPages, ModelPages, NodePages, StatusPage
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.tracing import NoTracing, Tracing
from devflow_server.replies.idempotency import Once
from devflow_server.replies.keep_alive import Pulse
from devflow_server.requests.nodes import NodeTable
from devflow_server.requests.reader import Intake
from devflow_server.requests.session_contexts import Contexts
from devflow_server.routes import Access, Route, RouteTable


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the site stands on."""

    settings: Settings
    desk: Desk
    once: Once
    embeddings: Pipeline
    find_session: Callable[[str], ContextInjector]
    keys: Keys
    nodes: NodeTable
    catalogue: Callable[[], Catalogue]
    catalogue_age_s: Callable[[], float | None]
    has_server_key: Callable[[], bool]
    metrics: Metrics
    pulse: Pulse
    problem: Callable[[], str | None]
    """Why no request can be taken; None when they can."""
    tracing: Tracing = field(default_factory=NoTracing)
    local_key: str | None = None
    """A client key of this process alone, for a client that it has started."""


def build(parts: Parts) -> App:
    """The application over its parts.

    Raises:
        ConfigurationError: a route has no policy.
    """
    settings = parts.settings
    door = Door(
        parts.keys,
        require_key=settings.require_key,
        allowed_hosts=_hosts(settings),
        local_key=parts.local_key,
    )
    described: list[Route] = []
    about = Description(lambda: described, version("devflow-gateway-server"))
    described += [*_chat_routes(parts), *_other_routes(parts), *_pages_about(about)]
    return App(RouteTable(described), door, parts.metrics, parts.tracing)


def _pages_about(about: Description) -> list[Route]:
    return [
        Route(
            method="GET",
            path="/openapi.json",
            answer=about.openapi,
            access=Access.OPEN,
            summary="This description for programs",
        ),
        Route(
            method="GET",
            path="/docs",
            answer=about.page,
            access=Access.OPEN,
            summary="This description to read",
        ),
    ]


def _hosts(settings: Settings) -> tuple[str, ...]:
    """The names to be addressed under. `0.0.0.0` is none: pages use it to reach this machine."""
    is_name = settings.host not in ("0.0.0.0", "::", "")  # noqa: S104 - not bound here
    return (*settings.allowed_hosts, *((settings.host,) if is_name else ()))


def _chat_routes(parts: Parts) -> list[Route]:
    intake = Intake(parts.nodes)
    chat = ChatHandler(intake, Contexts(parts.find_session), parts.desk, parts.once, parts.pulse)
    dialects: tuple[tuple[str, WireName, str], ...] = (
        ("/v1/chat/completions", "openai_chat", "A chat completion, OpenAI's dialect"),
        ("/v1/messages", "anthropic_messages", "A message, Anthropic's dialect"),
        ("/v1/responses", "openai_responses", "A response, OpenAI's newer dialect"),
    )
    count = Route(
        method="POST",
        path="/v1/messages/count_tokens",
        answer=TokenCounter(intake, parts.catalogue),
        access=Access.CLIENT,
        group="chat",
        wire="anthropic_messages",
        summary="How many tokens a message would be; an estimate",
    )
    embeddings = Route(
        method="POST",
        path="/v1/embeddings",
        answer=EmbeddingsHandler(parts.embeddings),
        access=Access.CLIENT,
        group="embeddings",
        wire="openai_chat",
        summary="Vectors for texts",
    )
    return [count, embeddings] + [
        Route(
            method="POST",
            path=prefix + path,
            answer=chat,
            access=Access.CLIENT,
            group="chat",
            wire=wire,
            summary=summary,
        )
        for path, wire, summary in dialects
        if wire in TRANSLATORS
        for prefix in ("", "/api")  # the provider's own SDK adds nothing to its /api/v1
    ]


def _other_routes(parts: Parts) -> list[Route]:
    models, nodes = ModelPages(lambda: listed(parts.catalogue())), NodePages(parts.nodes)
    health = HealthPages(parts.metrics, parts.problem)
    status = StatusPage(
        parts.has_server_key, parts.catalogue_age_s, lambda: len(parts.catalogue().models)
    )
    client, operator, everybody = Access.CLIENT, Access.OPERATOR, Access.OPEN
    pages = (
        ("GET", "/v1/models", models.all, client, "Every model"),
        ("GET", "/v1/models/{id}", models.one, client, "One model"),
        ("GET", "/api/v1/models", models.all, client, "Every model"),
        ("GET", "/openrouter/status", status, client, "Which key pays, how old the models are"),
        ("GET", "/system/nodes", nodes.all, client, "Which model each named task uses"),
        ("PATCH", "/system/nodes/{task_name}", nodes.patch, operator, "Change one of them"),
        ("GET", "/metrics", health.metrics, operator, "Counters for Prometheus"),
        ("GET", "/healthz", health.live, everybody, "The process answers"),
        ("GET", "/readyz", health.ready, everybody, "It takes requests"),
    )
    return [
        Route(method=method, path=path, answer=answer, access=access, summary=summary)
        for method, path, answer, access, summary in pages
    ]
