"""Runs a whole server on a free port over fakes that we own."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from devflow_core.attribution import Attribution
from devflow_core.errors import SessionError
from devflow_core.messages import Message, Text
from devflow_core.metered import Metered
from devflow_core.pipeline import Pipeline
from devflow_core.request import ChatRequest, ContextPiece
from devflow_core.settings import Settings
from devflow_core.testing import (
    EPOCH,
    DirectExecutor,
    FakeUpstream,
    FixedClassifier,
    FixedRouter,
    MemoryBook,
    MemoryLedger,
    a_price,
)
from devflow_routing import Catalogue, LiveCatalogue, ModelConfig
from devflow_server.app import App
from devflow_server.auth import make_authenticator
from devflow_server.http import Limits, Listener
from devflow_server.operations.metrics import Metrics
from devflow_server.operations.readiness import NotReady
from devflow_server.replies.idempotency import ClaimStore, IdempotencyHandler
from devflow_server.replies.keep_alive import KeepAlive
from devflow_server.replies.reply_source import PipelineReplies
from devflow_server.replies.response_cache import ResponseCache
from devflow_server.replies.shared_calls import SharedCalls
from devflow_server.requests.nodes import NodeTable
from devflow_server.url_map import Components, build_app
from devflow_store import Store

CATALOGUE = Catalogue(
    [
        ModelConfig(
            id="anthropic/claude-haiku-4.5",
            name="Claude Haiku",
            created=1,
            tokenizer="Claude",
            price=a_price(),
        ),
        ModelConfig(id="z-ai/glm-5", name="GLM 5", created=2),
        ModelConfig(id="acme/painter", writes_text=False),
    ],
    version="test",
    fetched_at=EPOCH,
)


async def _know_prices(_model: str) -> None:
    """Learn nothing: the tests' models have prices."""


@dataclass(frozen=True)
class Key:
    name: str
    id: str = "id"
    scopes: Mapping[str, Any] = field(default_factory=dict[str, Any])


class FakeKeys:
    """Client keys in memory."""

    def __init__(self, **keys: Key) -> None:
        self.keys = keys

    def find_former(self, secret: str, /) -> Key | None:
        return None

    def find_known(self, secret: str, /) -> Key | None:
        return None  # as when nothing was looked up within the last second

    async def verify(self, secret: str, /) -> Key | None:
        return self.keys.get(secret)


class FakeSession:
    """A session with one fact."""

    async def inject(self, request: ChatRequest, /) -> ChatRequest:
        note = Message(role="system", parts=(Text(text="The goal is to finish."),))
        piece = ContextPiece(
            kind="goal", text="finish", source_path="s.jsonl", source_line=1, tokens=7
        )
        attribution = Attribution(session_id="11111111-aaaa", project="shop")
        return request.with_messages((note, *request.messages)).with_context((piece,), attribution)


def find_session(session_id: str) -> FakeSession:
    if not session_id.startswith("11111111"):
        raise SessionError(f"There is no session {session_id}.")
    return FakeSession()


class FakeNodes:
    """Nodes in memory."""

    def __init__(self) -> None:
        self.saved: dict[str, Mapping[str, Any]] = {}

    async def all(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(self.saved)

    async def set(self, task_name: str, config: Mapping[str, Any], /) -> None:
        self.saved[task_name] = config


@dataclass(kw_only=True)
class ServerUnderTest:
    """A running server with its fakes."""

    port: int
    client: httpx.AsyncClient
    upstream: FakeUpstream
    book: MemoryBook
    ledger: MemoryLedger
    listener: Listener
    metrics: Metrics
    keep_alive: KeepAlive
    nodes: FakeNodes
    app: App
    idempotency: IdempotencyHandler
    reply_source: PipelineReplies


class ServerFactory:
    """Opens servers; parts not given are fakes that answer `ok`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problem: NotReady | None = None

    def __call__(
        self,
        upstream: FakeUpstream | None = None,
        *,
        keys: FakeKeys | None = None,
        settings: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        local_key: str | None = None,
        wrap_claims: Callable[[ClaimStore], ClaimStore] = lambda claims: claims,
    ) -> AbstractAsyncContextManager[ServerUnderTest]:
        given: dict[str, Any] = {
            "require_key": keys is not None or local_key is not None,
            **(settings or {}),
        }
        return self._open(
            upstream or FakeUpstream(),
            keys or FakeKeys(),
            Settings.load({}, **given),
            limits or Limits(sweep_interval_s=0.02),
            local_key,
            wrap_claims,
        )

    @asynccontextmanager
    async def _open(
        self,
        upstream: FakeUpstream,
        keys: FakeKeys,
        settings: Settings,
        limits: Limits,
        local_key: str | None,
        wrap_claims: Callable[[ClaimStore], ClaimStore],
    ) -> AsyncGenerator[ServerUnderTest]:
        book, ledger, keep_alive, metrics = MemoryBook(), MemoryLedger(), KeepAlive(), Metrics()
        pipeline = Pipeline(
            classifier=FixedClassifier(),
            router=FixedRouter(),
            executor=DirectExecutor(Metered(upstream)),
            book=book,
            ledger=ledger,
        )
        nodes = FakeNodes()
        store = Store(self.folder / "ledger.db")
        calls = SharedCalls(pipeline)
        idempotency = IdempotencyHandler(wrap_claims(store.idempotency), pipeline)
        reply_source = PipelineReplies(
            pipeline, calls=calls, cache=ResponseCache(ttl_s=60.0), book=book, ledger=ledger
        )
        components = Components(
            settings=settings,
            reply_source=reply_source,
            embeddings=pipeline,
            learn_price=_know_prices,
            find_session=find_session,
            idempotency=idempotency,
            callers=make_authenticator(settings, keys, local_key=local_key),
            nodes=NodeTable(nodes, settings.nodes),
            catalogue=LiveCatalogue(
                lambda: CATALOGUE,
                lambda _document: CATALOGUE,
                clock=lambda: EPOCH + timedelta(seconds=12.5),
            ),
            has_server_key=lambda: True,
            metrics=metrics,
            keep_alive=keep_alive,
            problem=lambda: self.problem,
        )
        bound = socket.create_server(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])
        app = build_app(components)
        async with (
            store,
            calls,
            idempotency,
            Listener(
                app, admit=app.admit, limits=limits, on_sweep=keep_alive.send_pings
            ) as listener,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False
            ) as client,
        ):
            await listener.listen(bound)
            yield ServerUnderTest(
                port=port,
                client=client,
                upstream=upstream,
                book=book,
                ledger=ledger,
                listener=listener,
                metrics=metrics,
                keep_alive=keep_alive,
                nodes=nodes,
                app=app,
                idempotency=idempotency,
                reply_source=reply_source,
            )


@pytest.fixture
def fake_keys() -> Callable[..., FakeKeys]:
    def fake_keys(**scopes: Mapping[str, Any]) -> FakeKeys:
        """Return keys by their secret, which is also their name, with their scopes."""
        return FakeKeys(
            **{name: Key(name, scopes=one, id=f"id-of-{name}") for name, one in scopes.items()}
        )

    return fake_keys


@pytest.fixture
def open_server(tmp_path: Path) -> ServerFactory:
    return ServerFactory(tmp_path)


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])
